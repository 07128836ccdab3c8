//! The token endpoint (RFC 6749): redeeming codes and refresh tokens, and what its errors mean.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::{Duration, UNIX_EPOCH};

use oauth2::basic::BasicErrorResponseType;
use oauth2::{
    AuthorizationCode, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, StandardErrorResponse, TokenResponse as _,
};
use serde_json::Value;

use super::client_auth::client::{self, Client, TokenResponse};
use super::discovery::Metadata;
use super::dpop::{self, Prover};
use super::json::{Members, UniqueObject};
use super::transport::http::{Http, HttpError};
use crate::clock;
use crate::config::settings::{Settings, TokenChoice};
use crate::error::{Failure, Id, Result};
use crate::secret::Secret;
use crate::text;

/// Largest token that is accepted, in bytes.
const TOKEN: usize = 16 * 1024;

/// Largest refresh token that is accepted, in bytes.
const REFRESH_TOKEN: usize = 64 * 1024;

/// Longest life that is believed, in seconds (ten years).
pub(super) const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

/// What the token endpoint gave.
#[derive(Debug)]
pub struct Grant {
    /// The access token, as it came: it is checked before it is printed ([`check_printable`]).
    pub access_token: Secret,
    /// The ID token, not validated yet.
    pub id_token: Option<Secret>,
    /// A refresh token, if one was issued or rotated.
    pub refresh_token: Option<Secret>,
    /// Seconds that the access token lives, if the provider says so.
    pub expires_in: Option<u64>,
    /// Seconds that the refresh token lives, if the provider says so.
    pub refresh_expires_in: Option<u64>,
    /// The key without which the refresh token is of no use (RFC 9449), if there is one.
    pub bound_to: Option<Secret>,
}

