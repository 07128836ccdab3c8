//! The OAuth client as it is registered, aimed at one provider's endpoints.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::assertion::Signer;
use super::key_files;
use crate::config::settings::{ClientAuth, Settings};
use crate::error::{Failure, Result};
use crate::oidc::discovery::Metadata;
use crate::oidc::dpop::Prover;
use crate::oidc::json::UniqueObject;
use crate::oidc::jws::NotSigned;
use crate::oidc::transport::http::{DPOP_NONCE, Http, HttpError};
use crate::secret::Secret;

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

/// The protocol library's part. Device authorization is there if the provider offers it.
type LibraryClient = oauth2::Client<
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

/// The client: what the protocol library knows of it, and how it shows who it is beyond that.
#[derive(Debug)]
pub struct Client {
    library: LibraryClient,
    identity: ClientIdentity,
    prover: Option<Prover>,
    token_endpoint: String,
}

/// What the library does not do for a client's authentication.
#[derive(Debug)]
enum ClientIdentity {
    /// Nothing: there is none, or it is a secret.
    Plain,
    /// RFC 7523.
    Assertion(Box<Signer>),
    /// RFC 8705.
    Certificate,
}

impl Deref for Client {
    type Target = LibraryClient;

    fn deref(&self) -> &LibraryClient {
        &self.library
    }
}

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
    let in_body = AuthType::RequestBody;
    let (library, identity) = match settings.client_auth {
        ClientAuth::None => (client.set_auth_type(in_body), ClientIdentity::Plain),
        ClientAuth::SecretBasic => (
            client
                .set_auth_type(AuthType::BasicAuth)
                .set_client_secret(secret(settings)?),
            ClientIdentity::Plain,
        ),
        ClientAuth::SecretPost => (
            client
                .set_auth_type(in_body)
                .set_client_secret(secret(settings)?),
            ClientIdentity::Plain,
        ),
        ClientAuth::PrivateKeyJwt => (
            client.set_auth_type(in_body),
            ClientIdentity::Assertion(Box::new(Signer::new(settings, metadata)?)),
        ),
        ClientAuth::Tls => (client.set_auth_type(in_body), ClientIdentity::Certificate),
    };
    Ok(Client {
        library,
        identity,
        prover: None,
        token_endpoint: metadata.token_endpoint.to_string(),
    })
}

impl Client {
    /// The same client, proving with each token request that it has this key.
    #[must_use]
    pub fn bound_to(self, prover: Option<Prover>) -> Self {
        Self { prover, ..self }
    }

    /// What its refresh tokens are bound to, if they are.
    pub fn prover(&self) -> Option<&Prover> {
        self.prover.as_ref()
    }

    /// Sends a form to one of the provider's endpoints, with everything that shows who sends it.
    pub(in crate::oidc) fn send(
        &self,
        http: &Http,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        self.send_at_most(&Cell::new(u32::MAX), http, request)
    }

    /// The same, at most as often as `sendings` still allows, which is counted down. The first sending is always made.
    pub(in crate::oidc) fn send_at_most(
        &self,
        sendings: &Cell<u32>,
        http: &Http,
        mut request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let count = || sendings.set(sendings.get().saturating_sub(1));
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Only what asks for tokens needs a proof (RFC 9449 section 5).
        let prover = self
            .prover
            .as_ref()
            .filter(|_| request.uri().to_string() == self.token_endpoint);
        count();
        let Some(prover) = prover else {
            return self.send_once(http, request);
        };
        let response = self.send_once(http, proven(prover, request.clone())?)?;
        let learnt = prover.learn(nonce(&response));
        // Section 8: the provider has done nothing but asked for its nonce.
        if learnt && asks_for_nonce(&response) && sendings.get() > 0 {
            count();
            let response = self.send_once(http, proven(prover, request)?)?;
            prover.learn(nonce(&response));
            return Ok(response);
        }
        Ok(response)
    }

    fn send_once(&self, http: &Http, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match &self.identity {
            ClientIdentity::Plain => http.oauth_request(request),
            ClientIdentity::Certificate => http.oauth_request_with_certificate(request),
            ClientIdentity::Assertion(signer) => {
                let parameters = signer
                    .parameters()
                    .map_err(|error| not_sent(&request, &error))?;
                let body = std::mem::take(request.body_mut());
                let start = body.len();
                let body = String::from_utf8(body)
                    .map_err(|error| not_sent(&request, &error.utf8_error()))?;
                let mut form = url::form_urlencoded::Serializer::for_suffix(body, 0);
                debug_assert!(start > 0, "a form names its client at least");
                form.extend_pairs(parameters);
                *request.body_mut() = form.finish().into_bytes();
                http.oauth_request(request)
            }
        }
    }
}

fn proven(prover: &Prover, mut request: HttpRequest) -> Result<HttpRequest, HttpError> {
    let url = Url::parse(&request.uri().to_string()).ok();
    let proof = url
        .and_then(|url| prover.proof(&url).ok())
        .and_then(|proof| HeaderValue::try_from(proof).ok())
        .ok_or_else(|| not_sent(&request, &NotSigned))?;
    request.headers_mut().insert("DPoP", proof);
    Ok(request)
}

fn not_sent(request: &HttpRequest, error: &dyn std::error::Error) -> HttpError {
    HttpError::NotSent {
        host: request.uri().host().unwrap_or_default().to_owned(),
        why: error.to_string(),
    }
}

fn nonce(response: &HttpResponse) -> Option<&str> {
    response.headers().get(DPOP_NONCE)?.to_str().ok()
}

fn asks_for_nonce(response: &HttpResponse) -> bool {
    !response.status().is_success()
        && UniqueObject::parse(response.body()).is_ok_and(|object| {
            object
                .0
                .get("error")
                .is_some_and(|error| error == "use_dpop_nonce")
        })
}

/// A form request to an endpoint that the protocol library has no request for, with the client's
/// authentication as far as the library would add it (RFC 6749 section 2.3).
pub(in crate::oidc) fn form_request(
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
        ClientAuth::None | ClientAuth::PrivateKeyJwt | ClientAuth::Tls => {
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
        (None, Some(path)) => key_files::client_secret(path)?,
        (None, None) => Secret::new(""),
    };
    Ok(ClientSecret::new(secret.expose().to_owned()))
}
