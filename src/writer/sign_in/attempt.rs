//! One attempt to sign in: the provider as it was found, and the client as which it is asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::SignIn;
use crate::caller::Deadline;
use crate::clock;
use crate::config::settings::{Kind, Settings};
use crate::error::{Failure, Result};
use crate::oidc::client_auth::client::{self, Client};
use crate::oidc::discovery::Provider;
use crate::oidc::dpop::{self, Prover};
use crate::oidc::exchange;
use crate::oidc::id_token::{self, Claims, ValidationContext};
use crate::oidc::registration::{self, Registered};
use crate::oidc::tokens::Grant;
use crate::oidc::transport::http::Http;
use crate::session::record::SignedInBy;
use crate::writer::install::{CompletedExchange, Outcome};
use crate::writer::issue::{self, Times};

/// Time to redeem what the person has confirmed when the sign-in's own time is over.
pub(super) const REDEEM: Duration = Duration::from_secs(60);

/// How long an unreachable provider is tried before the sign-in is given up.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How often the process that holds the active sign-in looks for the user's and other processes' requests.
pub(super) const POLL: Duration = Duration::from_millis(250);

/// What the steps of one sign-in share.
pub(super) struct Attempt<'a> {
    pub(super) sign_in: &'a SignIn<'a>,
    pub(super) http: &'a Http,
    pub(super) provider: Provider,
    /// The effective configuration, with the client that was registered for this session if one was.
    pub(super) settings: Cow<'a, Settings>,
    pub(super) client: Client,
    registered: Option<Registered>,
}

impl<'a> Attempt<'a> {
    /// The client is the configured one, or one that is registered for this session (RFC 7591).
    ///
    /// # Errors
    /// `config` where no client can be registered, or the provider does not offer what the configuration asks for.
    pub(super) fn new(
        sign_in: &'a SignIn<'a>,
        http: &'a Http,
        provider: Provider,
        redirect_uri: Option<&str>,
    ) -> Result<Self> {
        let configured = sign_in.request.settings;
        let (settings, registered) = if configured.registers_itself() {
            let endpoint = provider.metadata.registration_endpoint.as_ref().ok_or_else(|| {
                Failure::config(
                    "`client_id` is not configured, and the authorization server registers no clients by itself",
                    "have your administrator register a client and set `client_id`",
                )
            })?;
            let registered = registration::register(http, endpoint, configured, redirect_uri)?;
            let settings =
                configured.as_client(&registered.client_id, registered.client_secret.as_ref());
            (Cow::Owned(settings), Some(registered))
        } else {
            (Cow::Borrowed(configured), None)
        };
        // A new session gets a key of its own if the refresh token is to be bound.
        let prover = match dpop::is_wanted(&settings, &provider.metadata)? {
            true => Some(Prover::generate()?),
            false => None,
        };
        let client = client::client(&settings, &provider.metadata)?.bound_to(prover);
        Ok(Self {
            sign_in,
            http,
            provider,
            settings,
            client,
            registered,
        })
    }

    /// Looks at what the provider has granted, and has it exchanged if that is configured.
    ///
    /// # Errors
    /// `untrusted-response` where the ID token fails validation, `sign-in-failed` where the account is not allowed,
    /// and what the exchange's server refuses with.
    pub(super) fn checked(
        mut self,
        grant: Grant,
        asked_at_ms: u64,
        context: &ValidationContext<'_>,
        by: SignedInBy,
    ) -> Result<Outcome> {
        let settings = self.sign_in.request.settings;
        let times = Times {
            asked_at_ms,
            obtained_at_ms: clock::now_millis(),
        };
        let claims = match settings.kind {
            Kind::Oidc => {
                let Some(id_token) = &grant.id_token else {
                    return Err(Failure::untrusted("the provider issued no ID token"));
                };
                let claims = id_token::validate(
                    id_token,
                    &grant.access_token,
                    context,
                    &mut self.provider,
                    settings,
                    self.http,
                    self.sign_in.active.files(),
                )?;
                issue::check_account(&claims, settings)?;
                Some(claims)
            }
            Kind::OAuth | Kind::Key => None,
        };
        Ok(Outcome {
            exchanged: exchanged(settings, &grant, claims.as_ref(), times)?,
            claims,
            times,
            by,
            token_endpoint: self.provider.metadata.token_endpoint.to_string(),
            grant,
            registered: self.registered,
            secret_headers: BTreeMap::new(),
        })
    }
}

/// Exchanges the provider's token for the gateway's, if that is configured.
fn exchanged(
    settings: &Settings,
    grant: &Grant,
    claims: Option<&Claims>,
    times: Times,
) -> Result<Option<CompletedExchange>> {
    let Some(how) = &settings.exchange else {
        return Ok(None);
    };
    let from = issue::token_to_exchange(how, settings, grant, claims, times)
        .ok_or_else(|| Failure::untrusted("the provider issued no ID token"))?;
    let http = Http::for_url(settings, how.url(), Deadline::after(REDEEM))?
        .connecting_until(Deadline::after(CONNECT));
    let asked_at_ms = clock::now_millis();
    let exchanged = exchange::exchange(&http, how, &from.value)?;
    let times = Times {
        asked_at_ms,
        obtained_at_ms: clock::now_millis(),
    };
    Ok(Some(CompletedExchange {
        from,
        exchanged,
        times,
    }))
}
