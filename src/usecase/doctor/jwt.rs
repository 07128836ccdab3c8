//! What a token says of itself. Nothing is verified: this is for telling people, never for deciding.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json};

/// The claims of a token that has the form of a JWT.
pub(super) struct UnverifiedClaims(pub(super) Map<String, Json>);

impl UnverifiedClaims {
    /// Reads the middle part. `None` for a token of any other form.
    pub(super) fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice(&bytes).ok().map(Self)
    }
}
