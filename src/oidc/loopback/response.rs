//! The authorization response in a redirect's parameters (RFC 6749 section 4.1.2, RFC 9207).

use super::page::Parties;
use crate::secret::Secret;

/// Longest authorization code that is accepted, in bytes.
const CODE: usize = 8 * 1024;

/// What the response to our authorization request must look like.
#[derive(Debug)]
pub struct Expected {
    /// Our `state`.
    pub state: Secret,
    /// The issuer, which RFC 9207's `iss` must equal.
    pub issuer: String,
    /// Whether the provider promised to send `iss`.
    pub issuer_required: bool,
    /// Whose sign-in this is, for the page.
    pub parties: Parties,
}

/// The authorization response.
#[derive(Debug)]
pub enum AuthorizationResult {
    /// The user signed in.
    Code(Secret),
    /// The provider refuses.
    Error {
        /// The OAuth error code.
        code: String,
        /// The provider's words.
        description: Option<String>,
    },
    /// The state is ours, but the response comes from another issuer or names none (RFC 9207 section 2.4).
    WrongIssuer,
}

/// The answer in a redirect's parameters, or `None` if it is not a response to our request.
///
/// `state` comes before everything else, also before `error`: a sender that does not know it cannot end a sign-in
/// (cross-site request forgery, RFC 6749 section 10.12).
pub fn read_parameters(parameters: &[u8], expected: &Expected) -> Option<AuthorizationResult> {
    let mut state = None;
    let mut code = None;
    let mut error = None;
    let mut description = None;
    let mut issuer = None;
    for (name, value) in url::form_urlencoded::parse(parameters) {
        let place = match &*name {
            "state" => &mut state,
            "code" => &mut code,
            "error" => &mut error,
            "error_description" => &mut description,
            "iss" => &mut issuer,
            _ => continue,
        };
        // RFC 6749 section 3.1: parameters must not repeat.
        if place.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    if !expected.state.equals(&state?) {
        return None;
    }
    match issuer {
        Some(issuer) if issuer != expected.issuer => return Some(AuthorizationResult::WrongIssuer),
        None if expected.issuer_required => return Some(AuthorizationResult::WrongIssuer),
        _ => {}
    }
    match (code, error) {
        (Some(code), None) => {
            let fine =
                (1..=CODE).contains(&code.len()) && code.bytes().all(|b| matches!(b, 0x20..=0x7E));
            fine.then(|| AuthorizationResult::Code(Secret::new(code)))
        }
        (None, Some(code)) => Some(AuthorizationResult::Error { code, description }),
        _ => None,
    }
}
