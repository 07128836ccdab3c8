//! Metadata: OpenID Connect Discovery 1.0 and RFC 8414.

use serde_json::{Value, json};

use super::engine::Engine;
use super::settings::Settings;

impl Engine {
    /// Whether a metadata document lies at this path.
    pub(crate) fn is_metadata(&self, path: &str, settings: &Settings) -> bool {
        let issuer_path = settings.issuer_path.trim_end_matches('/');
        // OpenID appends to the issuer's path, RFC 8414 inserts before it.
        let openid = format!("{issuer_path}/.well-known/openid-configuration");
        let oauth = format!("/.well-known/oauth-authorization-server{issuer_path}");
        path == oauth || (path == openid && !settings.oauth_only)
    }

    /// The metadata document. Its lists are in an unusual order on purpose: clients must not rely on one.
    pub(crate) fn metadata(&self, settings: &Settings) -> Value {
        let base = &self.base;
        let mut grants = vec!["refresh_token", "authorization_code"];
        let mut metadata = json!({
            "issuer": self.issuer(settings),
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "revocation_endpoint": format!("{base}/revoke"),
            "jwks_uri": format!("{base}/jwks"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["form_post", "query"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["offline_access", "email", "profile", "openid"],
            "token_endpoint_auth_methods_supported": auth_methods(settings),
            "revocation_endpoint_auth_methods_supported": auth_methods(settings),
            "authorization_response_iss_parameter_supported": settings.redirect_iss,
        });
        if !settings.oauth_only {
            metadata["subject_types_supported"] = json!(["public"]);
            metadata["id_token_signing_alg_values_supported"] = json!([settings.signing.name()]);
            metadata["claims_supported"] = json!([
                "name",
                "email",
                "sub",
                "iss",
                "aud",
                "exp",
                "iat",
                "auth_time",
                "nonce"
            ]);
        }
        if settings.device_flow {
            grants.push("urn:ietf:params:oauth:grant-type:device_code");
            metadata["device_authorization_endpoint"] =
                json!(format!("{base}/device_authorization"));
        }
        if settings.par {
            metadata["pushed_authorization_request_endpoint"] = json!(format!("{base}/par"));
            metadata["require_pushed_authorization_requests"] = json!(settings.par_required);
        }
        if settings.registration {
            metadata["registration_endpoint"] = json!(format!("{base}/register"));
        }
        grants.push("urn:ietf:params:oauth:grant-type:token-exchange");
        metadata["grant_types_supported"] = json!(grants);
        metadata
    }
}

fn auth_methods(settings: &Settings) -> Value {
    if settings.client_secret.is_some() {
        json!(["client_secret_post", "client_secret_basic"])
    } else {
        json!(["none"])
    }
}
