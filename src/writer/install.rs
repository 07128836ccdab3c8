//! Replacing the stored session by a new one.

use std::collections::BTreeMap;

use super::issue::{self, IssueContext, Times};
use super::sign_in::Replace;
use super::{Kept, WhoWaits, Writer, overtaken};
use crate::clock;
use crate::credential::{self, Use};
use crate::error::{Failure, Result};
use crate::oidc::exchange::Exchanged;
use crate::oidc::id_token::Claims;
use crate::oidc::registration::Registered;
use crate::oidc::tokens::Grant;
use crate::platform::interrupt;
use crate::secret::Secret;
use crate::session::record::{IssuedToken, ProviderToken, Record, SignedInBy, missing_header};
use crate::session::state::{Ends, Session};
use crate::session::validity::Life;
use crate::sign_in_ui::SignInUi;

/// A completed sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The stored session.
    pub record: Record,
    /// The token to print.
    pub token: IssuedToken,
}

/// What the provider gave for a sign-in.
pub(super) struct Outcome {
    pub(super) grant: Grant,
    /// The claims of the validated ID token; a plain OAuth server issues none.
    pub(super) claims: Option<Claims>,
    pub(super) times: Times,
    pub(super) token_endpoint: String,
    pub(super) by: SignedInBy,
    /// The client that was registered for this session.
    pub(super) registered: Option<Registered>,
    /// What the provider's token was exchanged for.
    pub(super) exchanged: Option<CompletedExchange>,
    pub(super) secret_headers: BTreeMap<String, Secret>,
}

/// A token of the provider's and what the gateway's issuer gave for it.
pub(super) struct CompletedExchange {
    pub(super) from: ProviderToken,
    pub(super) exchanged: Exchanged,
    pub(super) times: Times,
}

