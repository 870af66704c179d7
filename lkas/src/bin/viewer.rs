//! The program `viewer`; see `viewer --help`.

fn main() -> std::process::ExitCode {
    lkas::cli::viewer()
}
