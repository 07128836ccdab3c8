//! Refreshing (RFC 6749 section 6): one request to the token endpoint, its result stored before any caller gets it.

use sha2::{Digest, Sha256};

use super::issue::{self, IssueContext, Times};
use super::renewal::{JudgedAnswer, Judgement, NoAnswer, Renewal};
use super::{Kept, WhoWaits, Writer, overtaken};
use crate::audit;
use crate::clock;
use crate::config::settings::Kind;
use crate::error::{Failure, Id, Origin, Result};
use crate::oidc::id_token::{self, Claims};
use crate::oidc::tokens::Grant;
use crate::reader::{Held, Reader, Renew, TokenRequirement, sign_in_required, without_session};
use crate::secret::Secret;
use crate::session::back_off::BackOff;
use crate::session::record::{IssuedToken, Proof, Record, Unproven};
use crate::session::state::{Ended, Ends, InFlight, Parked, Session};
use crate::session::verdict::{AttemptEnd, Fate, NextTry};
use crate::store::StoreError;
use crate::text::hex;

/// Least life, in seconds, of a provider's token that is worth exchanging again.
const WORTH_EXCHANGING: u64 = 30;

/// By how many seconds two ends of a session may differ and still count as the same.
const SLACK: u64 = 60;

impl Writer<'_> {
    /// A token that meets the need: one that another process got in the meantime, or a new one.
    ///
    /// # Errors
    /// Every id but `usage`: see [`AttemptEnd::verdict`] for what the provider's answers mean.
    pub fn refresh(
        &mut self,
        need: TokenRequirement,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        if let Some(failure) = without_session(&self.reader.state) {
            return Err(failure);
        }
        if self.reader.state.parked.is_none()
            && let Some(token) = self.reader.cached()
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
        let entry = self.look()?;
        let Some(record) = entry.session else {
            // Where there was a session, the store may only have failed to find it.
            if self.reader.state.session == Session::Unknown {
                self.note(Session::None)?;
            }
            return Err(sign_in_required("nobody is signed in"));
        };
        if let Some(why) = self.reader.state.over(record.generation) {
            return Err(sign_in_required(why));
        }
        self.note(Session::Stored)?;
        if entry.is_parked {
            self.store_what_is_parked(&record)?;
        }
        if let Some(why) = record.unusable(self.settings()) {
            return Err(sign_in_required(&why));
        }
        let cached = self.reader.cached();
        let known = [cached, record.token_for(self.settings())];
        for token in known.iter().flatten() {
            if need.is_met_by(token, &self.reader) {
                self.publish(token);
                return Ok(token.clone());
            }
        }
        let has_fallback =
            need.renew == Renew::IfNeeded && known.iter().flatten().any(Reader::is_valid);
        if let Some(failure) = self.reader.held_back(Some(&record), need.renew) {
            return Err(failure);
        }
        let result = match self.exchange_again(&record, need, renewal) {
            Some(result) => result,
            None => {
                let Some(refresh_token) = record.refresh_token.clone() else {
                    return Err(sign_in_required(
                        "the token has expired and the provider issued no refresh token",
                    ));
                };
                self.redeem(record, &refresh_token, renewal, !has_fallback)
            }
        };
        if result.is_ok() {
            self.reader.state.back_off = None;
        }
        self.reader.state.refreshed = Some(Ended::now(result.as_ref().err()));
        // Where a request was sent and no answer came, the provider may have used up the refresh token; where its
        // answer could not be stored, it has. The mark stays, so that the next refusal can be explained.
        let no_answer = matches!(&result, Err(failure)
            if failure.id == Id::Unavailable && failure.origin == Origin::Provider);
        if !no_answer && !self.is_unstored {
            self.reader.state.in_flight = None;
        }
        // The session itself is in the store; a note that cannot be written takes nothing from the result.
        if let Err(failure) = self.write_state() {
            log::warn!("{}", failure.what);
        }
        result
    }

    /// The provider's answer to an attempt that this caller waited for: it is every waiting caller's answer. A failure of
    /// that attempt's own environment is for callers that have the same one.
    fn answer_of_the_attempt_waited_for(&self, need: TokenRequirement) -> Option<Failure> {
        let ended = self.reader.state.refreshed.as_ref()?;
        if !clock::has_been_since(ended.at_ms, need.asked_at_ms) {
            return None;
        }
        ended.shared_failure()
    }

    /// The exchange's server has refused a moment ago: it is not asked again so soon.
    fn refused_by_the_exchange(&self, need: TokenRequirement) -> Option<Failure> {
        let settings = self.settings();
        settings
            .exchange
            .as_ref()
            .filter(|_| need.renew != Renew::Forced)?;
        self.reader.state.still_refused(&settings.token_digest)
    }

    /// Sends the refresh token.
    fn redeem(
        &mut self,
        record: Record,
        refresh_token: &Secret,
        renewal: &dyn Renewal,
        patient: bool,
    ) -> Result<IssuedToken> {
        let mut interrupted = false;
        // With a valid token in hand the caller does not wait for a network that may come back.
        let answer = renewal.renew(&record, refresh_token, patient, &mut || {
            self.check_lock()?;
            interrupted = self.mark_in_flight(refresh_token)?;
            Ok(())
        });
        match answer {
            Ok(answer) => self.take_over(record, answer, renewal),
            Err(NoAnswer::Failed(failure)) => Err(failure),
            Err(NoAnswer::EndpointMoved) => Err(self.conclude(
                &AttemptEnd::EndpointMoved,
                "the provider's token endpoint has changed since the sign-in",
            )),
            Err(NoAnswer::Refused {
                end,
                said,
                was_repeated,
            }) => self.refused(refresh_token, &end, &said, interrupted || was_repeated),
        }
    }

    /// The token endpoint said no. Before that ends a session, it is looked whether another process was faster.
    fn refused(
        &mut self,
        refresh_token: &Secret,
        end: &AttemptEnd,
        said: &str,
        an_answer_was_lost: bool,
    ) -> Result<IssuedToken> {
        let verdict = end.verdict();
        if verdict.fate != Fate::Ends {
            let what = match verdict.id {
                Id::SignInRequired => "the provider asks for a sign-in",
                Id::SignInFailed => "the provider refused",
                Id::Unavailable => "the provider cannot answer now",
                _ => "the provider does not accept this configuration",
            };
            return Err(self.conclude(end, &format!("{what}: {said}")));
        }
        // The caller's time may be over; what the provider has decided is noted all the same. A store that cannot be
        // read now may hold another process's newer session: nothing is ended then.
        let entry = self.look_until(self.budget.finish_by)?;
        let newer = entry.session.filter(|now| {
            now.refresh_token
                .as_ref()
                .is_some_and(|token| token != refresh_token)
        });
        if let Some(now) = newer {
            // A process with another lock (another home folder) was faster: its session is the one now.
            return now
                .token_for(self.settings())
                .filter(Reader::is_valid)
                .ok_or_else(|| {
                    Failure::new(
                        Id::Unavailable,
                        "another gatepass has just renewed this session",
                        "run it again in a moment",
                    )
                });
        }
        let what = if an_answer_was_lost {
            format!(
                "an earlier refresh used up the session at the provider, and its answer was lost or could not be stored: {said}"
            )
        } else {
            format!("the provider has ended the session: {said}")
        };
        Err(self.conclude(end, &what))
    }

    /// Notes what the end of an attempt means, and says it.
    fn conclude(&mut self, end: &AttemptEnd, what: &str) -> Failure {
        let verdict = end.verdict();
        let failure = end.failure(what);
        match verdict.next_try {
            NextTry::AfterBackOff => self.pause(&failure),
            // What was paused for is not what is wrong now.
            NextTry::NextSignIn => self.reader.state.back_off = None,
            NextTry::NextCall => {}
        }
        let back_off = self.reader.state.back_off.as_ref();
        let next = match (verdict.next_try, back_off) {
            (NextTry::NextSignIn, _) => "next sign-in".to_owned(),
            (NextTry::AfterBackOff, Some(back_off)) => crate::text::moment(back_off.until()),
            _ => "next call".to_owned(),
        };
        let held = audit::HeldSession {
            since: back_off.map_or_else(clock::now, |back_off| back_off.since),
            next: &next,
        };
        match verdict.fate {
            Fate::Ends => {
                self.reader.state.end(what);
                audit::note(self.settings(), audit::Event::Ended(what));
            }
            Fate::Unproven => audit::note(self.settings(), audit::Event::Unproven(&failure, held)),
            Fate::Kept if verdict.next_try == NextTry::AfterBackOff => {
                audit::note(self.settings(), audit::Event::NotRenewed(&failure, held));
            }
            Fate::Kept => {}
        }
        failure
    }

    /// Starts or prolongs the back-off.
    fn pause(&mut self, failure: &Failure) {
        let state = &mut self.reader.state;
        let configuration = self.reader.settings.attempt_digest();
        let pause = BackOff::after(state.back_off.as_ref(), failure, configuration);
        log::warn!(
            "{}; tried again at {}",
            failure.what,
            crate::text::moment(pause.until())
        );
        state.back_off = Some(pause);
    }

    /// Takes over what the provider gave: first the refresh token, then what passed the checks.
    fn take_over(
        &mut self,
        record: Record,
        mut answer: JudgedAnswer,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        log::info!(
            "refreshed; a new refresh token came: {}",
            answer.refresh_token.is_some()
        );
        // The answer is here: whatever fails from now on, it was not lost on the way.
        let mark = self.reader.state.in_flight.take();
        let before = record.refresh_token.clone();
        let rotated = Record {
            refresh_token: answer.refresh_token.clone().or_else(|| before.clone()),
            rotations: record.rotations.saturating_add(1),
            refreshed_at: clock::now(),
            ends_at: answer
                .refresh_expires_in
                .filter(|seconds| *seconds > 0)
                .map(|seconds| answer.times.asked_at().saturating_add(seconds))
                .or(record.ends_at),
            ..record
        };
        self.note_end(&rotated, answer.refresh_expires_in.is_some());
        let result = self.by_judgement(rotated, before, &mut answer, renewal);
        if self.is_unstored {
            self.reader.state.in_flight = mark;
        }
        result
    }

    fn by_judgement(
        &mut self,
        rotated: Record,
        before: Option<Secret>,
        answer: &mut JudgedAnswer,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        if let Judgement::Failed { end, what } = &answer.judgement
            && *end != AttemptEnd::AnotherPerson
        {
            let (end, what) = (end.clone(), what.clone());
            // Before anything else is asked: the new refresh token, and that nothing of this answer is proved.
            self.keep_rotated(&self.marked(&rotated, &end, &what))?;
            if end == AttemptEnd::UnknownSigner {
                log::info!("{what}; looking at what the provider says of itself now");
                renewal.judge_again(&rotated, answer);
            }
        }
        let judgement = std::mem::replace(&mut answer.judgement, Judgement::Passed(None));
        match (judgement, answer.grant.as_ref()) {
            (Judgement::Passed(claims), Some(grant)) => {
                self.accept(rotated, grant, claims.as_ref(), answer.times, renewal)
            }
            (Judgement::Passed(_), None) => Err(Failure::internal("nothing was granted")),
            (Judgement::NotAllowed(claims, failure), _) => {
                let mut record = self.with_claims(rotated, claims.as_ref());
                // Also where the store does not take it away.
                self.reader.state.withdrawn = record.token.as_ref().map(IssuedToken::value_digest);
                record.token = None;
                record.exchanged_from = None;
                self.keep_rotated(&record)?;
                self.reader.cache.clear();
                Err(self.conclude(&AttemptEnd::AccountNotAllowed, &failure.what))
            }
            (Judgement::Failed { end, what }, _) => {
                if end == AttemptEnd::AnotherPerson {
                    // The refresh token that came is another person's: it is not kept, and nothing is printed.
                    let record = Record {
                        refresh_token: before,
                        token: None,
                        exchanged_from: None,
                        ..rotated
                    };
                    if let Kept::Refused(error) = self.keep(&record, WhoWaits::Caller)? {
                        log::warn!("{}", Failure::from(error).what);
                    }
                    self.unpark();
                    self.reader.cache.clear();
                }
                Err(self.conclude(&end, &what))
            }
        }
    }

    /// The record with the mark that its last answer is not proved. A plain OAuth server's answers prove nothing
    /// anyway.
    fn marked(&self, record: &Record, end: &AttemptEnd, what: &str) -> Record {
        if self.settings().kind != Kind::Oidc {
            return record.clone();
        }
        let since = record.unproven.as_ref().map(|unproven| unproven.since);
        Record {
            unproven: Some(Unproven {
                since: since.unwrap_or_else(clock::now),
                why: what.to_owned(),
                proof: match end {
                    AttemptEnd::NoProof => Proof::NextSignIn,
                    _ => Proof::NextIdToken,
                },
            }),
            ..record.clone()
        }
    }

    /// The record with the claims of an ID token that passed every check, which proves it.
    fn with_claims(&self, mut record: Record, validated: Option<&Claims>) -> Record {
        if let Some(claims) = validated {
            let mut kept = issue::kept_claims(claims, self.settings());
            // What the next tokens are compared with is the sign-in's, never a later one's.
            for name in id_token::ORIGINAL {
                kept.remove(name);
                kept.extend(record.claims.remove_entry(name));
            }
            record.claims = kept;
            record.unproven = None;
        }
        record
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
            sliding_expiry: match before {
                Some(before) if was_told => Some(at > before.at.saturating_add(SLACK)),
                None if was_told => None,
                _ => Some(false),
            },
        });
    }

    /// Stores the checked result, then makes it known.
    fn accept(
        &mut self,
        record: Record,
        grant: &Grant,
        validated: Option<&Claims>,
        times: Times,
        renewal: &dyn Renewal,
    ) -> Result<IssuedToken> {
        let mut record = self.with_claims(record, validated);
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
        let context = IssueContext {
            settings: self.settings(),
            claims: &record.claims,
            secret_headers: &record.secret_headers,
            times,
        };
        match context.of_grant(grant, validated) {
            Ok(Some(token)) => record.token = Some(token),
            // No ID token came: the stored one is printed while it is valid.
            Ok(None) => record.token = record.token.filter(Reader::is_valid),
            // It is the provider's word, and no gateway could take it: the earlier token stays.
            Err(failure) => {
                self.keep_rotated(&record)?;
                self.pause(&failure);
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
        // A caller that wants another token than the last one wants one that is exchanged for a new one.
        if need.renew != Renew::IfNeeded && can_renew {
            return None;
        }
        match self.exchange(record.clone(), renewal) {
            // The gateway's issuer may have learnt that the provider's token is not valid any more.
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
        let context = IssueContext {
            settings: self.settings(),
            claims: &record.claims,
            secret_headers: &record.secret_headers,
            times: Times {
                asked_at_ms,
                obtained_at_ms: clock::now_millis(),
            },
        };
        let token = context.of_exchange(exchanged)?;
        record.token = Some(token.clone());
        // Nothing was rotated by this: what the store has is still good if it cannot be written now, and if an
        // earlier write has failed, this one has made up for it.
        match self.keep(&record, WhoWaits::Caller)? {
            Kept::Stored => self.unpark(),
            Kept::Refused(error) => log::warn!(
                "the gateway's token could not be stored: {}",
                Failure::from(error).what
            ),
            Kept::Overtaken => return Err(overtaken()),
        }
        self.publish(&token);
        Ok(token)
    }

    /// Stores a rotated refresh token. Where the store does not take it, it is parked; where there is no place for
    /// that, the token of this run is still worth printing, and what may be lost is told. Nothing ends by it.
    fn keep_rotated(&mut self, record: &Record) -> Result<()> {
        match self.keep(record, WhoWaits::Caller)? {
            Kept::Stored => {
                self.is_unstored = false;
                self.unpark();
                Ok(())
            }
            Kept::Overtaken => Err(overtaken()),
            Kept::Refused(error) => {
                self.park(record, error);
                self.write_state()
            }
        }
    }

    fn park(&mut self, record: &Record, error: StoreError) {
        let why = Failure::from(error).what;
        let place = self.reader.parking.as_ref();
        let state = &mut self.reader.state;
        match place.and_then(|place| Some((place.write(record)?, place.describe()))) {
            Some((digest, place)) => {
                log::warn!(
                    "the renewed session could not be stored ({why}); it waits in the {place}"
                );
                let since = state.parked.as_ref().map(|parked| parked.since);
                state.parked = Some(Parked {
                    since: since.unwrap_or_else(clock::now),
                    tried_at: clock::now(),
                    digest,
                    why,
                });
                self.is_unstored = false;
            }
            None => {
                let warning = format!(
                    "the renewed session could not be stored ({why}); the next sign-in may be needed soon"
                );
                log::warn!("{warning}");
                state.warn(warning);
                // An older parked session is used up by now.
                self.unpark();
                self.is_unstored = true;
            }
        }
    }

    /// Stores a parked session, now that the store may take it.
    fn store_what_is_parked(&mut self, record: &Record) -> Result<()> {
        match self.keep_parked(record)? {
            Kept::Stored => {
                log::info!("the keychain has taken the parked session");
                self.unpark();
                self.write_state()
            }
            Kept::Refused(_) => {
                if let Some(parked) = &mut self.reader.state.parked {
                    parked.tried_at = clock::now();
                }
                self.write_state()
            }
            Kept::Overtaken => Err(overtaken()),
        }
    }

    /// One try: callers wait, and the next refresh comes anyway.
    fn keep_parked(&mut self, record: &Record) -> Result<Kept> {
        let bytes = record.to_bytes()?;
        Ok(match self.keep_once(record, &bytes, WhoWaits::Caller) {
            Ok(true) => {
                self.held = Held::Record(record.identity());
                Kept::Stored
            }
            Ok(false) => Kept::Overtaken,
            Err(error) => Kept::Refused(error),
        })
    }

    /// Whether this failure is the end of a session of which the user has not been told. Noted, so that it is told
    /// once however many calls find out.
    pub fn end_is_news(&mut self, failure: &Failure) -> bool {
        let state = &mut self.reader.state;
        let has_ended = match state.session {
            Session::Ended { .. } => true,
            // A session that cannot be renewed ends with its token, and one may be kept that needs the user.
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
}
