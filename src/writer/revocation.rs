//! Telling the provider that a session is over (RFC 7009).

use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::oidc::client_auth::{self, client};
use crate::oidc::discovery::Provider;
use crate::oidc::tokens;
use crate::secret::Secret;
use crate::session::record::Record;
use crate::session::state::StateFiles;

/// What became of a session at its provider.
#[derive(Debug)]
pub enum Revocation {
    /// The provider took it back.
    Done,
    /// The provider offers no revocation.
    NotOffered,
    /// The configuration forbids it.
    Off,
    /// There was nothing to revoke.
    Nothing,
    /// It was a session of this issuer, which is not the configured one: nothing is sent to a provider by settings that
    /// are not its own.
    AnotherIssuers(String),
    /// The provider could not be told.
    Failed(Failure),
}

impl Revocation {
    /// For a line in a log.
    pub(super) fn in_words(&self) -> &'static str {
        match self {
            Self::Done => "revoked",
            Self::NotOffered => "offers no revocation",
            Self::Off => "not asked to revoke",
            Self::Nothing => "had nothing to revoke",
            Self::AnotherIssuers(_) => "is another one and was not told",
            Self::Failed(_) => "could not be told",
        }
    }
}

impl From<Result<bool>> for Revocation {
    fn from(told: Result<bool>) -> Self {
        match told {
            Ok(true) => Self::Done,
            Ok(false) => Self::NotOffered,
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// Revokes a session that belongs to another client of the configured issuer, as that client. Another issuer's is left
/// alone.
pub(super) fn revoke_other(
    settings: &Settings,
    files: &StateFiles,
    other: &Record,
    deadline: Deadline,
) -> Revocation {
    let Some(refresh_token) = &other.refresh_token else {
        return Revocation::Nothing;
    };
    if other.issuer != settings.issuer {
        return Revocation::AnotherIssuers(other.issuer.clone());
    }
    if !settings.revoke_on_logout {
        return Revocation::Off;
    }
    let settings = settings.as_client(&other.client_id, other.client_secret.as_ref());
    revoke(
        &settings,
        files,
        &other.token_endpoint,
        refresh_token,
        deadline,
    )
    .into()
}

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
