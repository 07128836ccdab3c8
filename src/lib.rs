//! gatepass: prints a fresh bearer token for an organisation's LLM gateway.

pub mod audit;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod logging;
pub mod oidc;
pub mod output;
pub mod person;
pub mod platform;
pub mod reader;
pub mod secret;
pub mod session;
pub mod store;
pub mod text;
pub mod usecase;
pub mod worker;
pub mod writer;
