//! Telling the provider that a session is over (RFC 7009).

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::Result;
use crate::oidc::client_auth::{self, client};
use crate::oidc::discovery::Provider;
use crate::oidc::tokens;
use crate::secret::Secret;
use crate::session::state::StateFiles;

/// Revokes a refresh token as the client of these settings; says whether the provider took it back. It belongs to the
/// endpoint that issued it: a provider that has another one by now is told nothing.
///
/// # Errors
/// `unavailable` where the provider cannot be reached or refuses.
pub(super) fn revoke(
    settings: &Settings,
    files: &StateFiles,
    token_endpoint: &str,
    refresh_token: &Secret,
    deadline: Deadline,
) -> Result<bool> {
    let http = client_auth::provider_http(settings, deadline)?;
    let provider = Provider::kept_or_fetch(&http, settings, files)?;
    if provider.metadata.token_endpoint.as_str() != token_endpoint {
        return Ok(false);
    }
    let client = client::client(settings, &provider.metadata)?;
    tokens::revoke(&http, &client, &provider.metadata, settings, refresh_token)
}
