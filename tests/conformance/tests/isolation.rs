//! What a module does to its process does not reach the engine: the hostile one
//! does its worst, and each time there is an error that says what happened.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use engine_abi::message::{Limits, OpenRequest, Permissions, Sandbox};
use engine_abi::{Batches, ComponentKind, Error, ErrorKind, Result};
use engine_conformance::Recorder;
use engine_conformance_tests as modules;
use engine_host::{Arrival, Direction, Host, Instance, Level, Lock, Modules, Rejection};
use serde_json::{Value, json};

/// How long after its deadline an error may come at most.
const PROMPT: Duration = Duration::from_secs(2);

const DEADLINE: Duration = Duration::from_millis(300);

fn hostile() -> PathBuf {
    modules::compile_c(&modules::workspace().join("tests/modules/c_hostile"), "engine_hostile", &[]).unwrap()
}

fn engine() -> PathBuf {
    modules::program().unwrap_or_else(|why| panic!("{why}"))
}

fn request(config: Value) -> OpenRequest {
    OpenRequest { config, pipeline: "test".into(), stage: "test".into(), ..OpenRequest::default() }
}

fn limits(deadline: Duration, mebibytes: u64) -> Sandbox {
    let limits = Limits { memory_bytes: mebibytes << 20, deadline_ms: deadline.as_millis() as u64 };
    Sandbox { limits, ..Sandbox::default() }
}

/// Nothing ends by a limit of its own.
fn patient() -> Sandbox {
    limits(Duration::from_secs(60), 256)
}

fn open_with(fault: &str, call: &str, sandbox: &Sandbox, host: Arc<dyn Host>) -> Result<Instance> {
    let modules = Modules::from_file(&hostile())?.isolated(&engine());
    let component = modules.component(ComponentKind::Transform, "hostile")?;
    component.open(&request(json!({"fault": fault, "in": call})), sandbox, host)
}

fn open(fault: &str, call: &str, sandbox: &Sandbox) -> Result<Instance> {
    open_with(fault, call, sandbox, Arc::new(Recorder::default()))
}

fn rows() -> RecordBatch {
    let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let texts = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    RecordBatch::try_from_iter([("n", numbers as _), ("text", texts as _)]).unwrap()
}

fn endless() -> Batches {
    Batches::new(rows().schema(), std::iter::repeat_with(|| Ok(rows())))
}

/// Works with an instance until it fails.
fn failure(fault: &str, call: &str, sandbox: &Sandbox) -> Error {
    let opened = open(fault, call, sandbox);
    let work = |mut instance: Instance| match call {
        "check" => instance.check().map(drop),
        "apply" => instance.apply(Direction::Apply, endless())?.try_for_each(|batch| batch.map(drop)),
        _ => Ok(()),
    };
    opened.and_then(work).expect_err(fault)
}

/// What is said, with the module's path taken out.
fn said(error: &Error) -> String {
    assert!(error.message.contains(&hostile().display().to_string()), "names no module: {error}");
    error.message.replace(&hostile().display().to_string(), "M")
}

#[test]
fn a_crash_is_an_error_that_says_how_and_where() {
    let crashes = [
        ("segfault", "SIGSEGV, a pointer that leads nowhere, or a stack that is too deep"),
        ("deep", "SIGSEGV, a pointer that leads nowhere, or a stack that is too deep"),
        ("abort", "SIGABRT, it gave up by itself"),
        ("kill", "SIGKILL, it was ended from outside, perhaps because the machine ran out of memory"),
    ];
    for (fault, how) in crashes {
        for call in ["open", "check", "apply"] {
            let error = failure(fault, call, &patient());
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
            assert_eq!(said(&error), format!("transform `hostile` of module M crashed in `{call}`: {how}"));
        }
    }
}

