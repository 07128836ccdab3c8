//! How things stand: who is signed in, where, until when. Never a secret.

use std::time::Duration;

use serde::Serialize;

use crate::caller::Deadline;
use crate::clock;
use crate::config::profile::ProfileName;
use crate::config::settings::{Flow, Kind, Settings, TokenChoice};
use crate::error::{Failure, Result};
use crate::reader::{Reader, Renew, sign_in_required, without_session};
use crate::session::active_sign_in::Progress;
use crate::session::last_printed;
use crate::session::lock::{Lock, Purpose};
use crate::session::record::{Proof, Record, SignedInBy};
use crate::session::state::{Ended, Session, State, Warning};
use crate::session::verdict::AttemptEnd;
use crate::store::{self, Prompting};
use crate::text;

/// Version of the JSON form. It grows only if a member changes its meaning or goes away.
const FORMAT: u32 = 1;

/// Longest wait for the keychain.
const KEYCHAIN: Duration = Duration::from_secs(10);

/// The answer, in the form of `gatepass status --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    format: u32,
    /// The profile.
    pub profile: String,
    /// Whether a call would get a token without a sign-in.
    pub signed_in: bool,
    /// Why not, if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The failure that a silent call would give.
    #[serde(skip)]
    pub failure: Option<Failure>,
    /// Why no refresh token is sent at present, although there is a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// The renewed session waits for the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<ParkedStatus>,
    /// The name that people know the account by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whose sign-in it is.
    pub organisation: String,
    /// The issuer.
    pub issuer: String,
    /// The client.
    pub client_id: String,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_url: Option<String>,
    /// The token to print.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
    /// The session behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStatus>,
    /// How people sign in, as configured: `auto`, `browser` or `device`.
    pub flow: &'static str,
    /// How the last attempt to refresh ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refresh: Option<RefreshStatus>,
    /// When the user will have to sign in again.
    pub next_sign_in: NextSignIn,
    /// The sign-in that is open, or until when hosts may open none.
    pub sign_in: SignInStatus,
    /// Where the session is kept.
    pub store: &'static str,
    /// Where the token to print is cached.
    pub cache: &'static str,
    /// What the user should know.
    pub warnings: Vec<Warning>,
    /// Every configured profile, where several are and none was asked for by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Row>,
}

/// How the last attempt to refresh ended.
#[derive(Clone, Debug, Serialize)]
pub struct RefreshStatus {
    /// When (RFC 3339, UTC).
    pub at: String,
    /// The id of the failure, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// What happened then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// Why a session that is kept is not renewed at present.
#[derive(Clone, Debug, Serialize)]
pub struct HeldBack {
    /// The id of the failure that a call gets once no valid token is left.
    pub error: &'static str,
    /// What was wrong.
    pub what: String,
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// When it is tried again (RFC 3339, UTC), by the next call if that moment is over; missing where only a sign-in
    /// helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
    /// Whether the next call tries it.
    #[serde(skip)]
    is_due: bool,
    /// What a person can do.
    #[serde(skip)]
    pub remedy: String,
}

impl HeldBack {
    /// What is wrong with a session that is kept, since when, and what happens next.
    pub fn of(reader: &Reader<'_>, record: Option<&Record>) -> Option<Self> {
        let unproven = record.and_then(|record| record.unproven.as_ref());
        let back_off = reader.state.back_off.as_ref();
        let in_force = reader.held_back(record, Renew::IfNeeded);
        let needs_sign_in = unproven.is_some_and(|one| one.proof == Proof::NextSignIn);
        let is_due = in_force.is_none();
        let failure = match (in_force, back_off, unproven) {
            (_, Some(back_off), _) if !needs_sign_in => back_off.reason(),
            (Some(failure), _, _) => failure,
            (None, _, Some(unproven)) => AttemptEnd::Untrusted.failure(&unproven.why),
            (None, _, None) => return None,
        };
        let since = unproven.map(|unproven| unproven.since);
        let now = clock::now();
        let next_try = match (needs_sign_in, back_off) {
            (true, _) => None,
            (false, Some(back_off)) if !is_due => Some(back_off.until()),
            (false, _) => Some(now),
        };
        Some(Self {
            error: failure.id.as_str(),
            what: failure.what,
            since: text::moment(
                since
                    .or(back_off.map(|back_off| back_off.since))
                    .unwrap_or(now),
            ),
            next_try: next_try.map(text::moment),
            is_due,
            remedy: failure.remedy,
        })
    }

    /// The same in a sentence.
    pub fn in_words(&self) -> String {
        let next = match &self.next_try {
            None => "only a sign-in helps".to_owned(),
            Some(_) if self.is_due => "tried again by the next call".to_owned(),
            Some(at) => format!("tried again at {at}"),
        };
        format!("since {}: {}; {next}", self.since, self.what)
    }
}

/// A renewed session that the store did not take.
#[derive(Clone, Debug, Serialize)]
pub struct ParkedStatus {
    /// Since when (RFC 3339, UTC).
    pub since: String,
    /// Why the store did not take it.
    pub why: String,
}

impl ParkedStatus {
    /// Whether a renewed session waits, and why.
    pub fn of(state: &State) -> Option<Self> {
        state.parked.as_ref().map(|parked| Self {
            since: text::moment(parked.since),
            why: parked.why.clone(),
        })
    }

