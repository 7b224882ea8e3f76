//! Builds the guests that the tests load: `make guests`, which `make test` does too.

fn main() -> std::process::ExitCode {
    match engine_guest_tests::build() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guests: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