/// Why the token endpoint gave nothing.
#[derive(Debug)]
pub enum Refusal {
    /// `invalid_grant`, or its equivalent in other words: this code or refresh token is not valid any more.
    GrantOver(String),
    /// Anything else.
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Redeems an authorization code. Never repeated: a code is good for one request.
///
/// # Errors
/// [`Refusal::GrantOver`] where the provider does not take the code; else [`Refusal::Failure`].
pub fn redeem_code(
    http: &Http,
    client: &Client,
    settings: &Settings,
    code: &Secret,
    verifier: &Secret,
    redirect_uri: &str,
) -> Result<Grant, Refusal> {
    let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
        .map_err(|_| Failure::internal("the redirect address is no address"))?;
    let mut request = client
        .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
        .set_redirect_uri(Cow::Owned(redirect_uri));
    for (name, value) in extra(settings) {
        request = request.add_extra_param(name, value);
    }
    let response = request.request(&endpoint(http, client));
    let response = response.map_err(refusal)?;
    Ok(grant(response, client, settings)?)
}

/// What the token endpoint answered to a refresh with a success.
#[derive(Debug)]
pub struct RefreshAnswer {
    /// The new refresh token, taken from any object that is no error, however odd the rest: the old one may be used
    /// up.
    pub refresh_token: Option<Secret>,
    /// Seconds that it lives, if the provider says so.
    pub refresh_expires_in: Option<u64>,
    /// The answer's `Date`, in seconds since 1970.
    pub date: Option<u64>,
    /// What was granted, or why that cannot be understood.
    pub grant: Result<Grant, NotUnderstood>,
}

/// Why a successful answer is no grant.
#[derive(Debug)]
pub enum NotUnderstood {
    /// It breaks the protocol.
    Malformed(String),
    /// It does not say that it is JSON: something in between may have answered.
    Unavailable(Failure),
}

/// Why a refresh brought nothing.
#[derive(Debug)]
pub enum NotRefreshed {
    /// The token endpoint refuses (RFC 6749 section 5.2).
    Refused {
        /// The error code.
        code: String,
        /// Entra's further code.
        suberror: Option<String>,
        /// Code and description, made safe to show.
        said: String,
        /// Whether the answer to a first sending was lost.
        was_repeated: bool,
    },
    /// There is no answer. Where one was lost on its way, the provider may have used up the refresh token.
    NoAnswer(Failure),
}

/// For how long after the first sending a lost answer is asked for again, in milliseconds, sleep counted: providers
/// forgive the use of a rotated refresh token for so long and longer.
const REPEAT_WITHIN: u64 = 10_000;

/// Pauses before the repeat, in milliseconds: at least, and at most so much more.
const REPEAT_AFTER: (u64, u64) = (200, 300);

/// How often a refresh token is sent in one attempt, at most.
const SENDINGS: u32 = 2;

/// Redeems a refresh token (RFC 6749 section 6).
///
/// The request is sent once more where its answer was lost: the connection ended after part of the request was sent,
/// and before the whole answer had come. It is never repeated after a complete answer, nor after a time-out: the first
/// request may still be under way, and a provider that detects reuse would revoke what the repeat has brought. Both sendings
/// share the time that the client waits for an answer, and a sending that the provider has answered by asking for its nonce
/// (RFC 9449 section 8) is one of the two.
///
/// # Errors
/// [`NotRefreshed`].
pub fn refresh(
    http: &Http,
    client: &Client,
    settings: &Settings,
    refresh_token: &Secret,
) -> Result<RefreshAnswer, NotRefreshed> {
    let sent = RefreshToken::new(refresh_token.expose().to_owned());
    let mut request = client.exchange_refresh_token(&sent);
    for (name, value) in extra(settings) {
        request = request.add_extra_param(name, value);
    }
    let was_repeated = Cell::new(false);
    let seen = RefCell::new(SeenResponse::default());
    let send = |request: HttpRequest| {
        let sendings = Cell::new(SENDINGS);
        // Each sending makes a client assertion and a proof of its own.
        let response = match client.send_at_most(&sendings, http, request.clone()) {
            Err(HttpError::Lost { host, why })
                if sendings.get() > 0 && seen.borrow().may_be_repeated() =>
            {
                log::info!("the answer of {host} was lost ({why}); asking once more");
                std::thread::sleep(repeat_pause());
                was_repeated.set(true);
                let http = http.waiting_since(seen.borrow().began_ms);
                client.send_at_most(&sendings, &http, request)
            }
            result => result,
        };
        let response = seen.borrow_mut().look_at(response)?;
        if response.status().is_success() {
            if response.body().is_empty() {
                let host = seen.borrow().host.clone();
                return Err(HttpError::NotJson { host });
            }
            return Ok(response.map(in_standard_form));
        }
        Ok(response)
    };
    let response = request.request(&|request: HttpRequest| {
        seen.borrow_mut().begin(&request);
        send(request)
    });
    let seen = seen.into_inner();
    let grant = match response {
        Ok(response) => grant(response, client, settings)
            .map_err(|failure| NotUnderstood::Malformed(failure.what)),
        Err(RequestTokenError::ServerResponse(response)) => {
            let code = response.error().as_ref().to_owned();
            let description = response.error_description().map(String::as_str);
            return Err(NotRefreshed::Refused {
                said: said(&code, description),
                code,
                suberror: seen.suberror,
                was_repeated: was_repeated.get(),
            });
        }
        Err(RequestTokenError::Request(error)) if seen.granted => {
            Err(NotUnderstood::Unavailable(error.into()))
        }
        Err(RequestTokenError::Request(error)) => {
            return Err(NotRefreshed::NoAnswer(error.into()));
        }
        // The parse error carries the body, and the body carries tokens: neither is shown.
        Err(_) if seen.succeeded => Err(NotUnderstood::Malformed(
            "the provider's token answer is malformed".to_owned(),
        )),
        // Glewlwyd says nothing about a refresh token that is no good; so does many a firewall.
        Err(_) => {
            return Err(NotRefreshed::NoAnswer(
                Failure::new(
                    Id::Unavailable,
                    "the provider refused the refresh without a reason (4xx, empty)",
                    "run it again in a few minutes; if it stays so: gatepass login",
                )
                .told_by_provider(),
            ));
        }
    };
    Ok(RefreshAnswer {
        refresh_token: seen.refresh_token,
        refresh_expires_in: seen.refresh_expires_in,
        date: seen.date,
        grant,
    })
}

/// What is seen of an answer before the protocol library reads it.
#[derive(Default)]
struct SeenResponse {
    host: String,
    began_ms: u64,
    succeeded: bool,
    /// A success that says something.
    granted: bool,
    refresh_token: Option<Secret>,
    refresh_expires_in: Option<u64>,
    suberror: Option<String>,
    date: Option<u64>,
}

impl SeenResponse {
    fn begin(&mut self, request: &HttpRequest) {
        self.host = text::from_server(request.uri().host().unwrap_or_default());
        self.began_ms = clock::uptime_millis();
    }

