//! From the provider's token to the gateway's: token exchange (RFC 8693), or a gateway's own endpoint for keys.
//!
//! A failure here says nothing about the session: the messages name the exchange's server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method as HttpMethod, StatusCode};
use oauth2::{HttpRequest, HttpResponse};
use serde_json::Value as Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::json::UniqueObject;
use super::tokens::{LONGEST, check_printable, whole_seconds};
use super::transport::http::{Http, HttpError};
use crate::config::exchange::{
    Exchange, Expiry, ExpiryFormat, HttpExchange, Method, PLACEHOLDER, TokenExchange,
};
use crate::config::settings::TokenChoice;
use crate::error::{Failure, Id, Result};
use crate::secret::Secret;
use crate::text;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the gateway's issuer gave.
#[derive(Debug)]
pub struct Exchanged {
    /// A token that may be printed.
    pub token: Secret,
    /// When it ends.
    pub end: End,
}

/// When a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many seconds after it was asked for, if that was said.
    In(Option<u64>),
    /// At this moment, in milliseconds since 1970.
    At(u64),
}

/// Exchanges a token of the provider's. `http` may reach [`Exchange::url`].
pub fn exchange(http: &Http, exchange: &Exchange, subject: &Secret) -> Result<Exchanged> {
    match exchange {
        Exchange::Token(exchange) => token_exchange(http, exchange, subject),
        Exchange::Http(exchange) => http_exchange(http, exchange, subject),
    }
}

/// Says which link of the chain has failed.
fn at_exchange(error: HttpError) -> Failure {
    let mut failure = Failure::from(error);
    failure.what = format!(
        "the exchange for the gateway's token failed: {}",
        failure.what
    );
    failure
}

fn refused(id: Id, what: impl AsRef<str>, remedy: &str) -> Failure {
    Failure::new(
        id,
        format!(
            "the exchange for the gateway's token failed: {}",
            what.as_ref()
        ),
        remedy,
    )
    .told_by_provider()
}

fn untrusted(what: &str) -> Failure {
    refused(
        Id::UntrustedResponse,
        what,
        "tell your administrator; the sign-in is kept, and nothing was printed",
    )
}

fn printable(token: &str) -> Result<Secret> {
    let token = Secret::new(token);
    check_printable(&token).map_err(|failure| untrusted(&failure.what))?;
    Ok(token)
}

