//! `state.yaml`: the state stands in a database, and any machine goes on with it.

use engine_end_to_end_tests::{Database, Place, Server, sqlite_count};

/// A machine that reads what is new in `calls` of a database.
fn machine(database: &Database) -> Place {
    let mut place = Place::new();
    place.set("DATABASE", database.url());
    place.write("connections.yaml", "db: { use: postgres, with: { url: \"${env:DATABASE}\" } }\n");
    place.write("state.yaml", "use: postgres\nwith: { connection: db, name: shared }\n");
    place.write(
        "calls.yaml",
        "source: { use: postgres, with: { connection: db, table: calls, cursor: { column: id } } }\n\
         sink: { use: sqlite, with: { path: calls.db, table: calls, create: true } }\n",
    );
    place.write(
        "listen.yaml",
        "source: { use: tcp, with: { listen: \"127.0.0.1:0\" }, format: avaya_cdr }\n\
         sink: { use: sqlite, with: { path: pbx.db, table: calls, create: true } }\n",
    );
    place
}

fn rows(place: &Place) -> u64 {
    sqlite_count(&place.path("calls.db"), "calls")
}

#[test]
fn two_machines_with_one_state_read_each_row_once() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id bigint PRIMARY KEY); INSERT INTO calls VALUES (1), (2), (3)");
    let (first, second) = (machine(&database), machine(&database));
    first.engine(&["validate", "calls.yaml", "state.yaml"]).with_code(0);
    first.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(rows(&first), 3);
    database.execute("INSERT INTO calls VALUES (4), (5)");
    second.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(rows(&second), 2);
    let ended = first.engine(&["run", "calls.yaml"]).with_code(0);
    assert!(ended.stdout.contains("there was nothing to read"), "{ended:?}");
    assert_eq!(first.json(&["runs", "calls"]).len(), 3, "the runs of both");
    // Commands that change the state do it there.
    first.engine(&["state", "set", "calls", "\"3\""]).with_code(0);
    second.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(rows(&second), 4);
}

#[test]
fn the_state_can_stand_in_mysql_too() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id bigint PRIMARY KEY); INSERT INTO calls VALUES (1), (2), (3)");
    let url = std::env::var("ENGINE_TEST_MYSQL_URL").expect("not run: no MariaDB server; run `make test`");
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let machines = [machine(&database), machine(&database)].map(|mut place| {
        place.set("STATE", url.clone());
        place.write("state.yaml", format!("use: mysql\nwith: {{ url: \"${{env:STATE}}\", name: {name} }}\n"));
        place
    });
    machines[0].engine(&["run", "calls.yaml"]).with_code(0);
    database.execute("INSERT INTO calls VALUES (4), (5)");
    machines[1].engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!((rows(&machines[0]), rows(&machines[1])), (3, 2));
    let mut holder = machines[0].start(&["run", "listen.yaml"]);
    holder.address().expect("it listens");
    let said = format!("held by the engine with process id {} on ", holder.id());
    machines[1].engine(&["run", "calls.yaml"]).with_code(3).says(&[&said]);
}

#[test]
fn the_loser_is_told_who_holds_the_state_and_a_crashed_engine_takes_it_up_again() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id bigint PRIMARY KEY)");
    let (first, second) = (machine(&database), machine(&database));
    let mut holder = first.start(&["run", "listen.yaml"]);
    holder.address().expect("it listens");
    let ended = second.engine(&["run", "calls.yaml"]).with_code(3);
    ended.says(&[&format!("held by the engine with process id {} on ", holder.id()), "stop that engine, or wait"]);
    holder.kill();
    holder.wait();
    // Nobody else could have the folder: no lease has to run out.
    first.engine(&["run", "calls.yaml"]).with_code(0);
    // It gave the state back.
    second.engine(&["run", "calls.yaml"]).with_code(0);
}

#[test]
fn a_copy_is_not_taken_for_the_state_and_mistakes_in_the_file_are_told() {
    let database = Server::shared().database();
    database.execute("CREATE TABLE calls (id bigint PRIMARY KEY)");
    let place = machine(&database);
    place.engine(&["run", "calls.yaml"]).with_code(0);
    std::fs::rename(place.path("state.yaml"), place.path("state.old")).unwrap();
    place
        .engine(&["run", "calls.yaml"])
        .with_code(3)
        .says(&["is a copy of one that stands in a database", "state.yaml"]);
    for (text, said) in [
        ("use: postgress\n", "there is no state `postgress`"),
        ("use: sqlite\n", "there is no state `sqlite`"),
        ("use: postgres\nwith: { connection: other }\n", "there is no connection `other`"),
        ("use: postgres\nwith: { connection: db, tabel: x }\n", "tabel"),
        ("kind: postgres\n", "`kind`"),
    ] {
        place.write("state.yaml", text);
        place.engine(&["validate", "calls.yaml"]).with_code(2).says(&[said, "state.yaml:"]);
        assert_ne!(place.engine(&["run", "calls.yaml"]).code, Some(0), "{text}");
    }
}

#[test]
fn a_database_that_is_away_stops_the_run_and_the_next_one_goes_on() {
    let server = Server::own();
    let (state, data) = (server.database(), Server::shared().database());
    data.execute("CREATE TABLE calls (id bigint PRIMARY KEY); INSERT INTO calls VALUES (1)");
    let mut place = machine(&data);
    place.set("STATE", state.url());
    place.write("state.yaml", "use: postgres\nwith: { url: \"${env:STATE}\" }\n");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    server.control("stop fast");
    data.execute("INSERT INTO calls VALUES (2)");
    place.engine(&["run", "calls.yaml"]).with_code(3).says(&["PostgreSQL at "]);
    server.control("start");
    place.engine(&["run", "calls.yaml"]).with_code(0);
    assert_eq!(rows(&place), 2);
}
