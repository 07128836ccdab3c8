//! The gateway, with the token that hosts would show it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use oauth2::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};
use url::Url;

use super::jwt::UnverifiedClaims;
use super::{CheckResult, network};
use crate::caller::Deadline;
use crate::config::settings::{AuthScheme, Settings};
use crate::error::{Failure, Id};
use crate::oidc::transport::http::{Http, HttpError};
use crate::session::record::IssuedToken;
use crate::text;

/// Longest time for a list of models, and for one token of a model.
const MODELS: Duration = Duration::from_secs(15);
const MESSAGE: Duration = Duration::from_secs(30);

/// The version of the API that hosts name.
const API_VERSION: &str = "2023-06-01";

/// Longest word of the gateway that is shown, in characters.
const SAID: usize = 200;

/// Whether anything answers at the gateway's address. No token is sent.
pub(super) fn reachable(settings: &Settings) -> CheckResult {
    let Some(base) = &settings.gateway_url else {
        return not_configured();
    };
    match ask(settings, base, "/v1/models", None, None) {
        Ok(answer) if answer.status().is_server_error() => not_now(base, answer.status()),
        Ok(answer) => CheckResult::ok(format!(
            "{base} answers (status {} without a token)",
            answer.status().as_u16()
        )),
        Err(finding) => finding,
    }
}

/// Asks for the models, and one model for one token.
pub(super) fn check(
    settings: &Settings,
    token: Option<&IssuedToken>,
    model: Option<&str>,
) -> Vec<(&'static str, CheckResult)> {
    let Some(base) = &settings.gateway_url else {
        return vec![
            ("gateway", not_configured()),
            ("gateway-model", unasked(model)),
        ];
    };
    let Some(token) = token else {
        let why = "there is no valid token to show it";
        let until =
            || CheckResult::skipped_until(why, "gatepass token, then gatepass doctor again");
        return vec![("gateway", until()), ("gateway-model", until())];
    };
    let (mut models, listed) = match ask(settings, base, "/v1/models", Some(token), None) {
        Ok(answer) => {
            let listed = models_of(&answer);
            (judge(settings, base, token, &answer, What::Models), listed)
        }
        Err(finding) => (finding, Vec::new()),
    };
    let Some(name) = model else {
        return vec![("gateway", models), ("gateway-model", unasked(None))];
    };
    let body = json!({
        "model": name,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "ping"}],
    });
    let answered = match ask(settings, base, "/v1/messages", Some(token), Some(&body)) {
        Ok(answer) => judge(
            settings,
            base,
            token,
            &answer,
            What::Message {
                model: name,
                listed: &listed,
            },
        ),
        Err(finding) => finding,
    };
    // A gateway without a list of models is fine if the model answers.
    if matches!(answered, CheckResult::Ok(_))
        && let CheckResult::Failed(failure) = &models
        && failure.id == Id::Config
    {
        models = CheckResult::warning(
            format!("{}; the model answers all the same", failure.what),
            "name the models in the host's configuration: it finds none by itself",
        );
    }
    vec![("gateway", models), ("gateway-model", answered)]
}

fn not_configured() -> CheckResult {
    CheckResult::skipped_until(
        "`gateway_url` is not configured",
        "set `gateway_url` to the gateway's address, without /v1",
    )
}

fn unasked(model: Option<&str>) -> CheckResult {
    match model {
        None => CheckResult::skipped_until("no model was named", "gatepass doctor --model NAME"),
        Some(_) => CheckResult::skipped("there is no gateway to ask"),
    }
}

fn not_now(base: &str, status: StatusCode) -> CheckResult {
    Failure::new(
        Id::Unavailable,
        format!("{base} answers {}: it cannot serve now", status.as_u16()),
        "run it again in a few minutes, then tell the gateway's administrator",
    )
    .into()
}