/// RFC 8693 section 2.
fn token_exchange(http: &Http, exchange: &TokenExchange, subject: &Secret) -> Result<Exchanged> {
    let subject_type = match exchange.subject {
        TokenChoice::AccessToken => ACCESS_TOKEN,
        TokenChoice::IdToken => ID_TOKEN,
    };
    let mut form: Vec<(&str, &str)> = vec![
        ("grant_type", GRANT),
        ("subject_token", subject.expose()),
        ("subject_token_type", subject_type),
    ];
    form.extend(exchange.audience.iter().map(|a| ("audience", a.as_str())));
    form.extend(exchange.resource.iter().map(|r| ("resource", r.as_str())));
    form.extend(exchange.scope.iter().map(|s| ("scope", s.as_str())));
    let requested = exchange.requested_token_type.as_deref();
    form.extend(requested.map(|kind| ("requested_token_type", kind)));
    let mut request = http::Request::post(exchange.token_url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    match (&exchange.client_id, &exchange.client_secret) {
        (Some(id), Some(secret)) => {
            let pair = Zeroizing::new(format!(
                "{}:{}",
                form_encoded(id),
                &*Zeroizing::new(form_encoded(secret.expose()))
            ));
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(&*pair)));
        }
        (Some(id), None) => form.push(("client_id", id)),
        (None, _) => {}
    }
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = request
        .body(body.into_bytes())
        .map_err(|_| Failure::internal("the exchange's address cannot be requested"))?;
    let response = http.oauth_request(request).map_err(at_exchange)?;
    let body = Zeroizing::new(response.body().clone());
    let answer = UniqueObject::parse(&body).ok();
    if !response.status().is_success() {
        return Err(refused_exchange(answer.as_ref(), response.status()));
    }
    let answer = answer.ok_or_else(|| untrusted("the answer is not a JSON object"))?;
    let word = |name: &str| answer.0.get(name).and_then(Json::as_str);
    let issued =
        word("issued_token_type").ok_or_else(|| untrusted("`issued_token_type` is missing"))?;
    let fits = match requested {
        Some(requested) => issued == requested,
        None => [ACCESS_TOKEN, JWT].contains(&issued),
    };
    if !fits {
        return Err(untrusted(
            "it issued a token of another type than was asked for",
        ));
    }
    // Section 2.2.1: `N_A` where what was issued is no access token.
    let kind = word("token_type").ok_or_else(|| untrusted("`token_type` is missing"))?;
    let is_bearer = kind.eq_ignore_ascii_case("bearer");
    let has_no_type = kind.eq_ignore_ascii_case("N_A") && issued != ACCESS_TOKEN;
    if !is_bearer && !has_no_type {
        return Err(untrusted("it issued a token that is not a bearer token"));
    }
    let token = word("access_token").ok_or_else(|| untrusted("`access_token` is missing"))?;
    Ok(Exchanged {
        token: printable(token)?,
        end: End::In(answer.0.get("expires_in").and_then(whole_seconds)),
    })
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What an error of the exchange means for the person.
fn refused_exchange(answer: Option<&UniqueObject>, status: StatusCode) -> Failure {
    let word = |name: &str| {
        answer
            .and_then(|answer| answer.0.get(name))
            .and_then(Json::as_str)
    };
    let Some(code) = word("error") else {
        return refused(
            Id::Unavailable,
            format!("it answers {status}"),
            "run it again in a few minutes",
        );
    };
    let said = match word("error_description") {
        Some(description) => format!("{code}: {description}"),
        None => code.to_owned(),
    };
    let said = text::from_server(&said);
    match code {
        "temporarily_unavailable" | "server_error" | "slow_down" => {
            refused(Id::Unavailable, said, "run it again in a few minutes")
        }
        "invalid_grant" | "access_denied" => refused(
            Id::SignInFailed,
            format!("it does not take this account's token ({said})"),
            "ask your administrator whether you may use the gateway",
        ),
        _ => refused(
            Id::Config,
            said,
            "have your administrator check the table `exchange` and the service's registration",
        ),
    }
}

/// One request that gives a key.
fn http_exchange(http: &Http, exchange: &HttpExchange, subject: &Secret) -> Result<Exchanged> {
    let response = http
        .request(http_request(exchange, subject)?)
        .map_err(at_exchange)?;
    let status = response.status();
    match status {
        _ if status.is_success() => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(refused(
                Id::SignInFailed,
                format!("it does not take this account's token ({status})"),
                "ask your administrator whether you may use the gateway",
            ));
        }
        // What passes by itself: the service's state, not the configuration.
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::LOCKED
        | StatusCode::TOO_EARLY => {
            return Err(refused(
                Id::Unavailable,
                format!("it answers {status}"),
                "run it again in a moment",
            ));
        }
        _ => {
            return Err(refused(
                Id::Config,
                format!("it answers {status}"),
                "have your administrator check the table `exchange`",
            ));
        }
    }
    read_key(exchange, &response, crate::clock::now_millis())
}

