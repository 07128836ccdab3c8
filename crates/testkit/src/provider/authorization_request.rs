//! What a client asks for at the authorization endpoint, and the checks it must pass.

use url::{Host, Url};

use super::codes::is_s256_challenge;
use super::error::OauthError;
use super::params::Params;
use super::settings::Settings;

/// The way back to the client.
#[derive(Clone, Debug)]
pub(crate) struct ReturnPath {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) form_post: bool,
}

/// An authorization request that passed all checks.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) back: ReturnPath,
    pub(crate) login_hint: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: String,
    pub(crate) audience: Vec<String>,
}

/// A request that failed a check. Without a trustworthy way back the browser stays here.
pub(crate) struct Refused {
    pub(crate) error: OauthError,
    pub(crate) back: Option<ReturnPath>,
}

impl AuthorizationRequest {
    pub(crate) fn parse(params: &Params, settings: &Settings) -> Result<Self, Refused> {
        let stay = |error| Refused { error, back: None };
        let client_id = params.require("client_id").map_err(stay)?;
        if !settings.knows(client_id) {
            return Err(stay(OauthError::new(
                "unauthorized_client",
                "unknown client",
            )));
        }
        let redirect_uri = params.require("redirect_uri").map_err(stay)?;
        if !is_native_redirect(redirect_uri) {
            return Err(stay(OauthError::invalid_request(
                "redirect_uri is not a loopback address",
            )));
        }
        let path_of = |uri: &str| Url::parse(uri).map(|url| url.path().to_owned()).ok();
        if settings.redirect_path.is_some() && path_of(redirect_uri) != settings.redirect_path {
            return Err(stay(OauthError::invalid_request(
                "redirect_uri is not registered",
            )));
        }
        params.check_unique().map_err(stay)?;
        let mut back = ReturnPath {
            redirect_uri: redirect_uri.to_owned(),
            state: params.get("state").map(str::to_owned),
            form_post: false,
        };
        match params.get("response_mode") {
            None | Some("query") => {}
            Some("form_post") => back.form_post = true,
            Some(_) => {
                return Err(Refused {
                    error: OauthError::invalid_request("unknown response_mode"),
                    back: Some(back),
                });
            }
        }
        let refuse = |error, description| Refused {
            error: OauthError::new(error, description),
            back: Some(back.clone()),
        };
        if params.get("response_type") != Some("code") {
            return Err(refuse(
                "unsupported_response_type",
                "only code is supported",
            ));
        }
        if params.get("code_challenge_method") != Some("S256") {
            return Err(refuse("invalid_request", "PKCE with S256 is required"));
        }
        let challenge = params
            .get("code_challenge")
            .filter(|challenge| is_s256_challenge(challenge))
            .ok_or_else(|| refuse("invalid_request", "code_challenge is missing or malformed"))?;
        if params.get("prompt") == Some("none") && !settings.auto_approve {
            return Err(refuse("login_required", "nobody is signed in here"));
        }
        Ok(Self {
            client_id: client_id.to_owned(),
            scope: params.get("scope").unwrap_or_default().to_owned(),
            login_hint: params.get("login_hint").map(str::to_owned),
            nonce: params.get("nonce").map(str::to_owned),
            challenge: challenge.to_owned(),
            audience: params.audience(),
            back,
        })
    }
}

/// RFC 8252 section 7.3: any port of a loopback address, and `localhost` for those who still use it.
fn is_native_redirect(redirect_uri: &str) -> bool {
    Url::parse(redirect_uri).is_ok_and(|url| {
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        loopback && url.scheme() == "http" && url.fragment().is_none()
    })
}
