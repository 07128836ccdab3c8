//! The programs that run gatepass, as they come from their makers. `cargo xtask test --hosts` installs and runs them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

mod desk;
mod fleet;
mod libraries;
mod outside;
mod page;
mod refused;
mod together;
mod turns;

const GATEPASS: &str = env!("CARGO_BIN_EXE_gatepass");
