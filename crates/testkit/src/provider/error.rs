//! Errors of the provider's endpoints, in the words of RFC 6749 section 5.2 and its relatives.

use super::http::Response;

/// An error answer of a back-channel endpoint.
#[derive(Clone, Debug)]
pub(crate) struct OauthError {
    pub(crate) error: &'static str,
    pub(crate) description: &'static str,
}

impl OauthError {
    pub(crate) fn new(error: &'static str, description: &'static str) -> Self {
        Self { error, description }
    }

    pub(crate) fn invalid_request(description: &'static str) -> Self {
        Self::new("invalid_request", description)
    }

    pub(crate) fn invalid_grant(description: &'static str) -> Self {
        Self::new("invalid_grant", description)
    }

    pub(crate) fn into_response(self) -> Response {
        if self.error == "invalid_client" {
            Response::oauth_error(401, self.error, self.description)
                .header("WWW-Authenticate", "Basic realm=\"gatepass demo provider\"")
        } else {
            Response::oauth_error(400, self.error, self.description)
        }
    }
}
