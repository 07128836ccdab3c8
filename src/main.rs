//! The gatepass binary. Everything is in the library.

/// Wipes memory when it is given back: not only ours, but also the buffers of the HTTP, TLS, JSON and D-Bus libraries
/// through which secrets have passed.
#[global_allocator]
static MEMORY: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    gatepass::cli::main()
}
