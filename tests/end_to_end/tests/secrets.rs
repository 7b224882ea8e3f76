//! A secret is where it is used and nowhere else.

use std::path::Path;

use engine_end_to_end_tests::{Place, Server, lines};

/// In a named connection, in a variable, and written into the pipeline file.
const CANARIES: [&str; 3] = ["canary-named-93ab", "canary-in-env-41cd", "canary-inline-77ef"];

fn pipeline(url: &str) -> String {
    format!(
        "name: calls\n\
         source: {{ use: file, with: {{ path: pbx.log }}, format: avaya_cdr }}\n\
         sinks:\n\
         \x20 - {{ name: inline, use: postgres, with: {{ url: \"{url}\", table: calls, create: true }} }}\n\
         \x20 - {{ name: variable, use: postgres, with: {{ url: \"${{env:URL}}\", table: calls, create: true }} }}\n\
         \x20 - {{ name: named, use: postgres, with: {{ connection: db, table: calls, create: true }} }}\n\
         retry: {{ attempts: 2, backoff: 10ms }}\n"
    )
}

/// Every file below a folder that holds one of the canaries.
fn found_in(folder: &Path, canaries: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(found_in(&path, canaries, &[]));
        } else if !allowed.contains(&name.as_str())
            && let Ok(content) = std::fs::read(&path)
        {
            let holds = |canary: &&&str| content.windows(canary.len()).any(|bytes| bytes == canary.as_bytes());
            found.extend(canaries.iter().filter(holds).map(|canary| format!("{canary} in {}", path.display())));
        }
    }
    found
}

#[test]
fn no_secret_is_in_any_output_log_or_file_although_everything_fails() {
    let server = Server::shared();
    let database = server.database();
    let host = database.url().rsplit('@').next().unwrap().to_owned();
    let [named, in_env, inline] = CANARIES;
    let mut place = Place::new();
    place.write("pbx.log", [lines(0..3), b"not a call\r\n".to_vec()].concat());
    place.write("calls.yaml", pipeline(&format!("postgres://engine:{inline}@{host}")));
    place.write(
        "connections.yaml",
        format!("db: {{ use: postgres, with: {{ url: \"postgres://engine:{named}@{host}\" }} }}\n"),
    );
    place.set("URL", format!("postgres://engine:{in_env}@{host}"));
    let secrets = [named, in_env, inline, database.password()];
    let commands: &[&[&str]] = &[
        &["validate", "calls.yaml"],
        &["explain", "calls.yaml"],
        &["preview", "calls.yaml"],
        &["run", "calls.yaml"],
        &["--json", "run", "calls.yaml"],
        &["-vv", "run", "calls.yaml"],
        &["connections", "list"],
        &["connections", "check"],
        &["--json", "connections", "check"],
        &["--json", "runs"],
        &["state", "show"],
        &["--json", "dead-letters", "list"],
        &["dead-letters", "replay", "calls.yaml"],
    ];
    let check = |place: &Place, command: &[&str]| {
        let ended = place.engine(command);
        for secret in secrets {
            let told = format!("{}{}", ended.stdout, ended.stderr);
            // A warning about an inline secret shows its line, with the secret blotted out.
            assert!(!told.contains(secret), "{secret} is in what {command:?} prints:\n{told}");
        }
        ended
    };
    for command in commands {
        check(&place, command);
    }
    let failed = check(&place, &["run", "calls.yaml"]);
    assert!(matches!(failed.code, Some(1..=3)), "{failed:?}");
    failed.says(&["password"]);

    // A mistake in the very address.
    place.write("calls.yaml", pipeline(&format!("postgress//engine:{inline}@{host}")));
    for command in [["validate", "calls.yaml"], ["run", "calls.yaml"]] {
        check(&place, &command);
    }
    // And where everything is right, from the beginning.
    check(&place, &["state", "reset", "calls"]).with_code(0);
    place.write("calls.yaml", pipeline(database.url()));
    place.write("connections.yaml", "db: { use: postgres, with: { url: \"${env:URL}\" } }\n");
    place.set("URL", database.url());
    check(&place, &["-vv", "run", "calls.yaml"]).with_code(0);
    assert!(database.count("calls") > 0);

    let allowed = ["calls.yaml", "connections.yaml"];
    assert_eq!(found_in(&place.path(""), &secrets, &allowed), [""; 0]);
}
