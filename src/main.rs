//! The gatepass binary. Everything is in the library.

fn main() -> std::process::ExitCode {
    gatepass::cli::main()
}
