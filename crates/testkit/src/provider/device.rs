//! The device flow (RFC 8628): the endpoint for the device, and the page for the person.

use serde_json::json;

use super::clients::authenticate;
use super::codes::{is_s256_challenge, normal_user_code};
use super::engine::{Call, Engine};
use super::error::OauthError;
use super::grants::Grant;
use super::http::{Response, lock};
use super::pages;

impl Engine {
    pub(crate) fn device_authorization(&self, call: &Call) -> Result<Response, OauthError> {
        let settings = &call.settings;
        let client_id = authenticate(call)?;
        // As Keycloak does where the client's "PKCE method" is S256.
        let challenge = call
            .form
            .get("code_challenge")
            .filter(|challenge| is_s256_challenge(challenge))
            .filter(|_| call.form.get("code_challenge_method") == Some("S256"));
        if settings.device_pkce && challenge.is_none() {
            return Err(OauthError::new(
                "invalid_request",
                "Missing parameter: code_challenge_method",
            ));
        }
        let grant = Grant {
            client_id,
            account: settings.account.clone(),
            scope: call.form.get("scope").unwrap_or_default().to_owned(),
            nonce: None,
            auth_time: settings.now(),
            audience: call.form.audience(),
        };
        let (device_code, user_code) = lock(&self.grants).add_device(grant, challenge, settings);
        let page = format!("{}/device", self.base);
        let answer = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": settings.device_expires_seconds,
            "interval": settings.device_interval_seconds,
        });
        self.remember(&device_code);
        Ok(self.json(call, 200, answer))
    }

    /// Asks for the code, or shows what a code is for.
    pub(crate) fn device_page(&self, call: &Call) -> Response {
        match call.query.get("user_code") {
            None => pages::enter_user_code(false),
            Some(typed) => {
                let user_code = normal_user_code(typed);
                match lock(&self.grants).client_of_user_code(&user_code) {
                    Some(client_id) => {
                        pages::confirm_device(&user_code, &client_id, &call.settings.account)
                    }
                    None => pages::enter_user_code(true),
                }
            }
        }
    }

    /// The form of the confirmation page.
    pub(crate) fn device_decision(&self, call: &Call) -> Response {
        let settings = &call.settings;
        let user_code = normal_user_code(call.form.get("user_code").unwrap_or_default());
        let account = match call.form.get("abort") {
            Some(_) => None,
            None => Some(call.form.get("account").unwrap_or(&settings.account)),
        };
        if lock(&self.grants).decide_device(&user_code, account, settings.now()) {
            pages::device_done(account.is_some())
        } else {
            pages::enter_user_code(true)
        }
    }
}
