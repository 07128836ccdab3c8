//! Asking the provider to renew a session: the only part of a refresh that reaches the network.

use std::time::Duration;

use super::Budget;
use super::issue::{self, Times};
use crate::caller::Deadline;
use crate::clock;
use crate::config::settings::{Kind, Settings, Usage};
use crate::error::{Failure, Result};
use crate::oidc::client_auth::{self, client};
use crate::oidc::discovery::Provider;
use crate::oidc::dpop::Prover;
use crate::oidc::exchange::{self, Exchanged};
use crate::oidc::id_token::{self, Claims, ValidationContext};
use crate::oidc::tokens::{self, Grant, Refusal};
use crate::oidc::transport::http::Http;
use crate::reader::sign_in_required;
use crate::secret::Secret;
use crate::session::record::Record;
use crate::session::state::StateFiles;

/// Least time that is left to the caller when connecting is given up.
const RESERVE: Duration = Duration::from_secs(2);

/// Longest time for which an unreachable provider is tried, however long the caller would wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the provider gave for a refresh token.
#[derive(Debug)]
pub struct Renewed {
    /// The grant. If it has a new refresh token, the old one is used up.
    pub(super) grant: Grant,
    /// The claims of its ID token, if it has one, or why they were not accepted.
    pub(super) checked: Result<Option<Claims>>,
    pub(super) times: Times,
}

/// Why the provider gave nothing.
#[derive(Debug)]
pub enum NotRenewed {
    /// The provider takes this refresh token no more.
    Over(String),
    /// The provider's token endpoint is not the one that issued this refresh token.
    Moved,
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for NotRenewed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Whoever can renew a session.
pub trait Renewal {
    /// Sends the record's refresh token, once. `before_sending` is called when nothing but the request is left
    /// to do. `patient` says whether an unreachable provider is worth waiting for.
    fn renew(
        &self,
        record: &Record,
        refresh_token: &Secret,
        patient: bool,
        before_sending: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Renewed, NotRenewed>;

    /// Exchanges a token of the provider's for the gateway's.
    fn exchange(&self, from: &Secret) -> Result<Exchanged>;
}

/// The real provider.
#[derive(Clone, Copy, Debug)]
pub struct AtProvider<'a> {
    /// The effective configuration.
    pub settings: &'a Settings,
    /// Where the provider's documents are kept.
    pub files: &'a StateFiles,
    /// Until when what may be waited for.
    pub budget: Budget,
}

impl Renewal for AtProvider<'_> {
    fn renew(
        &self,
        record: &Record,
        refresh_token: &Secret,
        patient: bool,
        before_sending: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Renewed, NotRenewed> {
        let connect_until = if patient {
            self.budget.answer_by.less(RESERVE).at_most(PATIENCE)
        } else {
            Deadline::after(Duration::ZERO)
        };
        let http = client_auth::provider_http(self.settings, self.budget.finish_by)?
            .connecting_until(connect_until);
        let mut provider = Provider::kept_or_fetch(&http, self.settings, self.files)?;
        if provider.metadata.token_endpoint.as_str() != record.token_endpoint {
            return Err(NotRenewed::Moved);
        }
        let settings = self.settings.as_client_of(record);
        let prover = self.prover(record)?;
        let client = client::client(&settings, &provider.metadata)?.bound_to(prover);
        before_sending()?;
        let asked_at_ms = clock::now_millis();
        let grant =
            tokens::refresh(&http, &client, &settings, refresh_token).map_err(|refusal| {
                match refusal {
                    Refusal::GrantOver(said) => NotRenewed::Over(said),
                    Refusal::Failure(failure) => NotRenewed::Failed(failure),
                }
            })?;
        let times = Times {
            asked_at_ms,
            obtained_at_ms: clock::now_millis(),
        };
        let checked = self.check(&grant, record, &mut provider, &http);
        Ok(Renewed {
            grant,
            checked,
            times,
        })
    }

    fn exchange(&self, from: &Secret) -> Result<Exchanged> {
        let how = self
            .settings
            .exchange
            .as_ref()
            .ok_or_else(|| Failure::internal("no exchange is configured"))?;
        let connect_until = self.budget.answer_by.less(RESERVE).at_most(PATIENCE);
        let http = Http::for_url(self.settings, how.url(), self.budget.finish_by)?
            .connecting_until(connect_until);
        exchange::exchange(&http, how, from)
    }
}

impl AtProvider<'_> {
    /// What proves that the refresh token is ours, if it is bound to a key. A configuration that insists on a key
    /// does not take a session without one.
    fn prover(&self, record: &Record) -> Result<Option<Prover>, NotRenewed> {
        match &record.bound_to {
            None if self.settings.dpop == Usage::Always => Err(NotRenewed::Failed(
                sign_in_required("this session is not bound to a key, which `dpop` asks for"),
            )),
            None => Ok(None),
            Some(key) => Prover::stored(key).map(Some).ok_or_else(|| {
                sign_in_required("the key that this session is bound to is damaged").into()
            }),
        }
    }

    /// Validates the answer's ID token, if there is one (OIDC Core section 12.2 allows none).
    fn check(
        &self,
        grant: &Grant,
        record: &Record,
        provider: &mut Provider,
        http: &Http,
    ) -> Result<Option<Claims>> {
        // A plain OAuth server issues no ID token; one that comes all the same is not believed.
        let Some(token) = grant
            .id_token
            .as_ref()
            .filter(|_| self.settings.kind == Kind::Oidc)
        else {
            // The organisation may have narrowed down who is allowed since the sign-in.
            issue::check_account(&Claims(record.claims.clone()), self.settings)?;
            return Ok(None);
        };
        let context = ValidationContext::Refresh {
            subject: &record.subject,
            original: &record.claims,
        };
        let claims = id_token::validate(
            token,
            &grant.access_token,
            &context,
            provider,
            self.settings,
            http,
            self.files,
        )?;
        issue::check_account(&claims, self.settings)?;
        Ok(Some(claims))
    }
}
