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
use crate::oidc::id_token::{self, Claims, Rejection, ValidationContext};
use crate::oidc::tokens::{self, Grant, NotRefreshed, NotUnderstood};
use crate::oidc::transport::http::Http;
use crate::reader::sign_in_required;
use crate::secret::Secret;
use crate::session::record::Record;
use crate::session::state::StateFiles;
use crate::session::verdict::AttemptEnd;

/// Least time that is left to the caller when connecting is given up.
const RESERVE: Duration = Duration::from_secs(2);

/// Longest time for which an unreachable provider is tried, however long the caller would wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest wait for the answer to a refresh. Providers forgive a repeated refresh token for 30 seconds and longer: the
/// next call's attempt still falls into that.
const ANSWER: Duration = Duration::from_secs(20);

/// What the provider answered to a refresh token, and what is to be thought of it.
#[derive(Debug)]
pub struct JudgedAnswer {
    /// The new refresh token, if one came. Then the old one is used up.
    pub(super) refresh_token: Option<Secret>,
    /// Seconds that it lives, if the provider says so.
    pub(super) refresh_expires_in: Option<u64>,
    /// The answer's `Date`, in seconds since 1970.
    pub(super) date: Option<u64>,
    /// What was granted, if it could be understood.
    pub(super) grant: Option<Grant>,
    pub(super) times: Times,
    /// By the metadata and keys at hand.
    pub(super) judgement: Judgement,
}

/// What is thought of an answer.
#[derive(Debug)]
pub enum Judgement {
    /// It passed every check. The claims are those of its ID token, if it has one.
    Passed(Option<Claims>),
    /// Its ID token passed every check, and the organisation does not allow the account.
    NotAllowed(Option<Claims>, Failure),
    /// It did not pass.
    Failed {
        /// What that means.
        end: AttemptEnd,
        /// What was wrong, in words for people.
        what: String,
    },
}

/// Why there is no answer to judge.
#[derive(Debug)]
pub enum NoAnswer {
    /// The token endpoint said no.
    Refused {
        /// What that means.
        end: AttemptEnd,
        /// What it said, made safe to show.
        said: String,
        /// Whether the answer to a first sending was lost.
        was_repeated: bool,
    },
    /// The provider's token endpoint is not the one that issued this refresh token.
    EndpointMoved,
    /// Anything else. Nothing is known about the session.
    Failed(Failure),
}

impl From<Failure> for NoAnswer {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What can renew a session: the provider, and in tests a model of one.
pub trait Renewal {
    /// Sends the record's refresh token and judges the answer without further requests. `before_sending` is called
    /// when nothing but the request is left to do. `patient` says whether an unreachable provider is worth waiting for.
    fn renew(
        &self,
        record: &Record,
        refresh_token: &Secret,
        patient: bool,
        before_sending: &mut dyn FnMut() -> Result<()>,
    ) -> Result<JudgedAnswer, NoAnswer>;

    /// Judges the same answer once more, by what the provider says of itself now.
    fn judge_again(&self, record: &Record, answer: &mut JudgedAnswer);

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
    /// When the attempt began, in milliseconds since 1970. The provider's documents are fetched once since then.
    pub began_ms: u64,
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
    ) -> Result<JudgedAnswer, NoAnswer> {
        let connect_until = if patient {
            self.budget.answer_by.less(RESERVE).at_most(PATIENCE)
        } else {
            Deadline::after(Duration::ZERO)
        };
        let http = client_auth::provider_http(self.settings, self.budget.finish_by)?
            .connecting_until(connect_until)
            .answering_within(ANSWER);
        let mut provider = Provider::kept_or_fetch(&http, self.settings, self.files)?;
        if !issued_by(&provider, record) {
            provider = Provider::fetched_since(self.began_ms, &http, self.settings, self.files)?;
        }
        // The refresh token belongs to the endpoint that issued it and is sent nowhere else.
        if !issued_by(&provider, record) {
            return Err(NoAnswer::EndpointMoved);
        }
        let settings = self.settings.as_client_of(record);
        let prover = self.prover(record)?;
        let client = client::client(&settings, &provider.metadata)?.bound_to(prover);
        before_sending()?;
        let asked_at_ms = clock::now_millis();
        let answer =
            tokens::refresh(&http, &client, &settings, refresh_token).map_err(|why| match why {
                NotRefreshed::Refused {
                    code,
                    suberror,
                    said,
                    was_repeated,
                } => NoAnswer::Refused {
                    end: AttemptEnd::Refused { code, suberror },
                    said,
                    was_repeated,
                },
                NotRefreshed::NoAnswer(failure) => NoAnswer::Failed(failure),
            })?;
        let times = Times {
            asked_at_ms,
            obtained_at_ms: clock::now_millis(),
        };
        let (grant, judgement) = match answer.grant {
            Ok(grant) => {
                let judgement = self.judge(&grant, answer.date, times, record, &provider);
                (Some(grant), judgement)
            }
            Err(NotUnderstood::Malformed(what)) => (None, failed(AttemptEnd::Untrusted, what)),
            Err(NotUnderstood::Unavailable(failure)) => {
                (None, failed(AttemptEnd::Unavailable, failure.what))
            }
        };
        Ok(JudgedAnswer {
            refresh_token: answer.refresh_token,
            refresh_expires_in: answer.refresh_expires_in,
            date: answer.date,
            grant,
            times,
            judgement,
        })
    }

