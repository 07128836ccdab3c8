//! HTTPS to the provider: what is trusted, by which proxy, bounded in time and size.

pub mod certificate;
mod connection;
pub mod http;
pub mod proxy;
mod proxy_probe;
