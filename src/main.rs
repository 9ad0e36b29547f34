//! A doorway: everything is in the library, so that tests and the benchmark can reach it.

fn main() -> std::process::ExitCode {
    imds_agent::cli::main()
}
