//! The program `lkas`; see `lkas --help`.

fn main() -> std::process::ExitCode {
    lkas::cli::lkas()
}
