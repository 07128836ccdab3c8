//! The authorization endpoint, its sign-in page, and pushed authorization requests.

use serde_json::json;
use url::Url;

use super::authorization_request::{AuthorizationRequest, Refused, ReturnPath};
use super::clients::authenticate;
use super::codes::identifier;
use super::engine::{Call, Engine};
use super::error::OauthError;
use super::grants::Grant;
use super::http::{Pairs, Response, lock};
use super::pages;
use super::params::Params;

impl Engine {
    /// Where the browser arrives.
    pub(crate) fn authorize(&self, call: &Call) -> Response {
        let parsed = self
            .requested(call)
            .map_err(|error| Refused { error, back: None })
            .and_then(|params| AuthorizationRequest::parse(&params, &call.settings));
        match parsed {
            Ok(request) if call.settings.auto_approve => {
                self.approve(call, &request, &call.settings.account)
            }
            Ok(request) => {
                let handle = identifier();
                let page = pages::sign_in(&handle, &request);
                lock(&self.pages).insert(handle, request);
                page
            }
            Err(Refused {
                error,
                back: Some(back),
            }) => self.go_back_with_error(call, &back, &error),
            Err(Refused { error, back: None }) => pages::error(error.error, error.description),
        }
    }

    /// The request's parameters, from the URL or from where they were pushed to.
    fn requested(&self, call: &Call) -> Result<Params, OauthError> {
        let Some(request_uri) = call.query.get("request_uri") else {
            if call.settings.par_required {
                return Err(OauthError::invalid_request("the request must be pushed"));
            }
            return Ok(call.query.clone());
        };
        // RFC 9126 section 4: for one use, and by the client that pushed it.
        lock(&self.pushed)
            .remove(request_uri)
            .filter(|pushed| pushed.get("client_id") == call.query.get("client_id"))
            .ok_or(OauthError::invalid_request("unknown or used request_uri"))
    }

    /// The form of the sign-in page.
    pub(crate) fn sign_in(&self, call: &Call) -> Response {
        let handle = call.form.get("page").unwrap_or_default();
        let Some(request) = lock(&self.pages).remove(handle) else {
            return pages::error("invalid_request", "This page was used before.");
        };
        if call.form.get("abort").is_some() {
            let error = OauthError::new("access_denied", "the person refused");
            return self.go_back_with_error(call, &request.back, &error);
        }
        let account = call.form.get("account").unwrap_or(&call.settings.account);
        self.approve(call, &request, account)
    }

    fn approve(&self, call: &Call, request: &AuthorizationRequest, account: &str) -> Response {
        let grant = Grant {
            client_id: request.client_id.clone(),
            account: account.to_owned(),
            scope: request.scope.clone(),
            nonce: request.nonce.clone(),
            auth_time: call.settings.now(),
            audience: request.audience.clone(),
        };
        let code =
            lock(&self.grants).add_code(grant, &request.back.redirect_uri, &request.challenge);
        self.remember(&code);
        self.go_back(call, &request.back, vec![("code".to_owned(), code)])
    }

    fn go_back_with_error(&self, call: &Call, back: &ReturnPath, error: &OauthError) -> Response {
        let parameters = [
            ("error", error.error),
            ("error_description", error.description),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.go_back(call, back, parameters.to_vec())
    }

    /// Sends the browser to the client, with `state` and `iss`.
    fn go_back(&self, call: &Call, back: &ReturnPath, mut parameters: Pairs) -> Response {
        if let Some(state) = &back.state {
            parameters.push(("state".to_owned(), state.clone()));
        }
        if call.settings.redirect_iss {
            parameters.push(("iss".to_owned(), self.issuer(&call.settings)));
        }
        call.faults.edit_redirect(&mut parameters);
        if back.form_post {
            return pages::form_post(&back.redirect_uri, &parameters);
        }
        let mut location = Url::parse(&back.redirect_uri).expect("it was parsed before");
        location.query_pairs_mut().extend_pairs(&parameters);
        Response::redirect(303, location.as_str())
    }

    /// RFC 9126.
    pub(crate) fn push(&self, call: &Call) -> Result<Response, OauthError> {
        authenticate(call)?;
        if call.form.get("request_uri").is_some() {
            return Err(OauthError::invalid_request(
                "request_uri inside a pushed request",
            ));
        }
        AuthorizationRequest::parse(&call.form, &call.settings).map_err(|refused| refused.error)?;
        let request_uri = format!("urn:ietf:params:oauth:request_uri:{}", identifier());
        lock(&self.pushed).insert(request_uri.clone(), call.form.clone());
        let answer = json!({"request_uri": request_uri, "expires_in": 60});
        Ok(self.json(call, 201, answer))
    }
}
