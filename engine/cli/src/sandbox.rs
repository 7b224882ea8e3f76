//! What `engine explain` says of what modules may reach and use up, where a pipeline says anything of it.

use std::time::Duration;

use engine_abi::message::{Limits, Permissions, Sandbox};
use engine_runtime::{Assembly, Part};
use engine_spec::{Isolation, format_bytes, format_duration};
use serde::Serialize;

/// What one module may do. Of the environment there are names alone.
#[derive(Serialize)]
pub struct SandboxExplanation {
    stage: String,
    component: String,
    runs_in: &'static str,
    limits: Limits,
    hosts: Vec<String>,
    networks: Vec<String>,
    environment: Vec<String>,
    read: Vec<String>,
    write: Vec<String>,
}

/// Who runs a module.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Engine,
    Child,
    Wasm,
}

impl Place {
    fn of(part: &Part) -> Self {
        match part.isolation() {
            _ if part.component.is_sandboxed() => Self::Wasm,
            Isolation::Process => Self::Child,
            Isolation::None => Self::Engine,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Child => "process",
            Self::Wasm => "wasm",
        }
    }
}

/// Of every stage, format and compression of which the pipeline says something.
pub fn explain(assembly: &Assembly) -> Vec<SandboxExplanation> {
    let source = &assembly.source;
    let of_source = std::iter::once(&source.part).chain(&source.compression).chain(&source.decoder);
    let of_sinks = assembly
        .sinks
        .iter()
        .chain(assembly.notices.iter().map(|notice| &notice.sink))
        .flat_map(|sink| std::iter::once(&sink.part).chain(&sink.encoder).chain(&sink.compression));
    let parts = of_source.chain(&assembly.transforms).chain(of_sinks);
    let explanation = |part: &Part| {
        let Sandbox { permissions, limits } = part.sandbox().clone();
        SandboxExplanation {
            stage: part.stage.clone(),
            component: part.component.name().to_owned(),
            runs_in: Place::of(part).as_str(),
            limits,
            hosts: permissions.hosts,
            networks: permissions.networks,
            environment: permissions.environment.into_keys().collect(),
            read: permissions.read,
            write: permissions.write,
        }
    };
    parts.filter(|part| is_said(part)).map(explanation).collect()
}

fn is_said(part: &Part) -> bool {
    part.isolation() != Isolation::default() || *part.sandbox() != Sandbox::default()
}

/// The same of some parts of one stage, for a person.
pub fn lines<'a>(parts: impl Iterator<Item = &'a Part>) -> Vec<String> {
    parts
        .filter(|part| is_said(part))
        .flat_map(|part| told(part.component.name(), Place::of(part), part.sandbox()))
        .collect()
}

fn told(name: &str, place: Place, sandbox: &Sandbox) -> Vec<String> {
    let Sandbox { permissions, limits } = sandbox;
    let used = format!(
        "{} of memory, {} a call",
        format_bytes(limits.memory_bytes),
        format_duration(Duration::from_millis(limits.deadline_ms))
    );
    match place {
        Place::Engine => {
            vec![format!("{name} runs in the engine's own process, where {} restrict nothing", idle(sandbox))]
        }
        Place::Child => {
            let mut lines = vec![format!("{name} runs in a process of its own: {used}"), environment(permissions)];
            let others = Permissions { environment: Default::default(), ..permissions.clone() };
            if others != Permissions::default() {
                lines.push("its other permissions restrict nothing".to_owned());
            }
            lines
        }
        Place::Wasm => {
            let mut lines =
                vec![format!("{name} is a WASM module: {used}"), hosts(permissions), environment(permissions)];
            lines.extend(folders("reads", &permissions.read));
            lines.extend(folders("reads and writes", &permissions.write));
            lines
        }
    }
}

/// The keys that a pipeline gives in vain.
fn idle(sandbox: &Sandbox) -> &'static str {
    match (sandbox.limits == Limits::default(), sandbox.permissions == Permissions::default()) {
        (false, false) => "`limits` and `permissions`",
        (false, true) => "`limits`",
        (true, _) => "`permissions`",
    }
}

fn hosts(permissions: &Permissions) -> String {
    if permissions.hosts.is_empty() {
        return "reaches no host".to_owned();
    }
    let private = match permissions.networks.as_slice() {
        [] => String::new(),
        networks => format!(", also where they stand for addresses in {}", networks.join(", ")),
    };
    format!("reaches {}{private}", permissions.hosts.join(", "))
}

fn environment(permissions: &Permissions) -> String {
    let names: Vec<&str> = permissions.environment.keys().map(String::as_str).collect();
    if names.is_empty() { "sees nothing of the environment".to_owned() } else { format!("sees {}", names.join(", ")) }
}

fn folders(does: &str, folders: &[String]) -> Option<String> {
    (!folders.is_empty()).then(|| format!("{does} {}", folders.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted() -> Sandbox {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let permissions = Permissions {
            hosts: texts(&["api.example.com", "*.example.org:8443"]),
            networks: texts(&["10.1.0.0/16"]),
            environment: [("API_TOKEN".to_owned(), "hunter2".to_owned())].into(),
            read: texts(&["/pipelines/lookup"]),
            write: Vec::new(),
        };
        Sandbox { permissions, limits: Limits { deadline_ms: 1500, ..Limits::default() } }
    }

    #[test]
    fn a_wasm_module_is_held_to_everything() {
        let expected = [
            "enrich is a WASM module: 256MiB of memory, 1500ms a call",
            "reaches api.example.com, *.example.org:8443, also where they stand for addresses in 10.1.0.0/16",
            "sees API_TOKEN",
            "reads /pipelines/lookup",
        ];
        assert_eq!(told("enrich", Place::Wasm, &granted()), expected);
        let least = told("enrich", Place::Wasm, &Sandbox::default());
        assert_eq!(least[1..], ["reaches no host", "sees nothing of the environment"]);
    }

    #[test]
    fn what_restricts_nothing_is_said_to() {
        let expected = [
            "enrich runs in a process of its own: 256MiB of memory, 1500ms a call",
            "sees API_TOKEN",
            "its other permissions restrict nothing",
        ];
        assert_eq!(told("enrich", Place::Child, &granted()), expected);
        let expected = ["enrich runs in the engine's own process, where `limits` and `permissions` restrict nothing"];
        assert_eq!(told("enrich", Place::Engine, &granted()), expected);
    }
}