    fn may_be_repeated(&self) -> bool {
        clock::uptime_millis().saturating_sub(self.began_ms) < REPEAT_WITHIN
    }

    /// Takes what must not be lost, whatever becomes of the rest.
    fn look_at(
        &mut self,
        response: Result<HttpResponse, HttpError>,
    ) -> Result<HttpResponse, HttpError> {
        let answer = match &response {
            Ok(answer) => answer,
            Err(HttpError::NotDeclared { answer, .. }) => answer,
            Err(_) => return response,
        };
        self.succeeded = answer.status().is_success();
        let date = answer.headers().get(http::header::DATE);
        self.date = date
            .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok())
            .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
            .map(|date| date.as_secs());
        let Ok(members) = Members::parse(answer.body()) else {
            return response;
        };
        let member = |name: &str| members.only(name);
        self.granted = self.succeeded;
        if self.succeeded {
            self.refresh_token = member("refresh_token")
                .and_then(Value::as_str)
                .filter(|token| is_opaque(token))
                .map(Secret::new);
            self.refresh_expires_in = member("refresh_expires_in").and_then(whole_seconds);
        } else {
            let suberror = member("suberror").and_then(Value::as_str);
            self.suberror = suberror.map(|suberror| text::printable(suberror, 60));
        }
        response
    }
}

/// Not always the same, so that many machines whose connections broke together do not come back together.
fn repeat_pause() -> Duration {
    let (least, more) = REPEAT_AFTER;
    Duration::from_millis(least + clock::now_millis() % (more + 1))
}

/// Whether this can be a refresh token: RFC 6749 appendix A.17, and not endless.
fn is_opaque(token: &str) -> bool {
    !token.is_empty()
        && token.len() <= REFRESH_TOKEN
        && token.bytes().all(|byte| matches!(byte, 0x20..=0x7E))
}

/// Revokes a refresh token (RFC 7009). `Ok(false)` if the provider offers no revocation.
///
/// Sent by ourselves: the protocol library refuses to revoke at a provider on this machine.
///
/// # Errors
/// `unavailable` where the provider cannot be reached or refuses.
pub fn revoke(
    http: &Http,
    client: &Client,
    metadata: &Metadata,
    settings: &Settings,
    refresh_token: &Secret,
) -> Result<bool> {
    let Some(url) = &metadata.revocation_endpoint else {
        return Ok(false);
    };
    let failed = |why: String| {
        Failure::new(
            Id::Unavailable,
            format!("the provider did not revoke the session: {why}"),
            "sign out at the provider's own page",
        )
        .told_by_provider()
    };
    let form = [
        ("token", refresh_token.expose()),
        ("token_type_hint", "refresh_token"),
    ];
    let request = client::form_request(url, &form, client.client_id(), settings)?;
    let response = client.send(http, request)?;
    if response.status().is_success() {
        return Ok(true);
    }
    let error = UniqueObject::parse(response.body()).ok();
    let code = error
        .as_ref()
        .and_then(|error| error.0.get("error"))
        .and_then(Value::as_str)
        .map_or_else(|| response.status().to_string(), text::from_server);
    Err(failed(code))
}

/// Parameters of every token request that the configuration adds.
pub(super) fn extra(settings: &Settings) -> Vec<(&str, &str)> {
    let resource = settings.resource.iter().map(|r| ("resource", r.as_str()));
    let audience = settings.audience.iter().map(|a| ("audience", a.as_str()));
    let params = settings.token_params.iter();
    resource
        .chain(audience)
        .chain(params.map(|(name, value)| (name.as_str(), value.as_str())))
        .collect()
}

