//! What a host reads: one token, once, and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::caller::Host;
use crate::clock;
use crate::config::settings::{AuthScheme, Kind, Settings};
use crate::error::{Failure, Id, Result};
use crate::platform;
use crate::session::record::IssuedToken;

/// The shape in which a token is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// The token and a newline.
    Bare,
    /// `{"token":"…","headers":{…}}` on one line.
    Json,
    /// One header line.
    Header,
    /// A flat JSON map of all headers, the credential's included.
    Headers,
    /// The token response of RFC 6749 section 5.1, with the time that is left.
    #[value(name = "oauth")]
    OAuth,
}

impl Shape {
    /// The shape that a caller gets if it did not ask for one.
    pub fn for_caller(host: Host, settings: &Settings) -> Self {
        let has_headers = !settings.headers.is_empty() || !settings.secret_headers.is_empty();
        if has_headers && host.reads_json() {
            Self::Json
        } else {
            Self::Bare
        }
    }

    /// Checks that everything that the configuration adds to a token can be printed in this shape.
    ///
    /// # Errors
    /// `config` where headers are configured and the shape has no place for them, although its reader would expect
    /// a complete credential.
    pub fn check(self, settings: &Settings) -> Result<()> {
        let has_headers = !settings.headers.is_empty() || !settings.secret_headers.is_empty();
        if self == Self::OAuth && has_headers {
            return Err(Failure::config(
                "`--output oauth` has no place for the headers that are configured",
                "use --output json or --output headers, or remove `headers` and `secret_headers`",
            ));
        }
        Ok(())
    }
}

/// The exact bytes to print for a token of this kind of configuration.
pub fn render(
    token: &IssuedToken,
    shape: Shape,
    scheme: AuthScheme,
    kind: Kind,
) -> Zeroizing<Vec<u8>> {
    let value = token.value.expose();
    let (name, credential) = match scheme {
        AuthScheme::Bearer => ("Authorization", Zeroizing::new(format!("Bearer {value}"))),
        AuthScheme::XApiKey => ("x-api-key", Zeroizing::new(value.to_owned())),
    };
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() + 64));
    match shape {
        Shape::Bare => out.extend_from_slice(value.as_bytes()),
        Shape::Header => {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(credential.as_bytes());
        }
        Shape::Json => {
            // Written by hand only as far as the order of the two members goes.
            out.extend_from_slice(b"{\"token\":");
            out.extend_from_slice(Value::from(value).to_string().as_bytes());
            out.extend_from_slice(b",\"headers\":");
            append(
                &mut out,
                &mut token.headers.iter().map(|(n, v)| (n.as_str(), v.expose())),
            );
            out.push(b'}');
        }
        Shape::OAuth => {
            // `expires_at` is the addition that SDKs know. What a pasted key is stored with is the cache's life, not the
            // key's.
            out.extend_from_slice(b"{\"access_token\":");
            out.extend_from_slice(Zeroizing::new(Value::from(value).to_string()).as_bytes());
            out.extend_from_slice(b",\"token_type\":\"Bearer\"");
            if kind != Kind::Key {
                let left = token.life.left(clock::now_millis());
                let end = token.life.expires_at();
                out.extend_from_slice(
                    format!(",\"expires_in\":{left},\"expires_at\":{end}").as_bytes(),
                );
            }
            out.push(b'}');
        }
        Shape::Headers => {
            let mut all: BTreeMap<&str, &str> = token
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.expose()))
                .collect();
            all.insert(name, &credential);
            append(&mut out, &mut all.into_iter());
        }
    }
    out.push(b'\n');
    out
}

/// Appends a JSON object of strings. Written straight into memory that is wiped.
fn append(out: &mut Zeroizing<Vec<u8>>, members: &mut dyn Iterator<Item = (&str, &str)>) {
    out.push(b'{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        for (text, end) in [(name, b':'), (value, b',')] {
            let quoted = Zeroizing::new(Value::from(text).to_string());
            out.extend_from_slice(quoted.as_bytes());
            if end == b':' {
                out.push(end);
            }
        }
    }
    out.push(b'}');
}

/// Writes to standard output, once. A closed or full one is an error: the host would see an empty answer.
pub fn print(bytes: &[u8]) -> Result<()> {
    let failed = |why: &str| {
        Failure::new(
            Id::Internal,
            format!("standard output does not take the answer: {why}"),
            "check how the host or script reads gatepass's output",
        )
    };
    if platform::stdout_was_closed() {
        return Err(failed("it is closed"));
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| failed(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::sample;
    use crate::session::validity::Life;

    #[test]
    fn the_shapes_are_exactly_these() {
        let mut token = sample().token.unwrap();
        let text = |token: &IssuedToken, shape, scheme| {
            String::from_utf8(render(token, shape, scheme, Kind::Oidc).to_vec()).unwrap()
        };
        use AuthScheme::{Bearer, XApiKey};
        assert_eq!(text(&token, Shape::Bare, Bearer), "at\n");
        assert_eq!(
            text(&token, Shape::Json, Bearer),
            "{\"token\":\"at\",\"headers\":{}}\n"
        );
        token
            .headers
            .insert("X-User".to_owned(), crate::secret::Secret::new("ann"));
        assert_eq!(
            text(&token, Shape::Header, Bearer),
            "Authorization: Bearer at\n"
        );
        assert_eq!(text(&token, Shape::Header, XApiKey), "x-api-key: at\n");
        assert_eq!(
            text(&token, Shape::Headers, Bearer),
            "{\"Authorization\":\"Bearer at\",\"X-User\":\"ann\"}\n"
        );
        assert_eq!(
            text(&token, Shape::Headers, XApiKey),
            "{\"X-User\":\"ann\",\"x-api-key\":\"at\"}\n"
        );
    }

    #[test]
    fn the_oauth_shape_says_what_is_left() {
        let mut token = sample().token.unwrap();
        token.life = Life {
            issued_at_ms: 1_700_000_000_000,
            expires_at_ms: 1_700_000_300_900,
        };
        clock::fake::set(Some(1_700_000_100_000));
        let text = |kind| {
            String::from_utf8(render(&token, Shape::OAuth, AuthScheme::XApiKey, kind).to_vec())
                .unwrap()
        };
        assert_eq!(
            text(Kind::Oidc),
            "{\"access_token\":\"at\",\"token_type\":\"Bearer\",\"expires_in\":200,\"expires_at\":1700000300}\n"
        );
        assert_eq!(
            text(Kind::Key),
            "{\"access_token\":\"at\",\"token_type\":\"Bearer\"}\n"
        );
        clock::fake::set(None);
    }
}