/// One request. What prevents an answer is explained.
fn ask(
    settings: &Settings,
    base: &str,
    path: &str,
    token: Option<&IssuedToken>,
    body: Option<&Json>,
) -> Result<HttpResponse, CheckResult> {
    let wrong = |what: String| {
        CheckResult::from(Failure::config(
            what,
            "correct `gateway_url` and `headers` (gatepass config show)",
        ))
    };
    let address = format!("{}{path}", base.trim_end_matches('/'));
    let url = Url::parse(&address).map_err(|error| wrong(format!("{address}: {error}")))?;
    let request = request(settings, &url, token, body).map_err(|error| wrong(error.to_string()))?;
    let time = if body.is_some() { MESSAGE } else { MODELS };
    let http = Http::for_url(settings, &url, Deadline::after(time)).map_err(CheckResult::from)?;
    http.send(request)
        .map_err(|error| unanswered(settings, &url, error))
}

fn request(
    settings: &Settings,
    url: &Url,
    token: Option<&IssuedToken>,
    body: Option<&Json>,
) -> Result<HttpRequest, http::Error> {
    let mut request = Request::builder()
        .method(if body.is_some() {
            Method::POST
        } else {
            Method::GET
        })
        .uri(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header("anthropic-version", API_VERSION);
    if let Some(token) = token {
        for (name, value) in &token.headers {
            request = request.header(name.parse::<HeaderName>()?, value.expose());
        }
        let value = token.value.expose();
        let (name, value) = match settings.auth_scheme {
            AuthScheme::Bearer => (header::AUTHORIZATION, format!("Bearer {value}")),
            AuthScheme::XApiKey => (HeaderName::from_static("x-api-key"), value.to_owned()),
        };
        let mut value = HeaderValue::try_from(value)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes()),
        None => request.body(Vec::new()),
    }
}

fn unanswered(settings: &Settings, url: &Url, error: HttpError) -> CheckResult {
    match &error {
        HttpError::Tls { .. } => network::tls(settings, url, Some(&error)),
        HttpError::NotSent { host, why } | HttpError::NoAddress { host, why } => {
            let proxy = network::Proxy::towards(settings, url).ok().flatten();
            let way = proxy.map_or_else(String::new, |proxy| {
                format!(" through the proxy {}", proxy.shown())
            });
            Failure::new(
                Id::Unavailable,
                format!("cannot connect to the gateway {host}{way}: {why}"),
                "check `gateway_url`, and whether this network (VPN, proxy) reaches it",
            )
            .into()
        }
        HttpError::NoAnswer { host, why } | HttpError::Lost { host, why } => Failure::new(
            Id::Unavailable,
            format!("the gateway {host} does not answer: {why}"),
            "run it again in a few minutes, then tell the gateway's administrator",
        )
        .into(),
        _ => Failure::from(error).into(),
    }
}

/// What was asked for.
#[derive(Clone, Copy)]
enum What<'a> {
    Models,
    Message {
        model: &'a str,
        listed: &'a [String],
    },
}