    /// The same in a sentence; `store` is the store's name for people.
    pub fn in_words(&self, store: &str) -> String {
        format!(
            "the renewed session waits for the {store} since {}: {}",
            self.since, self.why
        )
    }
}

/// When a person will have to sign in again.
#[derive(Clone, Debug, Serialize)]
pub struct NextSignIn {
    /// When (RFC 3339, UTC), if that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// From when on an interactive call signs in early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_from: Option<String>,
    /// Why then.
    pub why: &'static str,
}

/// One profile among several.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub profile: String,
    /// Whether a call would get a token without a sign-in.
    pub signed_in: bool,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When the token ends (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<String>,
    /// Whose sign-in it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Why it cannot be used, or why nobody is signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What `gatepass status --json` says where nothing could be looked at: the members that tell this, no others.
#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    format: u32,
    /// The profile.
    pub profile: String,
    /// Always false.
    pub signed_in: bool,
    /// What prevents a call.
    pub why: String,
    /// The id of that failure.
    pub error: &'static str,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// Every configured profile, where several are and none was asked for by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Row>,
}

impl Unknown {
    /// What is known of `profile` where looking failed.
    pub fn new(profile: &ProfileName, failure: &Failure, profiles: Vec<Row>) -> Self {
        Self {
            format: FORMAT,
            profile: profile.to_string(),
            signed_in: false,
            why: failure.what.clone(),
            error: failure.id.as_str(),
            warnings: Vec::new(),
            profiles,
        }
    }
}

impl Row {
    /// What a table says of a profile.
    pub fn of(profile: &ProfileName, status: &Result<Status>) -> Self {
        match status {
            Ok(status) => Self {
                profile: profile.to_string(),
                signed_in: status.signed_in,
                account: status.account.clone(),
                token_expires_at: status.token.as_ref().map(|token| token.expires_at.clone()),
                organisation: Some(status.organisation.clone()),
                why: status.why.clone(),
            },
            Err(failure) => Self {
                profile: profile.to_string(),
                signed_in: false,
                account: None,
                token_expires_at: None,
                organisation: None,
                why: Some(failure.what.clone()),
            },
        }
    }
}

/// The token to print.
#[derive(Clone, Debug, Serialize)]
pub struct TokenStatus {
    /// `access_token` or `id_token`.
    pub kind: &'static str,
    /// When it ends (RFC 3339, UTC).
    pub expires_at: String,
    /// Seconds that are left; 0 if it has ended.
    pub seconds_left: u64,
}

/// The one open sign-in.
#[derive(Clone, Debug, Serialize)]
pub struct SignInStatus {
    /// Whether one is open now.
    pub open: bool,
    /// Until when hosts' calls open none, after a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<String>,
}

/// The session behind the token.
#[derive(Clone, Debug, Serialize)]
pub struct SessionStatus {
    /// How the user signed in.
    pub flow: SignedInBy,
    /// When (RFC 3339, UTC).
    pub signed_in_at: String,
    /// When the provider last issued something.
    pub refreshed_at: String,
    /// Whether it renews itself.
    pub renewable: bool,
    /// When it ends, if the provider or the organisation says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
}

/// Looks without changing anything.
///
/// # Errors
/// Those of [`Reader::open`], and `keychain` where the store does not give the session and no call would print a token
/// without it.
pub fn status(settings: &Settings) -> Result<Status> {
    let reader = Reader::open(settings)?;
    let now = clock::now_millis();
    let cached = reader.cached().filter(Reader::is_valid);
    let mut warnings = warnings(&reader.state, last_printed::refused_in_vain(&reader.files));
    let (record, is_silent) = if reader.state.session == Session::None {
        (None, false)
    } else {
        let store = store::open(settings, Prompting::Forbidden);
        match reader.stored(&*store, Deadline::after(KEYCHAIN)) {
            Ok(record) => (record, false),
            // A call would print the cached token without asking the store.
            Err(failure) if cached.is_some() => {
                warnings.push(Warning {
                    at: clock::now(),
                    text: failure.what,
                });
                (None, true)
            }
            Err(failure) => return Err(failure),
        }
    };
    let unusable = unusable(&reader, record.as_ref(), now);
    let usable = unusable.is_none();
    let progress = Progress::read(&reader.files);
    Ok(Status {
        format: FORMAT,
        profile: settings.profile.to_string(),
        signed_in: usable,
        why: unusable.as_ref().map(|failure| failure.what.clone()),
        failure: unusable,
        held_back: HeldBack::of(&reader, record.as_ref()),
        parked: ParkedStatus::of(&reader.state),
        account: record
            .as_ref()
            .filter(|record| record.signed_in_by != SignedInBy::Key)
            .map(|record| text::from_server(record.account())),
        subject: record.as_ref().map(|r| text::from_server(&r.subject)),
        organisation: settings.display_name.clone(),
        issuer: settings.issuer.clone(),
        client_id: settings.client_id.clone(),
        gateway_url: settings.gateway_url.clone(),
        token: record
            .as_ref()
            .filter(|record| record.signed_in_by != SignedInBy::Key)
            .and_then(|record| record.token_for(settings))
            .or(cached.filter(|_| settings.kind != Kind::Key))
            .map(|token| TokenStatus {
                kind: match settings.token {
                    TokenChoice::AccessToken => "access_token",
                    TokenChoice::IdToken => "id_token",
                },
                expires_at: text::moment(token.life.expires_at()),
                seconds_left: token.life.left(now),
            }),
        session: record.as_ref().map(|record| SessionStatus {
            flow: record.signed_in_by,
            signed_in_at: text::moment(record.signed_in_at),
            refreshed_at: text::moment(record.refreshed_at),
            renewable: record.refresh_token.is_some(),
            ends_at: record.ends_at.map(text::moment),
        }),
        flow: match settings.flow {
            Flow::Auto => "auto",
            Flow::Browser => "browser",
            Flow::Device => "device",
        },
        last_refresh: reader.state.refreshed.as_ref().map(last_refresh),
        next_sign_in: match is_silent {
            true => NextSignIn {
                at: reader.state.ends.map(|ends| text::moment(ends.at)),
                early_from: None,
                why: "the store does not say",
            },
            false => next_sign_in(record.as_ref().filter(|_| usable), &reader.state, settings),
        },
        sign_in: SignInStatus {
            open: Lock::is_held(&reader.files, Purpose::SignIn)?,
            closed_until: progress
                .back_off()
                .map(|_| text::moment(progress.closed_until)),
        },
        store: store::describe(settings.store),
        cache: reader.cache.describe(),
        warnings,
        profiles: Vec::new(),
    })
}

fn last_refresh(ended: &Ended) -> RefreshStatus {
    let failure = ended.failure.clone().map(Failure::from);
    RefreshStatus {
        at: text::moment(ended.at_ms / 1000),
        error: failure.as_ref().map(|failure| failure.id.as_str()),
        what: failure.map(|failure| failure.what),
    }
}

/// When the user will have to sign in again, as far as that can be known.
fn next_sign_in(record: Option<&Record>, state: &State, settings: &Settings) -> NextSignIn {
    let plain = |at: Option<u64>, why| NextSignIn {
        at: at.map(text::moment),
        early_from: None,
        why,
    };
    let Some(record) = record else {
        return plain(None, "nobody is signed in");
    };
    if settings.kind == Kind::Key {
        return plain(None, "the key has no end that gatepass knows of");
    }
    if state.over(state.generation).is_some() {
        return plain(
            record
                .token_for(settings)
                .map(|token| token.life.expires_at()),
            "the provider has ended the session, which its last token outlives until then",
        );
    }
    match (&record.refresh_token, record.ends_at) {
        (None, _) => plain(
            record.token.as_ref().map(|token| token.life.expires_at()),
            "the provider issued no refresh token: the session ends with the token",
        ),
        (Some(_), Some(end)) => NextSignIn {
            early_from: end
                .checked_sub(settings.session_renew_before)
                .filter(|_| settings.session_renew_before > 0)
                .map(text::moment),
            ..plain(Some(end), "the session ends then")
        },
        (Some(_), None) => plain(None, "whenever the provider ends the session"),
    }
}

/// What was noted, that the gateway refuses fresh tokens, and that a session has ended while its last token is still
/// good.
fn warnings(state: &State, refused_in_vain: Option<Warning>) -> Vec<Warning> {
    let mut warnings = state.warnings.clone();
    warnings.extend(refused_in_vain);
    if let Some(why) = state.over(state.generation) {
        warnings.push(Warning {
            at: clock::now(),
            text: format!("{why}; sign in again before the token ends"),
        });
    }
    warnings
}

/// Why a silent call would print nothing, if it would not.
fn unusable(reader: &Reader<'_>, record: Option<&Record>, now: u64) -> Option<Failure> {
    if let Err(switched_off) = reader.settings.check_enabled() {
        return Some(switched_off);
    }
    if reader
        .cached()
        .is_some_and(|token| Reader::is_valid(&token))
    {
        return None;
    }
    if let Some(failure) = without_session(&reader.state) {
        return Some(failure);
    }
    let Some(record) = record else {
        return Some(sign_in_required("nobody is signed in"));
    };
    if let Some(why) = reader.unusable(record) {
        return Some(sign_in_required(&why));
    }
    let valid = record
        .token_for(reader.settings)
        .or_else(|| reader.cached())
        .is_some_and(|token| token.life.left(now) > 0);
    if valid {
        return None;
    }
    if let Some(failure) = reader.held_back(Some(record), Renew::IfNeeded) {
        return Some(failure);
    }
    if record.refresh_token.is_some() {
        return None;
    }
    Some(sign_in_required(
        "the token has expired and the provider issued no refresh token",
    ))
}
