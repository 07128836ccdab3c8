//! Makes access tokens (RFC 9068), ID tokens, and the answer that carries them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::codes::{at_hash, base64url, identifier};
use super::engine::{Call, Engine};
use super::error::OauthError;
use super::grants::{Grant, Redeemed};
use super::http::{Response, lock};
use super::keys::Signer;
use super::script::Faults;
use super::settings::Settings;

/// Whether an answer has an ID token. Core 12.2 and the device flow want it without a nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdToken {
    None,
    WithNonce,
    WithoutNonce,
}

/// A stable subject identifier that is not the account's name.
fn subject(account: &str) -> String {
    base64url(&Sha256::digest(account)[..12])
}

/// A display name from the account: `alex@example.test` is Alex.
fn display_name(account: &str) -> String {
    let local = account.split('@').next().unwrap_or_default();
    let mut letters = local.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// One audience is a string, several are a list.
fn audience_claim(audience: &[String], settings: &Settings) -> Value {
    match audience {
        [] => json!(settings.audience),
        [one] => json!(one),
        several => json!(several),
    }
}

impl Engine {
    /// The answer of the token endpoint to a grant that was redeemed.
    pub(crate) fn token_answer(
        &self,
        call: &Call,
        redeemed: &Redeemed,
        id_token: IdToken,
    ) -> Result<Response, OauthError> {
        let mut grant = redeemed.grant.clone();
        let wanted = call.form.audience();
        if !wanted.is_empty() {
            let granted = &grant.audience;
            if !granted.is_empty() && wanted.iter().any(|target| !granted.contains(target)) {
                return Err(OauthError::new("invalid_target", "not what was granted"));
            }
            grant.audience = wanted;
        }
        let answer = self.tokens(redeemed, &grant, &call.settings, &call.faults, id_token);
        Ok(self.json(call, 200, answer))
    }

    /// The members of a token answer.
    pub(crate) fn tokens(
        &self,
        redeemed: &Redeemed,
        grant: &Grant,
        settings: &Settings,
        faults: &Faults,
        id_token: IdToken,
    ) -> Value {
        let access_token = self.access_token(grant, settings, faults);
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": settings.access_token_seconds,
            "scope": grant.scope,
        });
        if let Some(refresh_token) = &redeemed.refresh_token {
            self.remember(refresh_token);
            answer["refresh_token"] = json!(refresh_token);
        }
        if let Some(seconds) = redeemed.session_seconds {
            answer["refresh_expires_in"] = json!(seconds);
        }
        if id_token != IdToken::None && grant.has_scope("openid") && !settings.oauth_only {
            let with_nonce = id_token == IdToken::WithNonce;
            answer["id_token"] =
                json!(self.id_token(grant, settings, faults, &access_token, with_nonce));
        }
        answer
    }

    pub(crate) fn access_token(
        &self,
        grant: &Grant,
        settings: &Settings,
        faults: &Faults,
    ) -> String {
        let now = settings.now();
        let mut claims = json!({
            "iss": self.issuer(settings),
            "sub": subject(&grant.account),
            "aud": audience_claim(&grant.audience, settings),
            "iat": now,
            "exp": now + settings.access_token_seconds,
            "jti": identifier(),
            "client_id": grant.client_id,
            "email": grant.account,
            "scope": grant.scope,
        });
        pad(&mut claims, settings.access_token_padding);
        faults.edit_access_claims(&mut claims);
        let mut token = self.sign_access_token(&claims, settings);
        faults.edit_access_token(&mut token);
        self.remember(&token);
        token
    }

    /// Signs any claims as an access token.
    pub(crate) fn sign_access_token(&self, claims: &Value, settings: &Settings) -> String {
        let signer = Signer {
            signing: settings.signing,
            typ: "at+jwt",
            forgery: None,
            client_id: "",
        };
        lock(&self.keys).sign(&signer, claims, &|_| {})
    }

    fn id_token(
        &self,
        grant: &Grant,
        settings: &Settings,
        faults: &Faults,
        access_token: &str,
        with_nonce: bool,
    ) -> String {
        let now = settings.now();
        let mut claims = json!({
            "iss": self.issuer(settings),
            "sub": subject(&grant.account),
            "aud": grant.client_id,
            "iat": now,
            "exp": now + settings.id_token_seconds,
            "auth_time": grant.auth_time,
            "at_hash": at_hash(access_token),
            "email": grant.account,
            "name": display_name(&grant.account),
        });
        if let Some(nonce) = grant.nonce.as_ref().filter(|_| with_nonce) {
            claims["nonce"] = json!(nonce);
        }
        pad(&mut claims, settings.id_token_padding);
        faults.edit_claims(&mut claims);
        let signer = Signer {
            signing: settings.signing,
            typ: "JWT",
            forgery: faults.forgery(),
            client_id: &grant.client_id,
        };
        let token = lock(&self.keys).sign(&signer, &claims, &|header| {
            faults.edit_jose_header(header);
        });
        self.remember(&token);
        token
    }
}

/// Real tokens carry group memberships and grow by kilobytes.
fn pad(claims: &mut Value, characters: usize) {
    if characters > 0 {
        claims["padding"] = json!("x".repeat(characters));
    }
}
