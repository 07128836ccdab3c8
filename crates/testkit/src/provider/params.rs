//! Request parameters by the rules of RFC 6749 section 3.1: none twice, and an empty one is no parameter.

use super::error::OauthError;
use super::http::Pairs;

/// Parameters of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Pairs);

impl From<Pairs> for Params {
    fn from(mut pairs: Pairs) -> Self {
        pairs.retain(|(_, value)| !value.is_empty());
        Self(pairs)
    }
}

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn require(&self, name: &str) -> Result<&str, OauthError> {
        self.get(name).ok_or(OauthError::invalid_request(
            "a required parameter is missing",
        ))
    }

    /// The targets that a client wants a token for: `resource` (RFC 8707), or `audience` as several products have it.
    pub(crate) fn audience(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|(key, _)| is_audience(key))
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Only a token's targets may be named several times.
    pub(crate) fn check_unique(&self) -> Result<(), OauthError> {
        let repeated = self.0.iter().enumerate().any(|(index, (key, _))| {
            !is_audience(key) && self.0[..index].iter().any(|(earlier, _)| earlier == key)
        });
        if repeated {
            return Err(OauthError::invalid_request("a parameter is repeated"));
        }
        Ok(())
    }
}

fn is_audience(name: &str) -> bool {
    matches!(name, "resource" | "audience")
}