fn http_request(exchange: &HttpExchange, subject: &Secret) -> Result<HttpRequest> {
    let method = match exchange.method {
        Method::Get => HttpMethod::GET,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(exchange.url.as_str());
    let has = |name: &str| {
        exchange
            .headers
            .keys()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    if !has("accept") {
        request = request.header(ACCEPT, "application/json");
    }
    if exchange.body.is_some() && !has("content-type") {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    for (name, value) in &exchange.headers {
        let value = Zeroizing::new(value.replace(PLACEHOLDER, subject.expose()));
        request = request.header(name, value.as_str());
    }
    let body = match &exchange.body {
        Some(template) => filled(template, subject).to_string().into_bytes(),
        None => Vec::new(),
    };
    request
        .body(body)
        .map_err(|_| Failure::internal("the exchange's request cannot be made"))
}

/// The body with the token in its place.
fn filled(template: &Json, subject: &Secret) -> Json {
    match template {
        Json::String(text) if text == PLACEHOLDER => subject.expose().into(),
        Json::Array(items) => items.iter().map(|item| filled(item, subject)).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), filled(value, subject)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn read_key(exchange: &HttpExchange, response: &HttpResponse, now_ms: u64) -> Result<Exchanged> {
    let answer: Json = serde_json::from_slice(response.body()).map_err(|_| {
        refused(
            Id::Unavailable,
            "the answer is not JSON",
            "run it again in a few minutes",
        )
    })?;
    let token = answer
        .pointer(&exchange.token_pointer)
        .and_then(Json::as_str)
        .ok_or_else(|| {
            untrusted(&format!(
                "the answer has no text at {}",
                exchange.token_pointer
            ))
        })?;
    let end = match &exchange.expiry {
        Expiry::After(seconds) => End::In(Some(*seconds)),
        Expiry::In {
            pointer,
            format,
            otherwise,
        } => match answer.pointer(pointer) {
            None | Some(Json::Null) => match otherwise {
                Some(seconds) => End::In(Some(*seconds)),
                None => {
                    return Err(untrusted(&format!("the answer has nothing at {pointer}")));
                }
            },
            Some(value) => ending(value, *format).ok_or_else(|| {
                untrusted(&format!("what the answer has at {pointer} is no such time"))
            })?,
        },
    };
    if matches!(end, End::At(at_ms) if at_ms <= now_ms) || end == End::In(Some(0)) {
        return Err(untrusted("the key it gave has ended already"));
    }
    Ok(Exchanged {
        token: printable(token)?,
        end,
    })
}

fn ending(value: &Json, format: ExpiryFormat) -> Option<End> {
    let latest = crate::clock::now_millis().saturating_add(LONGEST * 1000);
    let at = match format {
        ExpiryFormat::Seconds => return Some(End::In(Some(whole_seconds(value)?))),
        ExpiryFormat::Epoch => count(value)?.checked_mul(1000)?,
        ExpiryFormat::EpochMillis => count(value)?,
        ExpiryFormat::Rfc3339 => {
            let at = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
            u64::try_from(at.unix_timestamp()).ok()?.checked_mul(1000)?
        }
    };
    Some(End::At(at.min(latest)))
}

/// A whole number, also as text or as a fraction.
fn count(value: &Json) -> Option<u64> {
    match value {
        Json::Number(number) => number.as_u64().or_else(|| {
            let fraction = number.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked; fractions are cut on purpose"
            )]
            (0.0..1e18).contains(&fraction).then_some(fraction as u64)
        }),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn moments_are_read_as_the_configuration_says() {
        use ExpiryFormat::{Epoch, EpochMillis, Rfc3339, Seconds};
        let now = crate::clock::now();
        let soon = now + 600;
        let cases = [
            (json!(600), Seconds, Some(End::In(Some(600)))),
            (json!("600"), Seconds, Some(End::In(Some(600)))),
            (json!(soon), Epoch, Some(End::At(soon * 1000))),
            (json!(soon.to_string()), Epoch, Some(End::At(soon * 1000))),
            (json!(soon * 1000), EpochMillis, Some(End::At(soon * 1000))),
            (
                json!(text::moment(soon)),
                Rfc3339,
                Some(End::At(soon * 1000)),
            ),
            (json!(-1), Epoch, None),
            (json!(true), Seconds, None),
            (json!("tomorrow"), Rfc3339, None),
            (json!([]), EpochMillis, None),
        ];
        for (value, format, end) in cases {
            assert_eq!(ending(&value, format), end, "{value} {format:?}");
        }
    }

    #[test]
    fn the_token_goes_where_the_template_says_and_nowhere_else() {
        let template = json!({"a": ["{token}", "x"], "b": {"c": "{token}"}, "d": "token"});
        assert_eq!(
            filled(&template, &Secret::new("t\"1")),
            json!({"a": ["t\"1", "x"], "b": {"c": "t\"1"}, "d": "token"})
        );
    }
}
