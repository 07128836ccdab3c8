//! The keychain, the session in it, and the token of that session.

use std::time::Duration;

use serde_json::Value as Json;

use super::jwt::UnverifiedClaims;
use super::{Chain, CheckResult};
use crate::caller::Deadline;
use crate::clock;
use crate::config::settings::{Kind, Settings, TokenChoice};
use crate::error::{Failure, Id, Result};
use crate::reader::Reader;
use crate::reader::sign_in_required;
use crate::secret::Secret;
use crate::session::active_sign_in::Progress;
use crate::session::last_printed::refused_in_vain;
use crate::session::record::{IssuedToken, Record};
use crate::session::state::{Session, StateFiles};
use crate::store::probe::probe;
use crate::store::{self, Prompting, SecretStore};
use crate::text;
use crate::usecase::status::{HeldBack, ParkedStatus};

/// Longest wait for one answer of the keychain.
const KEYCHAIN: Duration = Duration::from_secs(10);

/// Least size of the probe, in bytes: providers issue tokens of this size, and some keychains hold less.
const PROBE_SIZE: usize = 16 * 1024;

/// Claude Desktop's recommended TTL, how far it looks ahead, and its least TTL, in seconds.
const HOST_TTL: u64 = 300;
const LOOK_AHEAD: u64 = 120;
const LEAST_TTL: u64 = 121;

/// Looks at everything about the session and gives the token that a gateway can be shown now.
pub(super) fn check(settings: &Settings, chain: &mut Chain<'_>) -> Option<IssuedToken> {
    let store = store::open(settings, Prompting::Forbidden);
    let reader = reader(settings);
    let known = reader.as_ref().ok().and_then(Option::as_ref);
    let stored = read(settings, known, &*store);
    let size = match &stored {
        Ok(Stored {
            session: Some(record),
            ..
        }) => record
            .to_bytes()
            .map_or(PROBE_SIZE, |bytes| bytes.len().max(PROBE_SIZE)),
        _ => PROBE_SIZE,
    };
    chain.found(
        "keychain",
        round_trip(&*store, settings.profile.as_str(), size),
    );
    let reader = match reader {
        Ok(reader) => reader,
        Err(failure) => {
            chain.found("session", failure);
            skip(chain, "the session's state cannot be read");
            return None;
        }
    };
    let cached = reader.as_ref().and_then(Reader::cached);
    // Whatever the keychain says: the cache alone is enough to show a gateway.
    if let Some(token) = &cached {
        hide_token(chain, settings, token);
    }
    let stored = match stored {
        Ok(stored) => stored,
        Err(failure) => {
            log::info!("the session cannot be read: {}", failure.what);
            chain.secrets_are_known = false;
            for id in ["session", "refresh-token"] {
                chain.found(id, CheckResult::skipped("the keychain did not give it out"));
            }
            tell_token(chain, settings, cached.as_ref());
            return cached.filter(Reader::is_valid);
        }
    };
    chain.found(
        "session",
        match (&stored.session, &stored.other_issuer) {
            (None, Some(other_issuer)) => taken_by(other_issuer),
            (session, _) => self::session(reader.as_ref(), session.as_ref()),
        },
    );
    let Some(record) = stored.session else {
        skip(chain, "nobody is signed in");
        return None;
    };
    hide(chain, settings, &record);
    if settings.kind == Kind::Key {
        skip(
            chain,
            "a pasted key neither ends by itself nor says what it is",
        );
        return cached
            .or_else(|| record.token_for(settings))
            .filter(Reader::is_valid);
    }
    chain.found("refresh-token", refresh_token(&record, settings));
    let token = cached.or_else(|| record.token_for(settings));
    tell_token(chain, settings, token.as_ref());
    token.filter(Reader::is_valid)
}

