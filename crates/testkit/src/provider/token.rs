//! The token endpoint and the revocation endpoint.

use serde_json::json;

use super::clients::authenticate;
use super::engine::{Call, Engine};
use super::error::OauthError;
use super::grants::Grant;
use super::http::{Response, lock};
use super::jwt::Jwt;
use super::mint::IdToken;

impl Engine {
    pub(crate) fn token(&self, call: &Call) -> Result<Response, OauthError> {
        let client_id = authenticate(call)?;
        if call.settings.single_use_assertions {
            self.take_assertion(call, &client_id)?;
        }
        match call.form.require("grant_type")? {
            "authorization_code" => self.code_grant(call, &client_id),
            "refresh_token" => self.refresh_grant(call, &client_id),
            "urn:ietf:params:oauth:grant-type:device_code" if call.settings.device_flow => {
                self.device_grant(call, &client_id)
            }
            "urn:ietf:params:oauth:grant-type:token-exchange" => {
                self.exchange_grant(call, client_id)
            }
            _ => Err(OauthError::new(
                "unsupported_grant_type",
                "no such grant here",
            )),
        }
    }

    /// RFC 7523 section 3: the assertion is the client's own, and was not shown before. That its signature is right is
    /// tried with a certified provider.
    fn take_assertion(&self, call: &Call, client_id: &str) -> Result<(), OauthError> {
        let refuse = |description| Err(OauthError::new("invalid_client", description));
        let Some(assertion) = call.form.get("client_assertion").and_then(Jwt::decode) else {
            return refuse("no client assertion");
        };
        let text = |name: &str| assertion.claims[name].as_str().unwrap_or_default();
        if text("iss") != client_id || text("sub") != client_id {
            return refuse("another client's assertion");
        }
        let id = text("jti");
        if id.is_empty() || !lock(&self.assertions).insert(id.to_owned()) {
            return refuse("the assertion was used before");
        }
        Ok(())
    }

    fn code_grant(&self, call: &Call, client_id: &str) -> Result<Response, OauthError> {
        let redeemed = lock(&self.grants).redeem_code(
            call.form.require("code")?,
            client_id,
            call.form.require("redirect_uri")?,
            call.form.require("code_verifier")?,
            &call.settings,
        )?;
        self.token_answer(call, &redeemed, IdToken::WithNonce)
    }

    fn refresh_grant(&self, call: &Call, client_id: &str) -> Result<Response, OauthError> {
        let token = call.form.require("refresh_token")?;
        let mut redeemed = lock(&self.grants).refresh(token, client_id, &call.settings)?;
        if let Some(narrower) = call.form.get("scope") {
            if narrower
                .split(' ')
                .any(|scope| !redeemed.grant.has_scope(scope))
            {
                return Err(OauthError::new(
                    "invalid_scope",
                    "wider than what was granted",
                ));
            }
            narrower.clone_into(&mut redeemed.grant.scope);
        }
        let id_token = if call.settings.id_token_on_refresh {
            IdToken::WithoutNonce
        } else {
            IdToken::None
        };
        self.token_answer(call, &redeemed, id_token)
    }

    fn device_grant(&self, call: &Call, client_id: &str) -> Result<Response, OauthError> {
        let code = call.form.require("device_code")?;
        let redeemed = lock(&self.grants).poll_device(
            code,
            client_id,
            call.form.get("code_verifier").unwrap_or_default(),
            &call.settings,
        )?;
        self.token_answer(call, &redeemed, IdToken::WithoutNonce)
    }

    /// RFC 8693: one of the provider's own tokens for an access token with another audience.
    fn exchange_grant(&self, call: &Call, client_id: String) -> Result<Response, OauthError> {
        let settings = &call.settings;
        call.form.require("subject_token_type")?;
        let subject = Jwt::decode(call.form.require("subject_token")?)
            .filter(|token| {
                let jwks = lock(&self.keys).jwks(settings.signing);
                token.verify_signature(&jwks).is_ok()
                    && token.claims["exp"].as_u64() > Some(settings.now())
            })
            .ok_or(OauthError::invalid_request("subject_token is not valid"))?;
        let grant = Grant {
            client_id,
            account: subject.claims["email"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            scope: call.form.get("scope").unwrap_or_default().to_owned(),
            nonce: None,
            auth_time: settings.now(),
            audience: call.form.audience(),
        };
        let access_token = self.access_token(&grant, settings, &call.faults);
        let answer = json!({
            "access_token": access_token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": settings.access_token_seconds,
        });
        Ok(self.json(call, 200, answer))
    }

    /// RFC 7009. An access token of this provider is a JWT and lives until it expires.
    pub(crate) fn revoke(&self, call: &Call) -> Result<Response, OauthError> {
        let client_id = authenticate(call)?;
        lock(&self.grants).revoke(call.form.require("token")?, &client_id);
        Ok(Response::new(200).header("Cache-Control", "no-store"))
    }
}
