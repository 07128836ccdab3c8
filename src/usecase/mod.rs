//! What gatepass is used for: print a token, sign in, sign out, say how things stand.

pub mod doctor;
pub(crate) mod host_lint;
pub(crate) mod lifetime;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod status;
pub(crate) mod token;