/// What a bundle may not show, however it got into a text.
fn hide(chain: &mut Chain<'_>, settings: &Settings, record: &Record) {
    chain.hidden.push(Secret::new(record.account()));
    chain.hidden.push(Secret::new(&*record.subject));
    chain.hidden.extend(record.refresh_token.clone());
    if let Some(token) = &record.token {
        hide_token(chain, settings, token);
    }
    chain.hidden.extend(record.bound_to.clone());
    chain.hidden.extend(record.client_secret.clone());
    chain.hidden.extend(record.secret_headers.values().cloned());
    let provider_token = record.exchanged_from.as_ref();
    chain
        .hidden
        .extend(provider_token.map(|token| token.value.clone()));
    let claims = record.claims.values().filter_map(Json::as_str);
    chain.hidden.extend(claims.map(Secret::new));
}

/// A token, and the headers that go with it, as far as the configuration does not show them to every reader.
fn hide_token(chain: &mut Chain<'_>, settings: &Settings, token: &IssuedToken) {
    chain.hidden.push(token.value.clone());
    for (name, value) in &token.headers {
        if settings
            .headers
            .get(name)
            .is_none_or(|text| text != value.expose())
        {
            chain.hidden.push(value.clone());
        }
    }
}

fn skip(chain: &mut Chain<'_>, why: &str) {
    for id in ["refresh-token", "token", "token-lifetime"] {
        chain.found(id, CheckResult::skipped(why));
    }
}

fn tell_token(chain: &mut Chain<'_>, settings: &Settings, token: Option<&IssuedToken>) {
    let Some(token) = token else {
        for id in ["token", "token-lifetime"] {
            chain.found(
                id,
                CheckResult::skipped_until("there is no stored token to look at", "gatepass token"),
            );
        }
        return;
    };
    chain.found("token", judge_token(settings, token.value.expose()));
    chain.found("token-lifetime", lifetime(settings, token));
}

/// The state and cache, if there are any: nothing is created.
fn reader(settings: &Settings) -> Result<Option<Reader<'_>>> {
    StateFiles::existing(settings)?
        .map(|files| Reader::with(settings, files))
        .transpose()
}

/// What the profile's entry holds.
#[derive(Default)]
struct Stored {
    /// The session as a call would use it: the stored one, or the one that waits for the store.
    session: Option<Record>,
    /// The issuer of the session that is there in its place; empty for a pasted key.
    other_issuer: Option<String>,
}

fn read(
    settings: &Settings,
    reader: Option<&Reader<'_>>,
    store: &dyn SecretStore,
) -> Result<Stored> {
    let deadline = Deadline::after(KEYCHAIN);
    let stored = match reader {
        Some(reader) => {
            let entry = reader.entry(store, deadline)?;
            Stored {
                other_issuer: entry.other_issuer(settings).map(str::to_owned),
                session: entry.session,
            }
        }
        None => {
            let bytes = store.read(settings.profile.as_str(), deadline)?;
            match bytes.and_then(|bytes| Record::from_bytes(&bytes)) {
                Some(record) if record.belongs_to(settings) => Stored {
                    session: Some(record),
                    other_issuer: None,
                },
                other => Stored {
                    session: None,
                    other_issuer: other
                        .map(|other| other.issuer)
                        .filter(|issuer| *issuer != settings.issuer),
                },
            }
        }
    };
    Ok(Stored {
        session: stored
            .session
            .filter(|record| !record.is_recalled(settings)),
        ..stored
    })
}

/// Nobody is signed in, since the entry holds a session that is another issuer's.
fn taken_by(other_issuer: &str) -> CheckResult {
    let whose = match other_issuer {
        "" => "a pasted key".to_owned(),
        issuer => format!("a session of {}", text::printable(issuer, 200)),
    };
    Failure::new(
        Id::SignInRequired,
        format!(
            "nobody is signed in here; this profile holds {whose}, which stays until it is replaced"
        ),
        "gatepass login --replace, or give this issuer a profile of its own (--profile)",
    )
    .into()
}

/// Tries a value as large as a session, beside the sessions.
pub(super) fn round_trip(store: &dyn SecretStore, profile: &str, size: usize) -> CheckResult {
    let started = std::time::Instant::now();
    match probe(store, profile, size, Deadline::after(KEYCHAIN)) {
        Ok(()) => CheckResult::ok(format!(
            "it took {size} bytes, gave them back and forgot them, in {} ms",
            started.elapsed().as_millis()
        )),
        Err(error) => Failure::from(error).into(),
    }
}

