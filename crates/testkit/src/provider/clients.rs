//! Clients: who they are, and how they register.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::codes::identifier;
use super::engine::{Call, Engine};
use super::error::OauthError;
use super::http::Response;

/// The client that sent a back-channel request, authenticated if it has a secret (RFC 6749 section 2.3).
pub(crate) fn authenticate(call: &Call) -> Result<String, OauthError> {
    let refuse = |description| OauthError::new("invalid_client", description);
    let in_body = call.form.get("client_id");
    let (client_id, secret) = match call.request.header("authorization") {
        Some(header) => {
            let (client_id, secret) =
                basic_credentials(header).ok_or(refuse("not HTTP Basic credentials"))?;
            if call.form.get("client_secret").is_some() {
                return Err(OauthError::invalid_request(
                    "more than one way of client authentication",
                ));
            }
            if in_body.is_some_and(|other| other != client_id) {
                return Err(OauthError::invalid_request("two clients in one request"));
            }
            (client_id, Some(secret))
        }
        None => (
            in_body.ok_or(refuse("no client_id"))?.to_owned(),
            call.form.get("client_secret").map(str::to_owned),
        ),
    };
    if !call.settings.knows(&client_id) {
        return Err(refuse("unknown client"));
    }
    if secret != call.settings.client_secret {
        return Err(refuse("wrong client secret, or none, or one too many"));
    }
    Ok(client_id)
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let joined = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client_id, secret) = joined.split_once(':')?;
    Some((form_decode(client_id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    let pair = format!("v={text}");
    let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    Some(value.into_owned())
}

impl Engine {
    /// RFC 7591, for public native clients.
    pub(crate) fn register(&self, call: &Call) -> Response {
        let Ok(mut metadata @ Value::Object(_)) = serde_json::from_slice(&call.request.body) else {
            return Response::oauth_error(400, "invalid_client_metadata", "not a JSON object");
        };
        metadata["client_id"] = json!(identifier());
        metadata["token_endpoint_auth_method"] = json!("none");
        self.json(call, 201, metadata)
    }
}