/// What an answer means.
fn judge(
    settings: &Settings,
    base: &str,
    token: &IssuedToken,
    answer: &HttpResponse,
    what: What<'_>,
) -> CheckResult {
    let status = answer.status();
    let code = status.as_u16();
    let said = said(answer, token);
    let said = said.map_or_else(String::new, |said| format!(": \"{said}\""));
    let failed = |what: String, remedy: &str| CheckResult::from(Failure::config(what, remedy));
    let ends_in_v1 = base.trim_end_matches('/').ends_with("/v1");
    match code {
        200..=299 => judge_success(base, answer, what),
        300..=399 => {
            let to = answer
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .and_then(crate::config::address::host_of)
                .map_or_else(String::new, |host| {
                    format!(" to {}", text::from_server(&host))
                });
            failed(
                format!("{base} redirects{to} ({code}): a page for people, not an API"),
                "set `gateway_url` to the address that takes tokens, not to one behind a web sign-in",
            )
        }
        401 => failed(
            format!(
                "the gateway refuses the token (401){said}; {}",
                shown(settings, token)
            ),
            match settings.auth_scheme {
                AuthScheme::Bearer => {
                    "compare this issuer and audience with what the gateway expects; a gateway that wants x-api-key needs auth_scheme = \"x-api-key\""
                }
                AuthScheme::XApiKey => {
                    "compare this issuer and audience with what the gateway expects; a gateway that wants a bearer token needs auth_scheme = \"bearer\""
                }
            },
        ),
        403 => failed(
            format!("the gateway knows the token and refuses what it is for (403){said}"),
            "ask the gateway's administrator to allow this account (role, group, model)",
        ),
        404 if ends_in_v1 => failed(
            format!(
                "{base} has no such page (404): /v1 is in the address, and hosts add it themselves"
            ),
            "take /v1 off the end of `gateway_url`",
        ),
        404 | 405 => match what {
            What::Message { model, listed } if listed.iter().any(|one| one == model) => failed(
                format!(
                    "the gateway lists {model}, and {base}/v1/messages is not there ({code}){said}: this address may not serve the Messages API"
                ),
                "set `gateway_url` to the address under which the gateway serves Anthropic's Messages API",
            ),
            What::Message { model, listed } if !said.is_empty() => failed(
                format!("the gateway does not serve {model} ({code}){said}"),
                &unknown_model(model, listed),
            ),
            _ => failed(
                format!("{base} has no such page ({code}){said}"),
                "check `gateway_url`; if the gateway only lacks a list of models, try --model NAME",
            ),
        },
        400 | 422 => match what {
            What::Message { model, listed } => failed(
                format!("the gateway does not take a request for {model} ({code}){said}"),
                &unknown_model(model, listed),
            ),
            What::Models => failed(
                format!("the gateway does not understand the request ({code}){said}"),
                "check `headers`, and ask the gateway's administrator which ones it needs",
            ),
        },
        407 => failed(
            "the proxy wants to be signed in to (407)".to_owned(),
            "put the proxy's account into `proxy`, or have the gateway exempted from it",
        ),
        429 => CheckResult::warning(
            format!("the gateway takes the token and answers \"too many requests\" (429){said}"),
            "wait, or ask the gateway's administrator about limits",
        ),
        500..=599 => Failure::new(
            Id::Unavailable,
            format!("the gateway fails ({code}){said}"),
            "run it again in a few minutes, then tell the gateway's administrator",
        )
        .into(),
        _ => failed(
            format!("the gateway answers {code}{said}"),
            "ask the gateway's administrator what that means",
        ),
    }
}

fn judge_success(base: &str, answer: &HttpResponse, what: What<'_>) -> CheckResult {
    let body: Option<Json> = serde_json::from_slice(answer.body()).ok();
    let Some(body) = body else {
        return Failure::config(
            format!("{base} answers with something that is not JSON: not a gateway, or a page in between"),
            "open any web page: a network sign-in page may be in the way; then check `gateway_url`",
        )
        .into();
    };
    match what {
        What::Models => match models_of(answer).as_slice() {
            [] if body.get("data").is_some_and(Json::is_array) => CheckResult::warning(
                "the gateway takes the token and lists no model",
                "ask the gateway's administrator to allow this account a model",
            ),
            [] => CheckResult::ok(
                "the gateway takes the token (its list of models has a form of its own)",
            ),
            models => {
                let some: Vec<&str> = models.iter().take(3).map(String::as_str).collect();
                let more = match models.len().saturating_sub(some.len()) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                CheckResult::ok(format!(
                    "the gateway takes the token; models: {}{more}",
                    text::printable(&some.join(", "), SAID)
                ))
            }
        },
        What::Message { model, .. } if body.get("content").is_some() => {
            CheckResult::ok(format!("{model} answers"))
        }
        What::Message { model, .. } => CheckResult::warning(
            format!("the gateway's answer for {model} is no message of the Anthropic API"),
            "ask the gateway's administrator for its Anthropic-compatible address",
        ),
    }
}

/// The names in a list of models.
fn models_of(answer: &HttpResponse) -> Vec<String> {
    let body: Json = serde_json::from_slice(answer.body()).unwrap_or_default();
    let list = body.get("data").and_then(Json::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|model| model.get("id")?.as_str())
        .map(text::from_server)
        .collect()
}

fn unknown_model(model: &str, listed: &[String]) -> String {
    match text::nearest(model, listed.iter().map(String::as_str)) {
        Some(near) if near != model => format!("did you mean --model {near}?"),
        _ => match listed.first() {
            Some(first) => format!("name a model that the gateway lists, such as {first}"),
            None => "ask the gateway's administrator for the names of its models".to_owned(),
        },
    }
}

