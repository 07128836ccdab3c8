//! The whole program from outside: hosts, people at terminals and in browsers, with a real provider, keychain and browser.
//!
//! One program of tests, since each would be linked with all of gatepass; one module per idea.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed assumption should stop the test at once, and long tests say what they did"
)]

mod as_written;
mod bad_answers;
mod browser;
mod client;
mod config;
mod device;
mod doctor;
mod host;
mod hosts;
mod keychain;
mod kinds;
mod logout;
mod mdm;
mod mix_up;
mod network;
mod notify;
mod one_writer;
mod page;
mod parking;
mod policy;
mod record;
mod refresh;
mod refused;
mod sessions;
mod stdout;
mod tabs;
mod terminal;
mod tls;
mod two_issuers;
mod waits;
mod wsl;

const GATEPASS: &str = env!("CARGO_BIN_EXE_gatepass");
