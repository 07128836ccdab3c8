//! gatepass: prints a fresh bearer token for an organisation's LLM gateway.
//!
//! The library is the binary's: it promises nothing to other programs. Public is what the repository's own tools read
//! (`xtask`, the tests of the documentation, the fuzz targets): the list of keys, the hosts' documents, the ids of
//! `doctor`'s checks, and how texts are written.
#![allow(
    unreachable_pub,
    reason = "items say whether they are public in their module; the modules below say what leaves the crate"
)]
// On the other systems what Linux alone uses would be told as well.
#![cfg_attr(
    not(target_os = "linux"),
    allow(
        dead_code,
        reason = "dead code is looked for on Linux, where all tests run"
    )
)]

pub(crate) mod audit;
pub(crate) mod caller;
pub mod cli;
pub(crate) mod clock;
pub mod config;
pub(crate) mod credential;
pub(crate) mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod logging;
pub(crate) mod oidc;
pub(crate) mod output;
pub(crate) mod platform;
pub(crate) mod reader;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod sign_in_ui;
pub(crate) mod store;
pub mod text;
pub mod usecase;
pub(crate) mod worker;
pub(crate) mod writer;