/// Whether a user is signed in, and what prevents the next sign-in.
fn session(reader: Option<&Reader<'_>>, record: Option<&Record>) -> CheckResult {
    let state = reader.map(|reader| &reader.state);
    if let Some(why) = state.and_then(|state| state.over(state.generation)) {
        return sign_in_required(why).into();
    }
    let progress = reader.map(|reader| Progress::read(&reader.files));
    let back_off = progress.as_ref().and_then(Progress::back_off);
    let (Some(record), false) = (
        record,
        state.is_some_and(|state| state.session == Session::None),
    ) else {
        return back_off
            .unwrap_or_else(|| sign_in_required("nobody is signed in"))
            .into();
    };
    if let Some(held) = reader.and_then(|reader| HeldBack::of(reader, Some(record))) {
        return CheckResult::warning(
            format!("it is kept and not renewed {}", held.in_words()),
            held.remedy,
        );
    }
    if let Some(back_off) = back_off {
        return CheckResult::warning(back_off.what, back_off.remedy);
    }
    if let (Some(parked), Some(reader)) = (state.and_then(ParkedStatus::of), reader) {
        return CheckResult::warning(
            parked.in_words(store::describe(reader.settings.store)),
            "unlock or repair the keychain: the next call that finds it willing brings the session home",
        );
    }
    if let Some(warning) = reader.and_then(|reader| refused_in_vain(&reader.files)) {
        return CheckResult::warning(
            format!("{} ({})", warning.text, text::moment(warning.at)),
            "ask the gateway's operator which issuer, audience and keys it takes, and whether this account is allowed",
        );
    }
    if let Some(warning) = state.and_then(|state| state.warnings.last()) {
        return CheckResult::warning(
            format!("{} ({})", warning.text, text::moment(warning.at)),
            "gatepass login clears this",
        );
    }
    let end = record
        .ends_at
        .map_or_else(String::new, |end| format!(", until {}", text::moment(end)));
    CheckResult::ok(format!(
        "{} since {}{end}",
        text::from_server(record.account()),
        text::moment(record.signed_in_at)
    ))
}

fn refresh_token(record: &Record, settings: &Settings) -> CheckResult {
    if record.refresh_token.is_some() {
        return CheckResult::ok("there is one: the session renews itself");
    }
    let again = record
        .token_for(settings)
        .map_or_else(String::new, |token| {
            format!(
                ": people sign in again at {}",
                text::moment(token.life.expires_at())
            )
        });
    let asks = settings
        .scopes
        .iter()
        .any(|scope| scope == "offline_access");
    CheckResult::warning(
        format!("the provider issued none{again}"),
        if asks {
            "have refresh tokens allowed for this client at the provider, then gatepass login"
        } else {
            "add \"offline_access\" to `scopes` (if the provider knows it), then gatepass login"
        },
    )
}

/// The token's life against what callers need.
fn lifetime(settings: &Settings, token: &IssuedToken) -> CheckResult {
    let life = token.life;
    let lifetime = life.expires_at_ms.saturating_sub(life.issued_at_ms) / 1000;
    judge_lifetime(
        lifetime,
        settings.min_validity,
        life.left(clock::now_millis()),
    )
}

fn judge_lifetime(lifetime: u64, min_validity: u64, left: u64) -> CheckResult {
    let lives = text::duration(lifetime);
    if lifetime <= min_validity {
        let ttl = lifetime.saturating_sub(150).clamp(LEAST_TTL, HOST_TTL);
        return CheckResult::warning(
            format!(
                "tokens live {lives} and `min_validity` is {min_validity} s: nearly every call refreshes"
            ),
            format!(
                "have tokens live longer at the provider, or set `min_validity` to {} and Claude Desktop's inferenceCredentialHelperTtlSec to {ttl}",
                ttl + LOOK_AHEAD
            ),
        );
    }
    if min_validity < LEAST_TTL + LOOK_AHEAD {
        return CheckResult::warning(
            format!(
                "`min_validity` is {min_validity} s: a host may keep a token for longer than it lives"
            ),
            format!(
                "set `min_validity` to the host's TTL plus {LOOK_AHEAD}, {} for the usual TTL",
                HOST_TTL + LOOK_AHEAD
            ),
        );
    }
    let fits = min_validity - LOOK_AHEAD;
    CheckResult::ok(format!(
        "{lives} ({} left); `min_validity` of {min_validity} s suits a host TTL of up to {fits}",
        text::duration(left)
    ))
}