#[test]
fn who_ends_its_process_ends_no_other() {
    for (fault, code) in [("exit_0", 0), ("exit_3", 3)] {
        let error = failure(fault, "check", &patient());
        let how = format!("ended its process in `check`, with the exit code {code}");
        assert_eq!(said(&error), format!("transform `hostile` of module M {how}"));
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
    let error = failure("close_files", "check", &patient());
    let how = "closed its connection to the engine in `check` and was ended";
    assert_eq!(said(&error), format!("transform `hostile` of module M {how}"));
}

#[test]
fn what_hangs_is_ended_at_its_deadline() {
    for (fault, call) in [
        ("loop", "open"),
        ("loop", "check"),
        ("deadlock", "check"),
        ("loop", "apply"),
        ("deadlock", "apply"),
        // It never stops talking, and never answers.
        ("log", "check"),
    ] {
        let instance = open(fault, if call == "open" { "nothing" } else { call }, &limits(DEADLINE, 256));
        let begun = Instant::now();
        let error = match call {
            "open" => open(fault, call, &limits(DEADLINE, 256)).map(drop).unwrap_err(),
            "check" => instance.unwrap().check().unwrap_err(),
            _ => {
                let mut instance = instance.unwrap();
                instance.apply(Direction::Apply, endless()).unwrap().next().unwrap().unwrap_err()
            }
        };
        let took = begun.elapsed();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        let how = format!("did not answer `{call}` within 300ms and was ended");
        assert_eq!(said(&error), format!("transform `hostile` of module M {how}"), "{fault}");
        assert!(error.hint.unwrap().contains("raise `limits: {deadline: …}`"));
        assert!(took >= DEADLINE && took < DEADLINE + PROMPT, "{fault} in {call} took {took:?}");
    }
}

#[test]
fn a_hang_in_close_holds_nobody_up() {
    let instance = open("loop", "close", &limits(DEADLINE, 256)).unwrap();
    let begun = Instant::now();
    drop(instance);
    assert!(begun.elapsed() < DEADLINE + PROMPT, "{:?}", begun.elapsed());
}

#[test]
fn waiting_for_the_input_is_not_the_modules_time() {
    let mut instance = open("nothing", "nothing", &limits(DEADLINE, 256)).unwrap();
    let slow = std::iter::repeat_with(|| {
        // Longer than the module may take: what is tested is that this is not counted.
        std::thread::sleep(DEADLINE + DEADLINE / 3);
        Ok(rows())
    });
    let output = instance.apply(Direction::Apply, Batches::new(rows().schema(), slow.take(2))).unwrap();
    assert_eq!(output.map(Result::unwrap).collect::<Vec<_>>(), [rows(), rows()]);
}

#[test]
fn who_goes_on_after_it_was_asked_to_stop_is_ended() {
    let host = Arc::new(Recorder::default());
    let mut instance = open_with("loop", "check", &patient(), Arc::clone(&host) as _).unwrap();
    host.cancel();
    let begun = Instant::now();
    let error = instance.check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(
        said(&error),
        "transform `hostile` of module M went on with `check` for 2s after it was asked to stop, and was ended"
    );
    assert!(begun.elapsed() < Duration::from_secs(2) + PROMPT);
}

#[test]
fn who_takes_too_much_memory_is_told_how_to_get_more() {
    for (fault, call) in [("memory", "check"), ("address_space", "check"), ("memory", "apply")] {
        let error = failure(fault, call, &limits(Duration::from_secs(60), 64));
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        let how = format!("ran out of its 64 MiB of memory in `{call}` and was ended");
        assert_eq!(said(&error), format!("transform `hostile` of module M {how}"), "{fault}");
        assert!(error.hint.unwrap().contains("raise `limits: {memory: …}`"));
    }
}

fn found(fault: &str, sandbox: &Sandbox) -> String {
    open(fault, "check", sandbox).unwrap().check().unwrap().summary
}

#[test]
fn threads_are_made_as_ever_and_processes_are_not() {
    assert_eq!(found("thread", &patient()), "threads: as ever");
    assert_eq!(found("processes", &patient()), "0 processes (Operation not permitted, Operation not permitted)");
}

#[test]
fn the_environment_holds_what_was_granted_and_no_secret() {
    // SAFETY: no other thread of this test reads or writes these two.
    unsafe { std::env::set_var("ENGINE_TEST_SECRET", "password") };
    let granted = [("ENGINE_TEST_GRANTED".to_owned(), "yes".to_owned())].into();
    let permissions = Permissions { environment: granted, ..Permissions::default() };
    let sandbox = Sandbox { permissions, ..patient() };
    assert_eq!(found("environment", &sandbox), "secret: unknown, granted: yes, path: known");
}

#[test]
fn pointers_that_lead_nowhere_reach_nobody() {
    let mut instance = open("bad_pointers", "nothing", &patient()).unwrap();
    let error = instance.apply(Direction::Apply, endless()).and_then(|mut output| output.next().unwrap()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(said(&error).starts_with("transform `hostile` of module M crashed in `apply`: SIGSEGV, "), "{error}");
}

/// Keeps lines of the log.
#[derive(Default)]
struct Lines(Mutex<Vec<(Level, String)>>);

impl Host for Lines {
    fn log(&self, level: Level, message: &str) {
        self.0.lock().unwrap().push((level, message.to_owned()));
    }
    fn cancelled(&self) -> bool {
        false
    }
    fn deadline(&self) -> Option<Duration> {
        None
    }
    fn progress(&self, _: u64, _: u64) {}
    fn filtered(&self, _: u64) {}
    fn reject(&self, _: Rejection) -> Result<()> {
        Ok(())
    }
    fn receipt(&self, _: Value) -> Result<()> {
        Ok(())
    }

    fn remember(&self, _: Value) -> Result<()> {
        Ok(())
    }
    fn append(&self, _: Arrival<'_>) -> Result<u64> {
        Ok(0)
    }
    fn durable(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

#[test]
fn noise_goes_to_the_log_within_bounds_and_disturbs_no_answer() {
    let lines = Arc::new(Lines::default());
    let mut instance = open_with("noise", "check", &patient(), Arc::clone(&lines) as _).unwrap();
    assert_eq!(instance.check().unwrap().summary, "harmless");
    assert_eq!(instance.check().unwrap().summary, "harmless");
    drop(instance);
    let lines = lines.0.lock().unwrap();
    assert!(lines.iter().any(|(level, line)| *level == Level::Debug && line.starts_with("noise ")), "{lines:?}");
    assert!(lines.iter().any(|(level, line)| *level == Level::Warn && line.starts_with("NOISE ")), "{lines:?}");
    // 20,004 lines were printed, within a second or a few.
    assert!(lines.len() < 5_000, "{} lines", lines.len());
    assert!(lines.iter().all(|(_, line)| line.len() <= 5_000));
    assert!(lines.iter().any(|(_, line)| line.ends_with(" more lines, which were left out")));
}

#[test]
fn an_instance_that_failed_says_so_again_and_its_neighbours_work() {
    let mut crashing = open("segfault", "check", &patient()).unwrap();
    let mut other = open("nothing", "nothing", &patient()).unwrap();
    let first = crashing.check().unwrap_err();
    assert_eq!(crashing.check().unwrap_err(), first);
    assert_eq!(other.check().unwrap().summary, "harmless");
    let output = other.apply(Direction::Apply, Batches::new(rows().schema(), endless().take(2))).unwrap();
    assert_eq!(output.map(Result::unwrap).collect::<Vec<_>>(), [rows(), rows()]);
}

#[test]
fn a_stream_that_is_let_go_leaves_the_instance_usable() {
    let mut instance = open("nothing", "nothing", &patient()).unwrap();
    for _ in 0..3 {
        let mut output = instance.apply(Direction::Apply, endless()).unwrap();
        assert_eq!(output.next().unwrap().unwrap(), rows());
    }
    assert_eq!(instance.check().unwrap().summary, "harmless");
}

#[test]
fn a_panic_in_rust_is_told_as_it_is_in_the_engines_process() {
    let folder = modules::workspace().join("tests/modules/rust/faulty");
    let module = modules::built(&folder, "engine_faulty_components").unwrap();
    let modules = Modules::from_file(&module).unwrap().isolated(&engine());
    let open = |name: &str| {
        let component = modules.component(ComponentKind::Transform, name).unwrap();
        component.open(&request(json!({})), &patient(), Arc::new(Recorder::default()) as _)
    };
    let mut poisoned = open("panics_without_rows").unwrap();
    for message in ["there is always a first batch", "this instance failed before and can do nothing more"] {
        let error = poisoned.apply(Direction::Apply, Batches::empty(rows().schema())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.message.ends_with(message), "{error}");
    }
    let error = open("panics_in_open").map(drop).unwrap_err();
    assert!(error.message.starts_with("the component panicked at "), "{error}");
    drop(open("panics_in_close").unwrap());
}

#[test]
fn what_cannot_be_loaded_is_refused_as_it_is_in_the_engines_process() {
    let folder = modules::workspace().join("tests/modules/c_faulty");
    for fault in ["OTHER_ABI_IN_TABLE", "NO_SYMBOL", "SHORT_COMPONENT", "BAD_DESCRIPTION"] {
        let module = modules::compile_c(&folder, "engine_faulty_table", &[&format!("FAULT={fault}")]).unwrap();
        let ask = |modules: Modules| modules.component(ComponentKind::Transform, "faulty").unwrap_err();
        let here = ask(Modules::from_file(&module).unwrap());
        assert_eq!(ask(Modules::from_file(&module).unwrap().isolated(&engine())), here, "{fault}");
    }
}

#[test]
fn a_lock_holds_for_isolated_modules_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(hostile(), folder.path().join("libx.so")).unwrap();
    let find = |lock: &str| {
        let lock = Lock::parse(lock, Path::new("plugins.lock")).unwrap();
        let modules = Modules::discover(&[folder.path().to_owned()], Some(lock)).isolated(&engine());
        modules.component(ComponentKind::Transform, "hostile")
    };
    let error = find("").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    let modules = Modules::discover(&[folder.path().to_owned()], None);
    assert!(find(&format!("{}  libx.so\n", modules.list()[0].sha256().unwrap())).is_ok());
}

/// Whether a process is there, also as one that nobody has reaped.
fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

fn wait_until_gone(pid: &str) {
    let begun = Instant::now();
    while exists(pid) {
        assert!(begun.elapsed() < Duration::from_secs(10), "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_ends_with_its_instance_and_is_reaped() {
    let mut instance = open("pid", "check", &patient()).unwrap();
    let pid = instance.check().unwrap().summary;
    assert!(exists(&pid));
    drop(instance);
    wait_until_gone(&pid);
}

/// Tells the victim of the test below what it is.
const VICTIM: &str = "ENGINE_TEST_VICTIM";

#[test]
fn an_engine_that_is_killed_leaves_no_process_behind() {
    if std::env::var_os(VICTIM).is_some() {
        let mut instance = open("pid", "check", &patient()).unwrap();
        println!("\npid {}", instance.check().unwrap().summary);
        // Until it is killed.
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        return;
    }
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_engine_that_is_killed_leaves_no_process_behind", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(engine.stdout.take().unwrap()).lines().map(Result::unwrap);
    let pid = lines.into_iter().find_map(|line| line.strip_prefix("pid ").map(str::to_owned)).unwrap();
    assert!(exists(&pid));
    engine.kill().unwrap();
    engine.wait().unwrap();
    wait_until_gone(&pid);
}
