//! What a stage grants its module, with values from outside put in.

use std::collections::BTreeMap;

use engine_abi::message::{Permissions, Sandbox};
use engine_abi::reach::{HostRule, Network};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::names::quoted;
use crate::references::{Environment, Lookup};
use crate::sandbox::{Grant, Grants, Isolation, SandboxWords};

/// Who runs a module and what it may do. `Debug` shows no value of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedSandbox {
    /// Who runs the module.
    pub isolation: Isolation,
    /// What it may do. Folders are as written: relative ones start at the pipeline's folder.
    pub sandbox: Sandbox,
}

impl SandboxWords {
    /// Puts in everything from outside; `missing` is how much weighs what is not there.
    pub(crate) fn resolve(
        &self,
        environment: &dyn Environment,
        missing: Severity,
        diagnostics: &mut Diagnostics,
    ) -> ResolvedSandbox {
        let mut lookup = Lookup { environment, missing, diagnostics };
        let words = &self.permissions;
        let variables = words.environment.items.iter();
        let variables: BTreeMap<String, String> = variables
            .filter_map(|name| Some((name.text.clone(), lookup.variable(&name.text, "environment", &name.span)?)))
            .collect();
        let mut list = |rule: &Rule, grants: &Grants| -> Vec<String> {
            grants.items.iter().filter_map(|grant| rule.apply(grant, &mut lookup)).collect()
        };
        let permissions = Permissions {
            hosts: list(&HOST, &words.hosts),
            networks: list(&NETWORK, &words.networks),
            environment: variables,
            read: list(&READ, &words.read),
            write: list(&WRITE, &words.write),
        };
        ResolvedSandbox { isolation: self.isolation, sandbox: Sandbox { permissions, limits: self.limits.limits() } }
    }
}

/// What the items of a list look like.
struct Rule {
    key: &'static str,
    code: &'static str,
    noun: &'static str,
    is_right: fn(&str) -> bool,
    form: &'static str,
}

const HOST: Rule = Rule {
    key: "hosts",
    code: "bad-host",
    noun: "host",
    is_right: |text| HostRule::parse(text).is_some(),
    form: HostRule::FORM,
};
const NETWORK: Rule = Rule {
    key: "networks",
    code: "bad-network",
    noun: "network",
    is_right: |text| Network::parse(text).is_some(),
    form: Network::FORM,
};
const READ: Rule = Rule {
    key: "read",
    code: "bad-folder",
    noun: "folder",
    is_right: is_folder,
    form: "write its path: relative ones start at the pipeline's folder, `.` is that folder itself",
};
const WRITE: Rule = Rule { key: "write", ..READ };

impl Rule {
    /// The item with its references replaced; nothing, with a diagnostic, where it is wrong.
    fn apply(&self, grant: &Grant, lookup: &mut Lookup<'_>) -> Option<String> {
        let Grant { text, span } = grant;
        let replaced = lookup.text(text, self.key, Some(span), |value| value);
        let value = replaced.text?;
        if (self.is_right)(&value) {
            return Some(value);
        }
        // A password may stand in front of it.
        let is_private = text.contains('@') || value.contains('@');
        if is_private {
            span.hide();
        }
        let shown = match (replaced.from_outside || is_private, value.as_str()) {
            (true, _) => "the value".to_owned(),
            (_, "") => "an empty text".to_owned(),
            (_, text) => quoted(text),
        };
        let found = Diagnostic::error(self.code, format!("{shown} is not a {}", self.noun)).at(span);
        lookup.diagnostics.push(found.hint(self.form));
        None
    }
}

fn is_folder(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}
