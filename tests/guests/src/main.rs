//! Builds the guests that the tests run: `build-guests rust` those in Rust, which
//! `make test` needs; `build-guests` those in all languages, for `make guests`.

fn main() -> std::process::ExitCode {
    let built = match std::env::args().nth(1).as_deref() {
        Some("rust") => engine_guest_tests::build_rust(),
        _ => engine_guest_tests::build_all(),
    };
    match built {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guests: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
