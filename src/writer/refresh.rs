//! Refreshing: one request to the token endpoint, its result stored before anybody sees it.

use sha2::{Digest, Sha256};

use super::Writer;
use super::issue::{self, Company, Times};
use super::renewal::{NotRenewed, Renewal, Renewed};
use crate::audit;
use crate::clock;
use crate::error::{Failure, Id, Origin, Result};
use crate::oidc::id_token::{self, Claims};
use crate::oidc::tokens::Grant;
use crate::reader::{Reader, Renew, TokenRequirement, sign_in_required, without_session};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Ended, Ends, InFlight, Session};
use crate::text::hex;

/// Least life, in seconds, of a provider's token that is worth exchanging again.
const WORTH_EXCHANGING: u64 = 30;

/// By how many seconds an end may move without having moved.
const SLACK: u64 = 60;

impl Writer<'_> {
    /// A token that meets the need: one that somebody else got in the meantime, or a new one.
    pub fn refresh(
        &mut self,
        need: TokenRequirement,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        if let Some(failure) = without_session(&self.reader.state) {
            return Err(failure);
        }
        if let Some(token) = self.reader.cached()
            && need.is_met_by(&token, &self.reader)
        {
            return Ok(token);
        }
        if let Some(failure) = self.answer_of_the_attempt_waited_for(need) {
            return Err(failure);
        }
        if let Some(failure) = self.refused_by_the_exchange(need) {
            return Err(failure);
        }
        let Some(record) = self.stored()? else {
            self.note(Session::None)?;
            return Err(sign_in_required("nobody is signed in"));
        };
        if let Some(why) = self.reader.state.over(record.generation) {
            return Err(sign_in_required(why));
        }
        // A state file that was lost starts again from what the record knows.
        self.reader.state.generation = self.reader.state.generation.max(record.generation);
        self.note(Session::Stored)?;
        if let Some(why) = record.unusable(self.settings()) {
            return Err(sign_in_required(&why));
        }
        let stored = record.token_for(self.settings());
        if let Some(token) = &stored
            && need.is_met_by(token, &self.reader)
        {
            self.publish(token);
            return Ok(token.clone());
        }
        let fallback =
            stored.filter(|token| Reader::is_valid(token) && need.renew != Renew::Forced);
        let result = match self.exchange_again(&record, need, renewal) {
            Some(result) => result,
            None => {
                let Some(refresh_token) = record.refresh_token.clone() else {
                    return fallback.ok_or_else(|| {
                        sign_in_required(
                            "the token has expired and the provider issued no refresh token",
                        )
                    });
                };
                self.redeem(record, &refresh_token, renewal, fallback.is_some())
            }
        };
        self.reader.state.refreshed = Some(Ended::now(result.as_ref().err()));
        // Where a request was sent and no answer came, the provider may have used up the refresh token: the mark
        // stays, so that the next refusal can be explained.
        let no_answer = matches!(&result, Err(failure)
            if failure.id == Id::Unavailable && failure.origin == Origin::Provider);
        if !no_answer {
            self.reader.state.in_flight = None;
        }
        // The session itself is in the store; a note that cannot be written takes nothing from the result.
        if let Err(failure) = self.write_state() {
            log::warn!("{}", failure.what);
        }
        match (result, fallback) {
            // While the provider cannot be reached, a token that is still valid is better than none. So is one that
            // the gateway has refused, unless the account is another or allowed no more: the reason may be elsewhere.
            (Err(failure), Some(token))
                if failure.id == Id::Unavailable
                    || (need.renew == Renew::RefusedByGateway
                        && !matches!(failure.id, Id::UntrustedResponse | Id::SignInFailed)) =>
            {
                log::warn!("{}; the stored token is still valid", failure.what);
                Ok(token)
            }
            (result, _) => result,
        }
    }

    /// The provider's answer to an attempt that this caller waited for: it is everybody's answer. A failure of
    /// that attempt's own surroundings is not.
    fn answer_of_the_attempt_waited_for(&self, need: TokenRequirement) -> Option<Failure> {
        let ended = self.reader.state.refreshed.as_ref()?;
        if !clock::has_been_since(ended.at_ms, need.asked_at_ms) {
            return None;
        }
        let failure = Failure::from(ended.failure.clone()?);
        (failure.origin == Origin::Provider).then_some(failure)
    }

    /// What the exchange's service said a moment ago: it has not changed its mind since.
    fn refused_by_the_exchange(&self, need: TokenRequirement) -> Option<Failure> {
        let settings = self.settings();
        settings
            .exchange
            .as_ref()
            .filter(|_| need.renew != Renew::Forced)?;
        self.reader.state.still_refused(&settings.token_digest)
    }

    fn redeem(
        &mut self,
        record: Record,
        refresh_token: &Secret,
        renewal: &dyn Renewal,
        has_fallback: bool,
    ) -> Result<IssuedToken> {
        let mut interrupted = false;
        let mut sent = false;
        // With a valid token in hand nobody waits for a network that may come back.
        let renewed = renewal.renew(&record, refresh_token, !has_fallback, &mut || {
            self.check_lock()?;
            interrupted = self.mark_in_flight(refresh_token)?;
            sent = true;
            Ok(())
        });
        match renewed {
            Ok(renewed) => self.take_over(record, refresh_token, renewed, renewal),
            Err(NotRenewed::Failed(failure)) => {
                // What was wrong before the token was sent (discovery, keys) says nothing about the session.
                if sent && failure.id == Id::UntrustedResponse {
                    self.end(&failure.what)?;
                }
                Err(failure)
            }
            // The refresh token belongs to the endpoint that issued it and is sent nowhere else.
            Err(NotRenewed::Moved) => {
                Err(self.end("the provider's token endpoint has changed since the sign-in")?)
            }
            // The caller's time may be over; what the provider has decided is noted all the same.
            // A store that cannot be read now may hold somebody else's newer session: nothing is ended then.
            Err(NotRenewed::Over(said)) => match self.stored_until(self.budget.finish_by)? {
                // Somebody with another lock (another home folder) was faster: theirs is the session now.
                Some(now) if now.refresh_token.as_ref().is_some_and(|t| t != refresh_token) => {
                    now.token_for(self.settings()).filter(Reader::is_valid).ok_or_else(|| {
                        Failure::new(
                            Id::Unavailable,
                            "another gatepass has just renewed this session",
                            "run it again in a moment",
                        )
                    })
                }
                _ if interrupted => Err(self.end(
                    "an earlier refresh was interrupted after the provider had used up the session, and its answer was lost",
                )?),
                _ => Err(self.end(&format!("the provider has ended the session: {said}"))?),
            },
        }
    }

    /// Stores what the provider gave, as far as it passed the checks.
    fn take_over(
        &mut self,
        record: Record,
        refresh_token: &Secret,
        renewed: Renewed,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        let Renewed {
            grant,
            checked,
            times,
        } = renewed;
        log::info!(
            "refreshed; a new refresh token came: {}",
            grant.refresh_token.is_some()
        );
        // The answer is here: whatever fails from now on, it was not lost on the way.
        self.reader.state.in_flight = None;
        let next = grant.refresh_token.as_ref().unwrap_or(refresh_token);
        let rotated = Record {
            refresh_token: Some(next.clone()),
            refreshed_at: clock::now(),
            ends_at: grant
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .map(|seconds| times.asked_at().saturating_add(seconds))
                .or(record.ends_at),
            ..record
        };
        self.note_end(&rotated, grant.refresh_expires_in.is_some());
        match checked {
            Ok(validated) => self.accept(rotated, &grant, validated.as_ref(), times, renewal),
            Err(failure)
                if failure.id == Id::UntrustedResponse || failure.id == Id::SignInFailed =>
            {
                self.end(&failure.what)?;
                Err(failure)
            }
            Err(failure) => {
                // The check could not be performed. The old refresh token may be used up, so keep the new one. The old
                // token is as good as before.
                self.keep_rotated(&rotated)?;
                Err(failure)
            }
        }
    }

    /// Notes that this refresh token is about to be sent. Says whether an earlier run sent it and died before
    /// it could store the answer.
    fn mark_in_flight(&mut self, refresh_token: &Secret) -> Result<bool> {
        let digest = hex(&Sha256::digest(refresh_token.expose())[..16]);
        let before = self.reader.state.in_flight.replace(InFlight {
            sent_at: clock::now(),
            refresh_token: digest.clone(),
        });
        self.write_state()?;
        Ok(before.is_some_and(|before| before.refresh_token == digest))
    }

    /// Notes when the session ends, and whether this refresh has moved that.
    fn note_end(&mut self, record: &Record, was_told: bool) {
        let before = self.reader.state.ends;
        self.reader.state.ends = record.ends_at.map(|at| Ends {
            at,
            began: record.signed_in_at,
            slides: match before {
                Some(before) if was_told => Some(at > before.at.saturating_add(SLACK)),
                None if was_told => None,
                _ => Some(false),
            },
        });
    }

    /// Stores the checked result, then makes it known.
    fn accept(
        &mut self,
        mut record: Record,
        grant: &Grant,
        validated: Option<&Claims>,
        times: Times,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        if let Some(claims) = validated {
            let mut kept = issue::kept_claims(claims, self.settings());
            // What the next tokens are compared with is the sign-in's, never a later one's.
            for name in id_token::ORIGINAL {
                kept.remove(name);
                kept.extend(record.claims.remove_entry(name));
            }
            record.claims = kept;
        }
        if let Some(how) = &self.settings().exchange {
            // No ID token came: the last one is exchanged while it is valid.
            if let Some(from) =
                issue::token_to_exchange(how, self.settings(), grant, validated, times)
            {
                record.exchanged_from = Some(from);
            }
            // What the provider gave is safe before the next server is asked.
            self.keep_rotated(&record)?;
            return self.exchange(record, renewal);
        }
        let company = Company {
            settings: self.settings(),
            claims: &record.claims,
            secret_headers: &record.secret_headers,
            times,
        };
        match company.of_grant(grant, validated) {
            Ok(Some(token)) => record.token = Some(token),
            // No ID token came: the stored one is printed while it is valid.
            Ok(None) => record.token = record.token.filter(Reader::is_valid),
            Err(failure) => {
                record.token = None;
                self.keep_rotated(&record)?;
                self.reader.cache.clear();
                return Err(failure);
            }
        }
        self.keep_rotated(&record)?;
        let token = record.token_for(self.settings()).ok_or_else(|| {
            sign_in_required("the provider renews no ID token, and the last one has expired")
        })?;
        self.publish(&token);
        Ok(token)
    }

    /// Exchanges the provider's token that is stored, if it is good for that: no refresh is spent then. `None` if
    /// the session must be renewed first.
    fn exchange_again(
        &mut self,
        record: &Record,
        need: TokenRequirement,
        renewal: &dyn Renewal,
    ) -> Option<Result<IssuedToken>> {
        self.settings().exchange.as_ref()?;
        // What was issued under another configuration may be another kind of token, for another audience.
        let digest = &self.settings().token_digest;
        let from = record
            .exchanged_from
            .as_ref()
            .filter(|from| from.digest == *digest)?;
        let left = from.life.left(clock::now_millis());
        let can_renew = record.refresh_token.is_some();
        if left < WORTH_EXCHANGING && (can_renew || left == 0) {
            return None;
        }
        // Whoever wants another token than the last one wants one that is made of a new one.
        if need.renew != Renew::IfNeeded && can_renew {
            return None;
        }
        match self.exchange(record.clone(), renewal) {
            // The gateway's issuer may have got to know that the provider's token is no good any more.
            Err(failure) if can_renew && matches!(failure.id, Id::SignInFailed | Id::Config) => {
                self.reader.state.refused_exchange = None;
                None
            }
            result => Some(result),
        }
    }

    /// Exchanges the record's token of the provider, stores what came and makes it known.
    fn exchange(&mut self, mut record: Record, renewal: &dyn Renewal) -> Result<IssuedToken> {
        let from = record
            .exchanged_from
            .as_ref()
            .filter(|from| from.life.left(clock::now_millis()) > 0)
            .ok_or_else(|| {
                sign_in_required("the provider renews no ID token, and the last one has expired")
            })?;
        let asked_at_ms = clock::now_millis();
        let answer = renewal.exchange(&from.value);
        let state = &mut self.reader.state;
        match &answer {
            Err(failure) if matches!(failure.id, Id::SignInFailed | Id::Config) => {
                state.exchange_refused(failure, &self.reader.settings.token_digest);
            }
            _ => state.refused_exchange = None,
        }
        let exchanged = answer?;
        let company = Company {
            settings: self.settings(),
            claims: &record.claims,
            secret_headers: &record.secret_headers,
            times: Times {
                asked_at_ms,
                obtained_at_ms: clock::now_millis(),
            },
        };
        let token = company.of_exchange(exchanged)?;
        record.token = Some(token.clone());
        // Nothing was rotated by this: what the store has is still good if it cannot be written now, and if an
        // earlier write has failed, this one has made up for it.
        match self.keep(&record) {
            Ok(()) => self.note(Session::Stored)?,
            Err(error) => log::warn!(
                "the gateway's token could not be stored: {}",
                Failure::from(error).what
            ),
        }
        self.publish(&token);
        Ok(token)
    }

    /// Stores a rotated refresh token. If that fails for good, the token of this run is still worth printing,
    /// and what is lost is told: the stored refresh token is used up and must not be sent again.
    fn keep_rotated(&mut self, record: &Record) -> Result<()> {
        if let Err(error) = self.keep(record) {
            let failure = Failure::from(error);
            let warning = format!(
                "the renewed session could not be stored ({}); the next sign-in may be needed soon",
                failure.what
            );
            log::warn!("{warning}");
            let state = &mut self.reader.state;
            state.end("the renewed session could not be stored in the keychain");
            state.warn(warning);
            self.write_state()?;
        }
        Ok(())
    }

    /// Whether this failure is the end of a session of which the person has not been told. Noted, so that it is told
    /// once however many calls find out.
    pub fn end_is_news(&mut self, failure: &Failure) -> bool {
        let state = &mut self.reader.state;
        let has_ended = match state.session {
            Session::Ended { .. } => true,
            // A session that cannot be renewed ends with its token.
            Session::Stored => failure.id == Id::SignInRequired,
            Session::None | Session::Unknown => false,
        };
        if !has_ended || state.end_told == Some(state.generation) {
            return false;
        }
        state.end_told = Some(state.generation);
        // What cannot be noted is not told: it would be told again and again.
        self.write_state().is_ok()
    }

    /// Marks the session as of no use any more. It stays stored until a sign-in replaces it.
    fn end(&mut self, why: &str) -> Result<Failure> {
        self.reader.state.end(why);
        self.write_state()?;
        audit::note(self.settings(), audit::Event::Ended(why));
        Ok(sign_in_required(why))
    }
}
