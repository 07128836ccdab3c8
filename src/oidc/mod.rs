//! The OpenID Connect and OAuth protocol, seen from a native client (RFC 8252).
//!
//! These modules ask a provider, check what it says and hand the result back. The one thing that is stored here is
//! public: the discovery document and keys ([`discovery`]), for a day.

pub mod authorization;
pub mod client_auth;
pub mod device;
pub mod discovery;
pub mod dpop;
pub mod exchange;
pub mod id_token;
pub mod json;
mod jws;
pub mod keys;
pub mod loopback;
pub mod par;
pub mod registration;
mod sent_secrets;
pub mod tokens;
pub mod transport;
