//! The OpenID Connect and OAuth protocol, seen from a native client (RFC 8252).
//!
//! Nothing here stores anything: these modules ask a provider, check what it says and hand the result back.

pub mod authorization;
pub mod client;
pub mod device;
pub mod discovery;
pub mod http;
pub mod id_token;
pub mod json;
pub mod keys;
pub mod loopback;
pub mod page;
pub mod tokens;
