//! Builds the guests that the tests run: `make guests`.

fn main() -> std::process::ExitCode {
    match engine_guest_tests::build_all() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guests: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