    fn judge_again(&self, record: &Record, answer: &mut JudgedAnswer) {
        let Some(grant) = &answer.grant else {
            return;
        };
        let newer = || -> Result<Provider> {
            let http = client_auth::provider_http(self.settings, self.budget.finish_by)?
                .answering_within(ANSWER);
            Provider::fetched_since(self.began_ms, &http, self.settings, self.files)
        };
        answer.judgement = match newer() {
            Ok(provider) => self.judge(grant, answer.date, answer.times, record, &provider),
            Err(failure) => failed(AttemptEnd::Unavailable, failure.what),
        };
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

fn failed(end: AttemptEnd, what: impl Into<String>) -> Judgement {
    let what = what.into();
    Judgement::Failed { end, what }
}

fn issued_by(provider: &Provider, record: &Record) -> bool {
    provider.metadata.token_endpoint.as_str() == record.token_endpoint
}

impl AtProvider<'_> {
    /// What proves that the refresh token is ours, if it is bound to a key. A configuration that insists on a key
    /// does not take a session without one.
    fn prover(&self, record: &Record) -> Result<Option<Prover>, NoAnswer> {
        match &record.bound_to {
            None if self.settings.dpop == Usage::Always => Err(NoAnswer::Failed(sign_in_required(
                "this session is not bound to a key, which `dpop` asks for",
            ))),
            None => Ok(None),
            Some(key) => Prover::stored(key).map(Some).ok_or_else(|| {
                sign_in_required("the key that this session is bound to is damaged").into()
            }),
        }
    }

    /// Judges an answer by this metadata and these keys, without network.
    fn judge(
        &self,
        grant: &Grant,
        date: Option<u64>,
        times: Times,
        record: &Record,
        provider: &Provider,
    ) -> Judgement {
        // A plain OAuth server issues no ID token; one that comes all the same is not believed.
        let id_token = grant
            .id_token
            .as_ref()
            .filter(|_| self.settings.kind == Kind::Oidc);
        let Some(id_token) = id_token else {
            if let Some(unproven) = &record.unproven {
                let what = format!(
                    "the provider renews no ID token, and an earlier answer was refused: {}",
                    unproven.why
                );
                return failed(AttemptEnd::NoProof, what);
            }
            // OIDC Core section 12.2 allows an answer without one. The organisation may have narrowed down who is
            // allowed since the sign-in.
            return match issue::check_account(&Claims(record.claims.clone()), self.settings) {
                Ok(()) => Judgement::Passed(None),
                Err(failure) => Judgement::NotAllowed(None, failure),
            };
        };
        // An older token could be one from before the answer that was refused.
        let asked_at = record.unproven.as_ref().map(|_| times.asked_at());
        let judge = |now: u64, not_before: Option<u64>| {
            let context = ValidationContext::Refresh {
                subject: &record.subject,
                original: &record.claims,
                not_before,
            };
            let access_token = &grant.access_token;
            id_token::judge(
                id_token,
                access_token,
                &context,
                provider,
                self.settings,
                now,
            )
        };
        let now = clock::now();
        match judge(now, asked_at) {
            Ok(claims) => match issue::check_account(&claims, self.settings) {
                Ok(()) => Judgement::Passed(Some(claims)),
                Err(failure) => Judgement::NotAllowed(Some(claims), failure),
            },
            Err(Rejection::Times(what)) => {
                let took = times.obtained_at_ms.saturating_sub(times.asked_at_ms) / 1000;
                let at_provider =
                    |date: u64| judge(date, asked_at.map(|_| date.saturating_sub(took)));
                match date.filter(|date| at_provider(*date).is_ok()) {
                    Some(date) => failed(AttemptEnd::ClockIsWrong, clock_is_wrong(date, now)),
                    None => failed(AttemptEnd::Untrusted, refused(&what)),
                }
            }
            Err(Rejection::Signer(what)) => failed(AttemptEnd::UnknownSigner, refused(&what)),
            Err(Rejection::AnotherPerson(what)) => {
                failed(AttemptEnd::AnotherPerson, refused(&what))
            }
            Err(Rejection::Failed(what)) => failed(AttemptEnd::Untrusted, refused(&what)),
        }
    }
}

fn refused(what: &str) -> String {
    format!("the ID token was refused: {what}")
}

fn clock_is_wrong(theirs: u64, ours: u64) -> String {
    let (difference, how) = if theirs > ours {
        (theirs - ours, "slow")
    } else {
        (ours - theirs, "fast")
    };
    format!(
        "this machine's clock is {} {how}: the provider's token cannot be checked",
        crate::text::duration(difference)
    )
}
