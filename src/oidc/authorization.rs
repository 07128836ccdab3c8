//! The authorization request (OIDC Core 3.1.2.1, RFC 7636, RFC 8252).

use oauth2::{CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use std::borrow::Cow;
use url::Url;

use super::client_auth::client::Client;
use crate::config::address::check_url;
use crate::config::settings::{ResponseMode, Settings};
use crate::error::{Failure, Result};
use crate::secret::Secret;

/// One authorization request, made anew for every sign-in.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Where the browser is sent. Validated: `https`, or this machine.
    pub url: Url,
    /// Ties the response to this request (RFC 6749 section 10.12).
    pub state: Secret,
    /// Ties the ID token to this request.
    pub nonce: Secret,
    /// Ties the code to this process (RFC 7636).
    pub verifier: Secret,
}

impl AuthorizationRequest {
    /// Makes a request whose response comes back to `redirect_uri`.
    pub fn new(client: &Client, settings: &Settings, redirect_uri: &str) -> Result<Self> {
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| Failure::internal("the redirect address is no address"))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = Secret::new(CsrfToken::new_random().into_secret());
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .map_err(|_| {
                Failure::config(
                    "the provider offers no sign-in by browser",
                    "gatepass login --device",
                )
            })?
            .set_redirect_uri(Cow::Owned(redirect_uri))
            .set_pkce_challenge(challenge)
            .add_scopes(settings.scopes.iter().cloned().map(Scope::new))
            .add_extra_param("nonce", nonce.expose());
        if settings.redirect.response_mode == ResponseMode::FormPost {
            request = request.add_extra_param("response_mode", "form_post");
        }
        if let Some(prover) = client.prover() {
            request = request.add_extra_param("dpop_jkt", prover.thumbprint());
        }
        if let Some(hint) = &settings.login_hint {
            request = request.add_extra_param("login_hint", hint);
        }
        if let Some(audience) = &settings.audience {
            request = request.add_extra_param("audience", audience);
        }
        for resource in &settings.resource {
            request = request.add_extra_param("resource", resource);
        }
        // OIDC Core section 11: without consent a provider ignores `offline_access`. An organisation whose
        // provider remembers consent sets `prompt` itself; an empty value leaves the parameter out.
        let asks_for_offline_access = settings.scopes.iter().any(|s| s == "offline_access");
        if asks_for_offline_access && !settings.authorize_params.contains_key("prompt") {
            request = request.add_extra_param("prompt", "consent");
        }
        let given = settings.authorize_params.iter();
        for (name, value) in given.filter(|(_, value)| !value.is_empty()) {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        check_url(url.as_str())
            .or_else(|reason| match url.as_str().len() {
                // A long request (many scopes, long resources) is no reason to refuse it.
                length if length > 2048 => check_url(&url[..url::Position::AfterPath]),
                _ => Err(reason),
            })
            .map_err(|reason| Failure::untrusted(format!("the authorization endpoint {reason}")))?;
        Ok(Self {
            url,
            state: Secret::new(state.secret()),
            nonce,
            verifier: Secret::new(verifier.secret()),
        })
    }
}
