//! What gatepass is used for: print a token, sign in, sign out, say how things stand.

pub mod doctor;
pub mod host_lint;
pub mod lifetime;
pub mod login;
pub mod logout;
pub mod status;
pub mod token;