impl Writer<'_> {
    /// Replaces the stored session by a complete new one. `other` is the session of another issuer or client that the
    /// entry holds.
    ///
    /// # Errors
    /// `keychain` where the store does not take it, `unavailable` where another process was faster.
    pub(super) fn replace_session(
        &mut self,
        outcome: Outcome,
        other: Option<&Record>,
    ) -> Result<SignedIn> {
        let settings = self.settings();
        let claims = outcome.claims.as_ref();
        let kept = claims.map_or_else(serde_json::Map::new, |claims| {
            issue::kept_claims(claims, settings)
        });
        let context = IssueContext {
            settings,
            claims: &kept,
            secret_headers: &outcome.secret_headers,
            times: outcome.times,
        };
        let (token, exchanged_from) = match outcome.exchanged {
            Some(exchange) => {
                let context = IssueContext {
                    times: exchange.times,
                    ..context
                };
                let token = context.of_exchange(exchange.exchanged)?;
                (token, Some(exchange.from))
            }
            None => {
                let token = context
                    .of_grant(&outcome.grant, claims)?
                    .ok_or_else(|| Failure::untrusted("the provider issued no ID token"))?;
                (token, None)
            }
        };
        let grant = outcome.grant;
        let signed_in_at = outcome.times.asked_at();
        let (client_id, client_secret) = match outcome.registered {
            Some(registered) => (registered.client_id, registered.client_secret),
            None => (settings.client_id.clone(), None),
        };
        let record = Record {
            generation: 0,
            issuer: settings.issuer.clone(),
            client_id,
            token_endpoint: outcome.token_endpoint,
            subject: claims.map(Claims::subject).unwrap_or_default().to_owned(),
            refresh_token: grant.refresh_token,
            rotations: 0,
            unproven: None,
            bound_to: grant.bound_to,
            token: Some(token.clone()),
            exchanged_from,
            secret_headers: outcome.secret_headers,
            client_secret,
            claims: kept,
            signed_in_at,
            refreshed_at: signed_in_at,
            ends_at: grant
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .or(settings.session_lifetime)
                .map(|seconds| signed_in_at.saturating_add(seconds)),
            signed_in_by: outcome.by,
        };
        // What the provider says may move with each refresh; what the organisation says does not.
        let sliding_expiry = match grant.refresh_expires_in {
            Some(_) => None,
            None => Some(false),
        };
        self.install(record, token, sliding_expiry, other)
    }

    /// Replaces whatever is stored by a pasted key. What is not given is taken from what is stored.
    ///
    /// # Errors
    /// `config` where a header cannot carry the key, or another issuer's session must not be replaced;
    /// `sign-in-required` where the key or a secret header is missing; `keychain` where the store does not take it.
    pub fn keep_key(
        &mut self,
        key: Option<&Secret>,
        given: BTreeMap<String, Secret>,
        replace: Replace,
        ui: &dyn SignInUi,
    ) -> Result<SignedIn> {
        let keys = key.into_iter().map(|key| (key, Use::Token));
        let headers = given.values().map(|header| (header, Use::Header));
        if !keys
            .chain(headers)
            .all(|(secret, purpose)| credential::may_be_stored(secret, purpose))
        {
            return Err(Failure::config(
                "the key, or a secret header, has characters that no header can carry, or is longer than 16 KiB",
                "copy it again, without line breaks",
            ));
        }
        let entry = self.look()?;
        replace.check(self.settings(), &entry, ui)?;
        let other = entry.other;
        // What a remote sign-out has ended does not come back by an empty line.
        let before = entry.session;
        let before = before
            .as_ref()
            .filter(|record| !record.is_recalled(self.settings()));
        let key = key
            .cloned()
            .or_else(|| before?.token.as_ref().map(|token| token.value.clone()))
            .ok_or_else(|| crate::reader::sign_in_required("no key was given"))?;
        let mut secret_headers = BTreeMap::new();
        for name in &self.settings().secret_headers {
            let secret = given
                .get(name)
                .or_else(|| before?.secret_headers.get(name))
                .ok_or_else(|| crate::reader::sign_in_required(&missing_header(name)))?;
            secret_headers.insert(name.clone(), secret.clone());
        }
        let now = clock::now();
        let mut record = Record {
            generation: 0,
            issuer: String::new(),
            client_id: String::new(),
            token_endpoint: String::new(),
            subject: String::new(),
            refresh_token: None,
            rotations: 0,
            unproven: None,
            bound_to: None,
            token: Some(IssuedToken {
                value: key,
                life: Life {
                    issued_at_ms: clock::now_millis(),
                    expires_at_ms: u64::MAX,
                },
                obtained_at_ms: clock::now_millis(),
                headers: BTreeMap::new(),
                digest: String::new(),
            }),
            exchanged_from: None,
            secret_headers,
            client_secret: None,
            claims: serde_json::Map::new(),
            signed_in_at: now,
            refreshed_at: now,
            ends_at: None,
            signed_in_by: SignedInBy::Key,
        };
        record.token = record.token_for(self.settings());
        let token = record
            .token
            .clone()
            .ok_or_else(|| Failure::internal("a key cannot be kept"))?;
        let signed_in = self.install(record, token, None, other.as_ref())?;
        if let Some(other) = other.filter(|other| other.refresh_token.is_some()) {
            ui.replaced_without_revocation(&other.issuer);
        }
        Ok(signed_in)
    }

    /// First the old tokens lose their validity for readers, then the new session takes the old one's place.
    fn install(
        &mut self,
        mut record: Record,
        token: IssuedToken,
        sliding_expiry: Option<bool>,
        other: Option<&Record>,
    ) -> Result<SignedIn> {
        interrupt::change_begins();
        self.reader.raise_generation();
        self.write_state()?;
        self.reader.cache.clear();
        if let Some(other) = other {
            self.withdraw_tokens_of(other);
        }
        record.generation = self.reader.state.generation;
        match self.keep(&record, WhoWaits::User)? {
            Kept::Stored => {}
            Kept::Refused(error) => return Err(error.into()),
            Kept::Overtaken => return Err(overtaken()),
        }
        self.unpark();
        if let Some(other) = other {
            self.forget_files_of(other);
        }
        self.publish(&token);
        // Only now is what was known of the old session of no use.
        let state = &mut self.reader.state;
        state.session = Session::Stored;
        state.refreshed = None;
        state.in_flight = None;
        state.back_off = None;
        state.withdrawn = None;
        state.ends = record.ends_at.map(|at| Ends {
            at,
            began: record.signed_in_at,
            sliding_expiry,
        });
        state.warnings.clear();
        let renews = record.refresh_token.is_some() || record.signed_in_by == SignedInBy::Key;
        if !renews {
            state.warn(format!(
                "the provider issued no refresh token: the next sign-in is needed at {}",
                crate::text::moment(token.life.expires_at())
            ));
        }
        if let Err(failure) = self.write_state() {
            log::warn!("{}", failure.what);
        }
        Ok(SignedIn { record, token })
    }
}
