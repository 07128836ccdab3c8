//! Servers that others wrote. `cargo xtask test --interop` installs and runs them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

mod exchange;
mod gateways;
mod keycloak;
mod providers;

const GATEPASS: &str = env!("CARGO_BIN_EXE_gatepass");
