//! Refreshing: one request to the token endpoint, its result stored before anybody sees it.

use super::issue::{self, Times};
use super::{Writer, sign_in_required, without_session};
use crate::clock;
use crate::error::{Failure, Id, Result};
use crate::oidc::client::{self, Client};
use crate::oidc::discovery::Provider;
use crate::oidc::http::Http;
use crate::oidc::id_token::{self, Claims, Occasion};
use crate::oidc::tokens::{self, Grant, Refusal};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, Record};
use crate::session::state::Session;
use crate::session::validity::Freshness;

/// What a caller needs of the token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// Only a token that arrived after this moment will do (`--force-refresh`), in milliseconds since 1970.
    pub obtained_after_ms: Option<u64>,
}

impl Need {
    /// Whether a token fulfils it, its remaining life aside.
    pub fn is_met_by(self, token: &IssuedToken) -> bool {
        self.obtained_after_ms
            .is_none_or(|moment| token.obtained_at_ms >= moment)
    }
}

impl Writer<'_> {
    /// A token that fulfils the need: one that somebody else got in the meantime, or a new one.
    pub fn refresh(&mut self, need: Need) -> Result<IssuedToken> {
        if let Some(failure) = without_session(&self.reader.state.session) {
            return Err(failure);
        }
        if let Some(token) = self.reader.cached()
            && need.is_met_by(&token)
            && self.reader.is_good(&token)
        {
            return Ok(token);
        }
        let Some(record) = self.stored()? else {
            self.note(Session::None)?;
            return Err(sign_in_required("nobody is signed in"));
        };
        // A state file that was lost starts again from what the record knows.
        self.reader.state.generation = self.reader.state.generation.max(record.generation);
        self.note(Session::Stored)?;
        let stored = record.token_for(self.settings()).cloned();
        if let Some(token) = &stored
            && need.is_met_by(token)
            && self.reader.is_good(token)
        {
            self.publish(token);
            return Ok(token.clone());
        }
        let Some(refresh_token) = record.refresh_token.clone() else {
            return stored
                .filter(|token| is_valid(token) && need.is_met_by(token))
                .ok_or_else(|| {
                    sign_in_required(
                        "the token has expired and the provider issued no refresh token",
                    )
                });
        };
        match self.redeem(record, &refresh_token) {
            // While the provider cannot be reached, a token that is still valid is better than none.
            Err(failure) if failure.id == Id::Unavailable => match stored {
                Some(token) if is_valid(&token) && need.obtained_after_ms.is_none() => {
                    log::warn!("{}; the stored token is still valid", failure.what);
                    Ok(token)
                }
                _ => Err(failure),
            },
            result => result,
        }
    }

    fn redeem(&mut self, record: Record, refresh_token: &Secret) -> Result<IssuedToken> {
        let http = Http::new(self.settings(), self.deadline)?;
        let mut provider = Provider::kept_or_fetch(&http, self.settings(), &self.reader.files)?;
        if provider.metadata.token_endpoint.as_str() != record.token_endpoint {
            // The refresh token belongs to the endpoint that issued it and is sent nowhere else.
            let why = "the provider's token endpoint has changed since the sign-in";
            return Err(self.end(why)?);
        }
        let client = client::client(self.settings(), &provider.metadata)?;
        let (grant, times) = match self.ask(&http, &client, refresh_token) {
            Ok(answer) => answer,
            Err(Refusal::Failure(failure)) => return Err(failure),
            Err(Refusal::GrantOver(said)) => {
                let why = format!("the provider has ended the session: {said}");
                return Err(self.end(&why)?);
            }
        };
        log::info!(
            "refreshed; a new refresh token came: {}",
            grant.refresh_token.is_some()
        );
        let checked = self.check(&grant, &record, &mut provider, &http);
        let rotated = Record {
            refresh_token: Some(
                grant
                    .refresh_token
                    .clone()
                    .unwrap_or_else(|| refresh_token.clone()),
            ),
            refreshed_at: clock::now(),
            ends_at: grant
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .map(|seconds| times.asked_at + seconds)
                .or(record.ends_at),
            ..record
        };
        match checked {
            Ok(validated) => self.accept(rotated, &grant, validated.as_ref(), times),
            Err(failure)
                if failure.id == Id::UntrustedResponse || failure.id == Id::SignInFailed =>
            {
                self.end(&failure.what)?;
                Err(failure)
            }
            Err(failure) => {
                // The check could not be performed. The old refresh token may be used up, so keep the new one.
                let unchecked = Record {
                    token: None,
                    ..rotated
                };
                self.keep_rotated(&unchecked)?;
                self.reader.cache.clear();
                Err(failure)
            }
        }
    }

    fn ask(
        &self,
        http: &Http,
        client: &Client,
        refresh_token: &Secret,
    ) -> Result<(Grant, Times), Refusal> {
        let asked_at = clock::now();
        let grant = tokens::refresh(http, client, self.settings(), refresh_token)?;
        let times = Times {
            asked_at,
            obtained_at_ms: clock::now_millis(),
        };
        Ok((grant, times))
    }

    /// Validates the answer's ID token, if there is one (OIDC Core section 12.2 allows none).
    fn check(
        &self,
        grant: &Grant,
        record: &Record,
        provider: &mut Provider,
        http: &Http,
    ) -> Result<Option<Claims>> {
        let Some(token) = &grant.id_token else {
            return Ok(None);
        };
        let occasion = Occasion::Refresh {
            subject: &record.subject,
        };
        let claims = id_token::validate(
            token,
            &grant.access_token,
            &occasion,
            provider,
            self.settings(),
            http,
            &self.reader.files,
        )?;
        issue::check_account(&claims, self.settings())?;
        Ok(Some(claims))
    }

    /// Stores the checked result, then makes it known.
    fn accept(
        &mut self,
        mut record: Record,
        grant: &Grant,
        validated: Option<&Claims>,
        times: Times,
    ) -> Result<IssuedToken> {
        if let Some(claims) = validated {
            record.claims = issue::kept_claims(claims, self.settings());
        }
        match issue::token_to_print(grant, validated, &record.claims, times, self.settings()) {
            Ok(Some(token)) => record.token = Some(token),
            // No ID token came: the stored one is printed while it is valid.
            Ok(None) => record.token = record.token.filter(is_valid),
            Err(failure) => {
                record.token = None;
                self.keep_rotated(&record)?;
                self.reader.cache.clear();
                return Err(failure);
            }
        }
        self.keep_rotated(&record)?;
        let token = record.token_for(self.settings()).cloned().ok_or_else(|| {
            sign_in_required("the provider renews no ID token, and the last one has expired")
        })?;
        self.publish(&token);
        Ok(token)
    }

    /// Stores a rotated refresh token. If that fails for good, the token of this run is still worth printing,
    /// and what is lost is told.
    fn keep_rotated(&mut self, record: &Record) -> Result<()> {
        if let Err(error) = self.keep(record) {
            let failure = Failure::from(error);
            let warning = format!(
                "the renewed session could not be stored ({}); the next sign-in may be needed soon",
                failure.what
            );
            log::warn!("{warning}");
            self.reader.state.warn(warning);
            // The token that is printed now must also be found by those who ask next.
            self.write_state()?;
        }
        Ok(())
    }

    /// Marks the session as of no use any more. It stays stored until a sign-in replaces it.
    fn end(&mut self, why: &str) -> Result<Failure> {
        self.note(Session::Ended {
            why: why.to_owned(),
        })?;
        Ok(sign_in_required(why))
    }
}

fn is_valid(token: &IssuedToken) -> bool {
    token.life.freshness(clock::now(), 0) != Freshness::Expired
}
