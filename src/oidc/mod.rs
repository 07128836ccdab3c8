//! The OpenID Connect and OAuth protocol, seen from a native client (RFC 8252).
//!
//! Nothing here stores anything: these modules ask a provider, check what it says and hand the result back.

mod assertion;
pub mod authorization;
pub mod certificate;
pub mod client;
mod connection;
pub mod device;
pub mod discovery;
pub mod dpop;
mod echo;
pub mod exchange;
pub mod http;
pub mod id_token;
pub mod json;
mod jws;
mod key_files;
pub mod keys;
pub mod loopback;
pub mod page;
pub mod par;
mod probe;
pub mod proxy;
pub mod registration;
pub mod tokens;