/// The provider's endpoints as the protocol library calls them, with answers brought into the form of RFC 6749
/// first.
pub(super) fn endpoint<'a>(
    http: &'a Http,
    client: &'a Client,
) -> impl Fn(HttpRequest) -> Result<HttpResponse, HttpError> + 'a {
    |request| {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let response = client.send(http, request)?;
        if response.status().is_success() && response.body().is_empty() {
            // Nothing is no refusal either: a proxy in between has lost the answer.
            return Err(HttpError::NotJson { host });
        }
        Ok(if response.status().is_success() {
            response.map(in_standard_form)
        } else {
            response
        })
    }
}

/// Forgives what real providers do: lifetimes as strings or fractions, `scope` as a list.
pub(crate) fn in_standard_form(body: Vec<u8>) -> Vec<u8> {
    let Ok(mut object) = UniqueObject::parse(&body) else {
        // No object, or one that says something twice: the library must not read it either.
        return b"[]".to_vec();
    };
    for name in ["expires_in", "refresh_expires_in", "interval"] {
        if let Some(value) = object.0.get_mut(name) {
            *value = match whole_seconds(value) {
                Some(seconds) => seconds.into(),
                None => Value::Null,
            };
        }
    }
    // A member without a value is as good as none; some providers write "no new refresh token" as an empty one.
    object
        .0
        .retain(|name, value| !value.is_null() && (*value != "" || name == "access_token"));
    if let Some(Value::Array(scopes)) = object.0.get("scope") {
        let joined: Vec<&str> = scopes.iter().filter_map(Value::as_str).collect();
        let joined = joined.join(" ");
        object.0.insert("scope".to_owned(), joined.into());
    }
    // It holds tokens.
    drop(zeroize::Zeroizing::new(body));
    Value::Object(object.0).to_string().into_bytes()
}

/// A lifetime in whole seconds. What is negative, absurd or no number is unknown.
pub(super) fn whole_seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    if !(0.0..1e18).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked; fractions of a second are cut on purpose"
    )]
    let seconds = number as u64;
    Some(seconds.min(LONGEST))
}

/// Checks what can be checked without the issuer's keys. What is not printed may be odd.
pub(crate) fn grant(
    response: TokenResponse,
    client: &Client,
    settings: &Settings,
) -> Result<Grant, Failure> {
    let kind = response.token_type().as_ref();
    let is_bound = client.prover().is_some() && kind.eq_ignore_ascii_case("dpop");
    if is_bound && dpop::is_printed(settings) {
        return Err(bound_to_us());
    }
    let is_printed = settings.token == TokenChoice::AccessToken && settings.exchange.is_none();
    if is_printed && !is_bound && !kind.eq_ignore_ascii_case("bearer") {
        return Err(Failure::untrusted(
            "the provider issued a token that is not a bearer token",
        ));
    }
    let more = response.extra_fields();
    let refresh_token = response
        .refresh_token()
        .map(|token| match is_opaque(token.secret()) {
            true => Ok(Secret::new(token.secret())),
            false => Err(Failure::untrusted(
                "the provider issued a malformed refresh token",
            )),
        })
        .transpose()?;
    Ok(Grant {
        refresh_token,
        id_token: more.id_token.as_deref().map(Secret::new),
        expires_in: response.expires_in().map(|time| time.as_secs()),
        refresh_expires_in: more.refresh_expires_in,
        access_token: Secret::new(response.access_token().secret()),
        bound_to: client.prover().map(Prover::to_store),
    })
}

/// RFC 9449 section 5: an access token that is good only together with the session's key. A gateway takes bearers.
fn bound_to_us() -> Failure {
    Failure::new(
        Id::UntrustedResponse,
        "the provider binds the access token to gatepass's key (DPoP), so the gateway could not take it",
        "have the provider bind refresh tokens alone, print the ID token (`token`), or set `dpop` to \"never\"",
    )
    .told_by_provider()
}

/// Whether a token may be printed and put into a header: `b64token` of RFC 6750 section 2.1, at most 16 KiB.
///
/// # Errors
/// `untrusted-response` where it may not.
pub fn check_printable(token: &Secret) -> Result<()> {
    let text = token.expose();
    let body = text.trim_end_matches('=');
    let fine = !body.is_empty()
        && text.len() <= TOKEN
        && body.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
        });
    if fine {
        Ok(())
    } else {
        Err(Failure::untrusted(
            "the provider issued a token that no header can carry (RFC 6750)",
        ))
    }
}