/// What the token says of itself: some tokens no gateway can check.
fn judge_token(settings: &Settings, token: &str) -> CheckResult {
    if settings.exchange.is_some() {
        return match UnverifiedClaims::read(token) {
            None => CheckResult::ok("the exchanged token is opaque: the gateway knows it"),
            Some(claims) => CheckResult::ok(format!("exchanged token, {}", in_words(&claims))),
        };
    }
    let kind = match settings.token {
        TokenChoice::AccessToken => "access token",
        TokenChoice::IdToken => "ID token",
    };
    if token.split('.').count() == 5 {
        return CheckResult::warning(
            format!("the {kind} is encrypted: only whom it is for can read it"),
            "name the gateway in `audience` or `resource`, so that the provider issues a token for it",
        );
    }
    if settings.issuer == "https://accounts.google.com"
        && settings.token == TokenChoice::AccessToken
    {
        return CheckResult::warning(
            "Google's access tokens are for Google alone: no gateway can check them",
            "set token = \"id_token\"",
        );
    }
    let Some(claims) = UnverifiedClaims::read(token) else {
        return CheckResult::warning(
            format!(
                "the {kind} is opaque: a gateway that checks JWTs refuses it, others ask the provider about it"
            ),
            "if the gateway checks JWTs, name it in `audience`, `resource` or `scopes`, so that the provider issues one for it",
        );
    };
    let issuer = claims.text("iss").unwrap_or_default();
    let audiences = claims.audiences();
    let shown = in_words(&claims);
    if let Some((whose, remedy)) = for_somebody_else(&issuer, &audiences) {
        return CheckResult::warning(
            format!("the {kind} is for {whose}, and no gateway can check it ({shown})"),
            remedy,
        );
    }
    let about = settings
        .preset
        .map(|preset| preset.about())
        .unwrap_or_default();
    if !audiences.is_empty() && audiences.iter().all(|one| about.is_foreign(one, &issuer)) {
        let hint = about
            .api_scope_hint
            .unwrap_or_else(|| "an audience or scope of the gateway's own".to_owned());
        return CheckResult::warning(
            format!("the {kind} names no gateway in `aud` ({shown})"),
            format!("add {hint}, then have the gateway demand that audience"),
        );
    }
    if issuer.is_empty() || audiences.is_empty() {
        return CheckResult::warning(
            format!("the {kind} does not say who issued it or for whom ({shown})"),
            "name the gateway in `audience` or `resource`, or set token = \"id_token\"",
        );
    }
    if issuer != settings.issuer {
        return CheckResult::warning(
            format!("the {kind} names another issuer than the configuration: {shown}"),
            "tell the gateway's operator that issuer, or have the provider issue tokens under its own (Entra: version 2)",
        );
    }
    CheckResult::ok(format!("{kind}, {shown}"))
}

/// Who issued a token, and for whom.
fn in_words(claims: &UnverifiedClaims) -> String {
    format!(
        "iss {}, aud {}",
        text::from_server(&claims.text("iss").unwrap_or_default()),
        text::from_server(&claims.audiences().join(" "))
    )
}

/// Audiences that mean Microsoft Graph, and its predecessor.
const GRAPH: [&str; 5] = [
    "00000003-0000-0000-c000-000000000000",
    "https://graph.microsoft.com",
    "https://graph.microsoft.com/",
    "00000002-0000-0000-c000-000000000000",
    "https://graph.windows.net",
];

/// Hosts under which Okta runs organisations.
const OKTA: [&str; 3] = [".okta.com", ".oktapreview.com", ".okta-emea.com"];

