//! Test servers and the lab for gatepass. Never linked into the release.
//!
//! - [`provider`]: an OpenID provider for demonstrations and for faults that real ones won't produce;
//! - [`gateway`]: a gateway that really checks the bearer token it is shown;
//! - [`key_desk`]: a gateway that gives out keys of its own for the provider's tokens;
//! - [`lab`]: real parts around one run of gatepass: a private session bus with a real keyring, a real
//!   certified provider, a real browser, an isolated home.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption of the test lab should stop the test at once"
)]

pub mod gateway;
pub mod key_desk;
pub mod lab;
pub mod provider;