type TokenError = RequestTokenError<HttpError, StandardErrorResponse<BasicErrorResponseType>>;

fn refusal(error: TokenError) -> Refusal {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let code = response.error().as_ref().to_owned();
            by_code(&code, response.error_description().map(String::as_str))
        }
        RequestTokenError::Request(error) => Refusal::Failure(error.into()),
        // The parse error carries the body, and the body carries tokens: neither is shown.
        RequestTokenError::Parse(_, _) => Refusal::Failure(Failure::untrusted(
            "the provider's token answer is malformed",
        )),
        RequestTokenError::Other(_) => Refusal::Failure(
            Failure::new(
                Id::Unavailable,
                "the provider gave an empty answer",
                "run it again in a few minutes",
            )
            .told_by_provider(),
        ),
    }
}

/// What an OAuth error code means. Decisions rest on the code alone; the description is shown, not read.
pub fn by_code(code: &str, description: Option<&str>) -> Refusal {
    let said = said(code, description);
    let failure = |id, what: String, remedy: &str| {
        Refusal::Failure(Failure::new(id, what, remedy).told_by_provider())
    };
    match code {
        "invalid_grant" | "interaction_required" | "login_required" | "consent_required" => {
            Refusal::GrantOver(said)
        }
        "access_denied" | "authorization_declined" | "bad_verification_code" => failure(
            Id::SignInFailed,
            format!("the provider refused: {said}"),
            "sign in again, or ask your administrator whether your account may use the gateway",
        ),
        "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "invalid_target"
        | "unsupported_grant_type"
        | "unsupported_response_type"
        | "invalid_request" => failure(
            Id::Config,
            format!("the provider does not accept this configuration: {said}"),
            "check `client_id`, `client_auth`, `scopes` and `resource` with your administrator",
        ),
        _ => failure(
            Id::Unavailable,
            format!("the provider cannot answer now: {said}"),
            "run it again in a few minutes",
        ),
    }
}

/// An error as the provider put it, made safe to show.
fn said(code: &str, description: Option<&str>) -> String {
    let code = text::printable(code, 60);
    match description.map(text::from_server) {
        Some(description) if !description.is_empty() => format!("{code} (\"{description}\")"),
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_header_can_carry_is_printed() {
        let good = ["abc", "a.b-c_d~e+f/g", "abc==", &"x".repeat(TOKEN)];
        let bad = [
            "",
            "=",
            "a b",
            "a\nb",
            "a\r\nX-Evil: 1",
            "tök",
            "a=b",
            "a\0",
            &"x".repeat(TOKEN + 1),
        ];
        for token in good {
            assert!(check_printable(&Secret::new(token)).is_ok());
        }
        for token in bad {
            assert!(check_printable(&Secret::new(token)).is_err(), "{token:?}");
        }
    }

    #[test]
    fn lifetimes_come_in_many_forms() {
        let cases = [
            (Value::from(3600), Some(3600)),
            (Value::from("3600"), Some(3600)),
            (Value::from(59.9), Some(59)),
            (Value::from(0), Some(0)),
            (Value::from(-1), None),
            (Value::from(1e17), Some(LONGEST)),
            (Value::from("soon"), None),
            (Value::Null, None),
        ];
        for (value, seconds) in cases {
            assert_eq!(whole_seconds(&value), seconds, "{value}");
        }
    }

    #[test]
    fn codes_decide_and_descriptions_do_not() {
        let id = |code: &str| match by_code(code, Some("invalid_grant")) {
            Refusal::GrantOver(_) => 4,
            Refusal::Failure(failure) => failure.id.exit_code(),
        };
        for (code, exit) in [
            ("invalid_grant", 4),
            ("interaction_required", 4),
            ("access_denied", 5),
            ("invalid_client", 3),
            ("invalid_target", 3),
            ("temporarily_unavailable", 6),
            ("server_error", 6),
            ("unheard_of", 6),
        ] {
            assert_eq!(id(code), exit, "{code}");
        }
    }
}
