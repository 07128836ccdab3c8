//! How the client shows the provider who it is: secret, signed assertion or certificate.

mod assertion;
pub mod client;
mod key_files;

use super::transport::http::Http;
use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;

/// HTTP to the configured issuer, with the client's certificate for the endpoints that ask for it (RFC 8705).
///
/// # Errors
///
/// `config`: the certificate, its key, `ca_file` or `proxy` cannot be used.
pub fn provider_http(settings: &Settings, deadline: Deadline) -> Result<Http> {
    Http::new(settings, key_files::tls_identity(settings)?, deadline)
}
