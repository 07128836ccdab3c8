//! Pushed authorization requests (RFC 9126): the request goes to the provider directly, and the browser carries
//! only a reference to it.

use http::StatusCode;
use serde_json::Value as Json;
use url::Url;

use super::authorization::AuthorizationRequest;
use super::client_auth::client::{self, Client};
use super::discovery::Metadata;
use super::json::UniqueObject;
use super::tokens::{self, Refusal, endpoint};
use super::transport::http::{Http, HttpError};
use crate::config::settings::{Settings, Usage};
use crate::error::{Failure, Id, Result};

/// Longest reference, in bytes: an address that carries it still fits everywhere.
const REFERENCE: usize = 1024;

/// Where requests are pushed to, if they are.
fn pushed_to<'m>(settings: &Settings, metadata: &'m Metadata) -> Result<Option<&'m Url>> {
    let required = metadata.require_pushed_authorization_requests;
    let offered = metadata.pushed_authorization_request_endpoint.as_ref();
    match (settings.par, offered) {
        (Usage::Never, _) if required => Err(Failure::config(
            "the provider insists on pushed authorization requests (RFC 9126), and `par` is \"never\"",
            "set `par` to \"auto\"",
        )),
        (Usage::Never, _) => Ok(None),
        (Usage::Always | Usage::Auto, Some(url)) => Ok(Some(url)),
        (Usage::Always, None) => Err(Failure::config(
            "`par` is \"always\" and the provider offers no pushed authorization requests (RFC 9126)",
            "set `par` to \"auto\", or have the provider offer them",
        )),
        (Usage::Auto, None) if required => Err(Failure::untrusted(
            "the provider insists on pushed authorization requests (RFC 9126) and does not say where",
        )),
        (Usage::Auto, None) => Ok(None),
    }
}

/// The address for the browser: the request itself, or the reference to it.
///
/// Each call pushes the request anew, because a reference is short-lived and good for one use.
pub fn address(
    http: &Http,
    client: &Client,
    metadata: &Metadata,
    settings: &Settings,
    request: &AuthorizationRequest,
) -> Result<Url> {
    let (Some(to), Some(authorization_endpoint)) = (
        pushed_to(settings, metadata)?,
        metadata.authorization_endpoint.as_ref(),
    ) else {
        return Ok(request.url.clone());
    };
    // The endpoint's own query is part of its address and not of the request.
    let own = authorization_endpoint.query_pairs().count();
    let pairs: Vec<_> = request.url.query_pairs().skip(own).collect();
    let form: Vec<(&str, &str)> = pairs
        .iter()
        .filter(|(name, _)| name != "client_id")
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let message = client::form_request(to, &form, client.client_id(), settings)?;
    let answer = endpoint(http, client)(message);
    let status = match &answer {
        Ok(response) if response.body().is_empty() => Some(response.status()),
        Err(HttpError::Status { status, .. }) => Some(*status),
        _ => None,
    };
    // Some providers announce an endpoint that their customer has not paid for.
    if status.is_some_and(is_missing) && may_fall_back(settings, metadata) {
        log::warn!("the provider announces pushed authorization requests and does not take them");
        return Ok(request.url.clone());
    }
    let response = answer.map_err(Failure::from)?;
    if !response.status().is_success() {
        return Err(refused(response.body()));
    }
    let reference = reference(response.body())?;
    let mut url = authorization_endpoint.clone();
    url.query_pairs_mut()
        .append_pair("client_id", client.client_id())
        .append_pair("request_uri", &reference);
    Ok(url)
}

fn is_missing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    )
}

/// Only where neither the provider nor the configuration asks for it.
fn may_fall_back(settings: &Settings, metadata: &Metadata) -> bool {
    settings.par == Usage::Auto && !metadata.require_pushed_authorization_requests
}

/// The reference in a provider's answer (section 2.2).
fn reference(body: &[u8]) -> Result<String> {
    let wrong = |what: &str| {
        Failure::untrusted(format!(
            "the provider's answer to the pushed authorization request {what}"
        ))
    };
    let object = UniqueObject::parse(body).map_err(|_| wrong("is malformed"))?;
    let reference = object.0.get("request_uri").and_then(Json::as_str);
    let usable = |reference: &&str| {
        (1..=REFERENCE).contains(&reference.len())
            && reference.bytes().all(|b| b.is_ascii_graphic())
            && Url::parse(reference).is_ok()
    };
    let life = object.0.get("expires_in").and_then(Json::as_u64);
    if life.is_none_or(|seconds| seconds == 0) {
        return Err(wrong("has no lifetime"));
    }
    reference
        .filter(usable)
        .map(str::to_owned)
        .ok_or_else(|| wrong("names no `request_uri`"))
}

fn refused(body: &[u8]) -> Failure {
    let object = UniqueObject::parse(body).ok();
    let member = |name: &str| {
        object
            .as_ref()
            .and_then(|object| object.0.get(name))
            .and_then(Json::as_str)
    };
    let Some(code) = member("error") else {
        return Failure::new(
            Id::Unavailable,
            "the provider refused the pushed authorization request without a reason",
            "run it again in a few minutes",
        )
        .told_by_provider();
    };
    match tokens::by_code(code, member("error_description")) {
        Refusal::Failure(failure) => failure,
        Refusal::GrantOver(said) => Failure::new(
            Id::SignInFailed,
            format!("the provider refused: {said}"),
            "gatepass login",
        )
        .told_by_provider(),
    }
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn a_reference_is_a_short_uri_with_a_lifetime() {
        let good = r#"{"request_uri":"urn:ietf:params:oauth:request_uri:x","expires_in":60}"#;
        assert_eq!(
            reference(good.as_bytes()).unwrap(),
            "urn:ietf:params:oauth:request_uri:x"
        );
        let long = format!(
            r#"{{"request_uri":"urn:{}","expires_in":60}}"#,
            "x".repeat(1024)
        );
        for bad in [
            "[]",
            "{}",
            r#"{"request_uri":"urn:x:y"}"#,
            r#"{"request_uri":"urn:x:y","expires_in":0}"#,
            r#"{"request_uri":"urn:x:y","expires_in":-1}"#,
            r#"{"request_uri":"","expires_in":60}"#,
            r#"{"request_uri":"no uri","expires_in":60}"#,
            r#"{"request_uri":"urn:x y","expires_in":60}"#,
            r#"{"request_uri":"urn:x:\n","expires_in":60}"#,
            r#"{"request_uri":7,"expires_in":60}"#,
            &long,
        ] {
            assert_eq!(
                reference(bad.as_bytes()).unwrap_err().id.exit_code(),
                8,
                "{bad}"
            );
        }
    }
}