/// Tokens that only the provider's own services can check.
fn for_somebody_else(issuer: &str, audiences: &[String]) -> Option<(&'static str, &'static str)> {
    if audiences.iter().any(|aud| GRAPH.contains(&aud.as_str())) {
        return Some((
            "Microsoft Graph",
            "add a scope of the gateway's own registration to `scopes`, such as \"api://GATEWAY/.default\"",
        ));
    }
    let okta = url::Url::parse(issuer).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default();
        OKTA.iter().any(|end| host.ends_with(end)) && !url.path().starts_with("/oauth2/")
    });
    // The same server's ID tokens are for the client and can be checked.
    if okta && audiences.iter().any(|aud| aud == issuer) {
        return Some((
            "Okta itself",
            "use a custom authorization server: an `issuer` with /oauth2/ in it, such as https://ORG.okta.com/oauth2/default",
        ));
    }
    None
}

impl UnverifiedClaims {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    fn audiences(&self) -> Vec<String> {
        match self.0.get("aud") {
            Some(Json::String(one)) => vec![one.clone()],
            Some(Json::Array(many)) => many
                .iter()
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn tokens_that_no_gateway_can_check_are_told() {
        let sts = "https://sts.windows.net/8a3f/";
        for (issuer, audiences, told) in [
            (sts, owned(&["00000003-0000-0000-c000-000000000000"]), true),
            (sts, owned(&["https://graph.microsoft.com"]), true),
            (sts, owned(&["api://gateway"]), false),
            (
                "https://corp.okta.com",
                owned(&["https://corp.okta.com"]),
                true,
            ),
            ("https://corp.okta.com", owned(&["0oa1client"]), false),
            (
                "https://corp.okta.com/oauth2/default",
                owned(&["api://default"]),
                false,
            ),
            ("https://idp.example", owned(&["gateway"]), false),
        ] {
            assert_eq!(
                for_somebody_else(issuer, &audiences).is_some(),
                told,
                "{issuer} {audiences:?}"
            );
        }
    }

    #[test]
    fn lifetimes_are_held_against_what_hosts_need() {
        for (lifetime, min_validity, word, says) in [
            (3600, 420, "ok", "up to 300"),
            (420, 420, "warning", "to 390"),
            (300, 420, "warning", "to 270"),
            (60, 420, "warning", "to 241"),
            (3600, 60, "warning", "420 for the usual"),
        ] {
            let found = judge_lifetime(lifetime, min_validity, 10);
            assert_eq!(found.word(), word, "{lifetime} {min_validity}");
            let text = format!("{} {}", found.what(), found.remedy().unwrap_or_default());
            assert!(text.contains(says), "{lifetime} {min_validity}: {text}");
        }
    }

    #[test]
    fn tokens_that_name_no_gateway_or_nobody_are_told() {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let jwt = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        let judge = |more: &str, token: &str| {
            let text = format!("issuer = 'https://idp.example/realms/a'\nclient_id = 'c'\n{more}");
            let profile = crate::config::profile::ProfileName::default();
            let settings =
                crate::config::load(&crate::config::Sources::of_text(&text), &profile).unwrap();
            judge_token(&settings, token)
        };
        let keycloak = "preset = 'keycloak'";
        let iss = r#""iss":"https://idp.example/realms/a""#;
        for (more, token, word, says) in [
            (
                keycloak,
                jwt(&format!(r#"{{{iss},"aud":"account"}}"#)),
                "warning",
                "names no gateway",
            ),
            (
                keycloak,
                jwt(&format!(r#"{{{iss},"aud":["account","gw"]}}"#)),
                "ok",
                "gw",
            ),
            (
                "",
                jwt(&format!(r#"{{{iss},"aud":"account"}}"#)),
                "ok",
                "account",
            ),
            ("", "opaque".to_owned(), "warning", "checks JWTs"),
        ] {
            let found = judge(more, &token);
            assert_eq!(found.word(), word, "{more} {token}: {}", found.what());
            assert!(found.what().contains(says), "{}", found.what());
        }
    }
}