/// Issuer and audience of the token that was refused, which is what operators ask for first.
fn shown(settings: &Settings, token: &IssuedToken) -> String {
    match UnverifiedClaims::read(token.value.expose()) {
        Some(UnverifiedClaims(claims)) => {
            let claim = |name: &str| {
                let value = claims.get(name).cloned().unwrap_or(Json::Null);
                text::printable(&value.to_string(), 100)
            };
            format!("it has iss {} and aud {}", claim("iss"), claim("aud"))
        }
        None => format!("it is opaque, issued by {}", settings.issuer),
    }
}

/// What the gateway says about a refusal, without the token in case it quotes it.
fn said(answer: &HttpResponse, token: &IssuedToken) -> Option<String> {
    let body: Option<Json> = serde_json::from_slice(answer.body()).ok();
    let from_body = body.as_ref().and_then(|body| {
        let error = body.get("error");
        [
            error.and_then(|error| error.get("message")),
            error,
            body.get("message"),
            body.get("detail"),
        ]
        .into_iter()
        .flatten()
        .find_map(Json::as_str)
    });
    let from_header = answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok());
    let mut said = from_body.or(from_header)?.to_owned();
    let headers = token.headers.values().filter(|value| value.len() > 3);
    for sent in std::iter::once(&token.value).chain(headers) {
        said = text::without(&said, sent.expose());
    }
    Some(text::printable(&said, SAID)).filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Settings;
    use crate::session::record::tests::sample;

    fn answer(status: u16, body: &str) -> HttpResponse {
        let mut answer = HttpResponse::new(body.as_bytes().to_vec());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    }

    #[test]
    fn a_listed_model_without_a_messages_api_is_told() {
        let settings =
            Settings::of_session(&Default::default(), "https://idp.example", "c").unwrap();
        let token = sample().token.unwrap();
        let what = What::Message {
            model: "small",
            listed: &["small".to_owned()],
        };
        for body in ["", r#"{"error":{"message":"Not Found"}}"#] {
            let found = judge(
                &settings,
                "https://gw.example",
                &token,
                &answer(404, body),
                what,
            );
            assert!(
                found.what().contains("may not serve the Messages API"),
                "{}",
                found.what()
            );
        }
    }

    #[test]
    fn every_answer_has_a_meaning_and_a_remedy() {
        let settings =
            Settings::of_session(&Default::default(), "https://idp.example", "c").unwrap();
        let token = sample().token.unwrap();
        let base = "https://gw.example";
        let list = r#"{"data":[{"id":"small"},{"id":"large"}]}"#;
        let error = r#"{"error":{"message":"no at here"}}"#;
        for (base, status, body, word, says) in [
            (base, 200, list, "ok", "small, large"),
            (base, 200, r#"{"data":[]}"#, "warning", "no model"),
            (base, 200, "<html>", "failed", "not JSON"),
            (base, 302, "", "failed", "redirects"),
            (base, 401, error, "failed", "no … here"),
            (base, 403, error, "failed", "403"),
            (base, 404, "", "failed", "404"),
            ("https://gw.example/v1/", 404, "", "failed", "hosts add it"),
            (base, 407, "", "failed", "proxy"),
            (base, 429, "", "warning", "429"),
            (base, 503, "", "failed", "503"),
            (base, 418, "", "failed", "418"),
        ] {
            let found = judge(&settings, base, &token, &answer(status, body), What::Models);
            assert_eq!(found.word(), word, "{status}");
            assert!(found.what().contains(says), "{status}: {}", found.what());
            assert_eq!(found.remedy().is_none(), word == "ok", "{status}");
        }
    }

    #[test]
    fn a_mistyped_model_gets_the_nearest_one() {
        let settings =
            Settings::of_session(&Default::default(), "https://idp.example", "c").unwrap();
        let token = sample().token.unwrap();
        let listed = ["claude-small".to_owned(), "claude-large".to_owned()];
        let what = What::Message {
            model: "claude-smal",
            listed: &listed,
        };
        let refused = answer(404, r#"{"error":{"message":"unknown model"}}"#);
        let found = judge(&settings, "https://gw.example", &token, &refused, what);
        assert_eq!(found.remedy(), Some("did you mean --model claude-small?"));
    }
}
