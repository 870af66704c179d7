//! The program `simulation`; see `simulation --help`.

fn main() -> std::process::ExitCode {
    lkas::cli::simulation()
}
