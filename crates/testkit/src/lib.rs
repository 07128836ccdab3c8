//! Test servers and the lab for gatepass. Never linked into the release.
//!
//! - [`provider`]: an OpenID provider for demonstrations and for faults that real ones won't produce;
//! - [`gateway`]: a gateway that really checks the bearer token it is shown;
//! - [`key_desk`]: a gateway that gives out keys of its own for the provider's tokens;
//! - [`lab`]: real parts around one run of gatepass: a private session bus with a real keyring, a real
//!   certified provider, a real browser, an isolated home;
//! - [`installed`]: what tests of installed programs share;
//! - [`scissors`]: a wire to a provider that a test cuts;
//! - [`run_keys`]: private keys that all tests of a run share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption of the test lab should stop the test at once"
)]

pub mod gateway;
pub mod installed;
pub mod key_desk;
pub mod lab;
mod port;
pub mod provider;
pub mod run_keys;
pub mod scissors;

/// Says that a test cannot be done on this machine, and why. The test then returns; `cargo xtask test` counts and lists it.
#[expect(
    clippy::print_stdout,
    reason = "the runner of the tests reads it there"
)]
pub fn skip(why: &str) {
    // The runner may have begun a line.
    println!("\nskipped: {why}");
}

/// The same from deep inside a test, which ends here.
///
/// # Panics
/// Where a test is not run by `cargo xtask test`, which gives each a process of its own.
#[cfg(target_os = "linux")]
pub(crate) fn end_skipped(why: &str) -> ! {
    skip(why);
    assert!(
        std::env::var_os(run_keys::VARIABLE).is_some(),
        "this test cannot be done here: {why}"
    );
    std::process::exit(0)
}
