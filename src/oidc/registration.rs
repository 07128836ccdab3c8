//! Dynamic client registration (RFC 7591), for authorization servers at which no administrator has registered gatepass.

use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value as Json, json};
use url::Url;

use super::json::UniqueObject;
use super::transport::http::Http;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::secret::Secret;
use crate::text;

/// What the server calls us from now on.
#[derive(Debug)]
pub struct Registered {
    /// The client's id.
    pub client_id: String,
    /// Its secret, if the server gave one although none was asked for.
    pub client_secret: Option<Secret>,
}

/// Longest id that is believed, in bytes.
const ID: usize = 1024;

/// Registers a public native client, with this redirect address where the sign-in uses one.
pub fn register(
    http: &Http,
    endpoint: &Url,
    settings: &Settings,
    redirect_uri: Option<&str>,
) -> Result<Registered> {
    let mut metadata = json!({
        "client_name": "gatepass",
        "application_type": "native",
        "token_endpoint_auth_method": "none",
    });
    metadata["grant_types"] = match redirect_uri {
        Some(uri) => {
            metadata["redirect_uris"] = json!([uri]);
            metadata["response_types"] = json!(["code"]);
            json!(["authorization_code", "refresh_token"])
        }
        None => {
            metadata["redirect_uris"] = json!([]);
            metadata["response_types"] = json!([]);
            json!([
                "urn:ietf:params:oauth:grant-type:device_code",
                "refresh_token"
            ])
        }
    };
    if !settings.scopes.is_empty() {
        metadata["scope"] = settings.scopes.join(" ").into();
    }
    let request = http::Request::post(endpoint.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(metadata.to_string().into_bytes())
        .map_err(|_| Failure::internal("the registration's address cannot be requested"))?;
    let response = http.oauth_request(request)?;
    let answer = UniqueObject::parse(response.body()).ok();
    let word = |name: &str| {
        answer
            .as_ref()
            .and_then(|answer| answer.0.get(name))
            .and_then(Json::as_str)
    };
    if !response.status().is_success() {
        let said = word("error_description")
            .or(word("error"))
            .unwrap_or("no reason given");
        return Err(Failure::new(
            Id::Config,
            format!(
                "the authorization server does not register gatepass: {}",
                text::from_server(said)
            ),
            "have your administrator register a client and set `client_id`",
        )
        .told_by_provider());
    }
    let plain = |value: &str| value.len() <= ID && value.bytes().all(|b| matches!(b, 0x21..=0x7E));
    match word("client_id") {
        Some(id) if !id.is_empty() && plain(id) => Ok(Registered {
            client_id: id.to_owned(),
            client_secret: word("client_secret")
                .filter(|secret| !secret.is_empty() && plain(secret))
                .map(Secret::new),
        }),
        _ => Err(Failure::untrusted(
            "the authorization server registered gatepass without a proper `client_id`",
        )),
    }
}
