//! The OAuth client as it is registered, aimed at one provider's endpoints.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, StandardRevocableToken,
    StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::discovery::Metadata;
use crate::config::settings::{ClientAuth, Settings};
use crate::error::{Failure, Result};
use crate::platform::files::{self, Access};
use crate::secret::Secret;

/// Largest file of a client secret, in bytes.
const SECRET_FILE: u64 = 16 * 1024;

/// Members of a token answer beyond RFC 6749.
#[derive(Serialize, Deserialize)]
pub struct MoreFields {
    /// OIDC Core section 3.1.3.3.
    pub id_token: Option<String>,
    /// Keycloak and others: seconds until the refresh token ends.
    pub refresh_expires_in: Option<u64>,
}

/// The library wants it; the token stays out of it.
impl fmt::Debug for MoreFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MoreFields")
            .field("refresh_expires_in", &self.refresh_expires_in)
            .finish_non_exhaustive()
    }
}

impl ExtraTokenFields for MoreFields {}

/// A success of the token endpoint.
pub type TokenResponse = StandardTokenResponse<MoreFields, BasicTokenType>;

/// The client. Device authorization is there if the provider offers it.
pub type Client = oauth2::Client<
    BasicErrorResponse,
    TokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointMaybeSet,
    EndpointMaybeSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The configured client for this provider.
pub fn client(settings: &Settings, metadata: &Metadata) -> Result<Client> {
    let client = oauth2::Client::new(ClientId::new(settings.client_id.clone()))
        .set_auth_uri_option(
            metadata
                .authorization_endpoint
                .clone()
                .map(AuthUrl::from_url),
        )
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_device_authorization_url_option(
            metadata
                .device_authorization_endpoint
                .clone()
                .map(DeviceAuthorizationUrl::from_url),
        );
    Ok(match settings.client_auth {
        ClientAuth::None => client.set_auth_type(AuthType::RequestBody),
        ClientAuth::SecretBasic => client
            .set_auth_type(AuthType::BasicAuth)
            .set_client_secret(secret(settings)?),
        ClientAuth::SecretPost => client
            .set_auth_type(AuthType::RequestBody)
            .set_client_secret(secret(settings)?),
    })
}

/// A form request to an endpoint that the protocol library has no request for, with the client's
/// authentication (RFC 6749 section 2.3).
pub(super) fn form_request(
    url: &Url,
    form: &[(&str, &str)],
    client_id: &ClientId,
    settings: &Settings,
) -> Result<HttpRequest> {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let mut request =
        http::Request::post(url.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match settings.client_auth {
        ClientAuth::None => {
            body.append_pair("client_id", client_id);
        }
        ClientAuth::SecretPost => {
            body.append_pair("client_id", client_id);
            body.append_pair("client_secret", secret(settings)?.secret());
        }
        ClientAuth::SecretBasic => {
            let encoded = |text: &str| -> String {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let pair = format!(
                "{}:{}",
                encoded(client_id),
                encoded(secret(settings)?.secret())
            );
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
    }
    request
        .body(body.finish().into_bytes())
        .map_err(|_| Failure::internal("an endpoint's address cannot be requested"))
}

fn secret(settings: &Settings) -> Result<ClientSecret> {
    let secret = match (&settings.client_secret, &settings.client_secret_file) {
        (Some(secret), _) => secret.clone(),
        (None, Some(path)) => read_secret(path)?,
        (None, None) => Secret::new(""),
    };
    Ok(ClientSecret::new(secret.expose().to_owned()))
}

fn read_secret(path: &std::path::Path) -> Result<Secret> {
    let unusable = |why: String, remedy: String| {
        Failure::config(
            format!(
                "`client_secret_file` {} cannot be used: {why}",
                path.display()
            ),
            remedy,
        )
    };
    let bytes = files::read(path, Access::OwnerOnly, SECRET_FILE)
        .map_err(|reason| {
            unusable(
                reason.to_string(),
                format!("chmod 600 '{}'", path.display()),
            )
        })?
        .ok_or_else(|| {
            unusable(
                "there is no such file".to_owned(),
                "create it, readable by yourself alone".to_owned(),
            )
        })?;
    let bytes = zeroize::Zeroizing::new(bytes);
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(secret) if !secret.is_empty() && !secret.contains(char::is_control) => {
            Ok(Secret::new(secret))
        }
        _ => Err(unusable(
            "it does not hold one line of text".to_owned(),
            "write the client secret into it, alone".to_owned(),
        )),
    }
}
