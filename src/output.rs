//! What a host reads: one token, once, and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::caller::Host;
use crate::clock;
use crate::config::settings::{AuthScheme, Kind, Settings};
use crate::credential::{self, Use};
use crate::error::{Failure, Id, Result};
use crate::platform;
use crate::session::record::IssuedToken;

/// The shape in which a token is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
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

impl OutputFormat {
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

/// The exact bytes to print for a token of this kind of configuration. This is the last gate: wherever the token comes
/// from (provider, person, keychain, cache, worker), nothing is printed that would be more than one header.
///
/// # Errors
/// `untrusted-response` where the token or a header has characters that no header can carry, or is longer than 16 KiB.
pub fn render(
    token: &IssuedToken,
    shape: OutputFormat,
    scheme: AuthScheme,
    kind: Kind,
) -> Result<Zeroizing<Vec<u8>>> {
    let headers_fit = token.headers.iter().all(|(name, value)| {
        name.parse::<http::HeaderName>().is_ok() && credential::may_be_printed(value, Use::Header)
    });
    if !headers_fit || !credential::may_be_printed(&token.value, Use::Token) {
        return Err(Failure::untrusted(
            "the stored token, or a header that goes with it, has characters that no header can carry, or is longer than 16 KiB: nothing was printed",
        ));
    }
    let value = token.value.expose();
    let (name, credential) = match scheme {
        AuthScheme::Bearer => ("Authorization", Zeroizing::new(format!("Bearer {value}"))),
        AuthScheme::XApiKey => ("x-api-key", Zeroizing::new(value.to_owned())),
    };
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() + 64));
    match shape {
        OutputFormat::Bare => out.extend_from_slice(value.as_bytes()),
        OutputFormat::Header => {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(credential.as_bytes());
        }
        OutputFormat::Json => {
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
        OutputFormat::OAuth => {
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
        OutputFormat::Headers => {
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
    Ok(out)
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

/// Writes a token to standard output, once. A closed or full one is an error: the host would see an empty answer.
///
/// # Errors
/// `internal`: standard output is closed or full, or its reader has gone.
pub fn print_token(bytes: &[u8]) -> Result<()> {
    write(bytes).map_err(|error| not_taken(&error))
}

/// Writes what people read to standard output. Where its reader has gone (`gatepass doctor | head`), the rest is not
/// missed.
///
/// # Errors
/// `internal`: standard output is closed or full.
pub fn print(bytes: &[u8]) -> Result<()> {
    match write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| not_taken(&error)),
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    if platform::stdout_was_closed() {
        return Err(io::Error::other("it is closed"));
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

fn not_taken(why: &io::Error) -> Failure {
    Failure::new(
        Id::Internal,
        format!("standard output does not take the answer: {why}"),
        "check how the host or script reads gatepass's output",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::session::record::tests::sample;
    use crate::session::validity::Life;

    #[test]
    fn the_shapes_are_exactly_these() {
        let mut token = sample().token.unwrap();
        let text = |token: &IssuedToken, shape, scheme| {
            String::from_utf8(render(token, shape, scheme, Kind::Oidc).unwrap().to_vec()).unwrap()
        };
        use AuthScheme::{Bearer, XApiKey};
        assert_eq!(text(&token, OutputFormat::Bare, Bearer), "at\n");
        assert_eq!(
            text(&token, OutputFormat::Json, Bearer),
            "{\"token\":\"at\",\"headers\":{}}\n"
        );
        token
            .headers
            .insert("X-User".to_owned(), Secret::new("ann"));
        assert_eq!(
            text(&token, OutputFormat::Header, Bearer),
            "Authorization: Bearer at\n"
        );
        assert_eq!(
            text(&token, OutputFormat::Header, XApiKey),
            "x-api-key: at\n"
        );
        assert_eq!(
            text(&token, OutputFormat::Headers, Bearer),
            "{\"Authorization\":\"Bearer at\",\"X-User\":\"ann\"}\n"
        );
        assert_eq!(
            text(&token, OutputFormat::Headers, XApiKey),
            "{\"X-User\":\"ann\",\"x-api-key\":\"at\"}\n"
        );
    }

    #[test]
    fn nothing_is_printed_that_would_be_more_than_one_header() {
        let sound = sample().token.unwrap();
        let token = |value: &str| IssuedToken {
            value: Secret::new(value),
            ..sound.clone()
        };
        let header = |name: &str, value: &str| IssuedToken {
            headers: BTreeMap::from([(name.to_owned(), Secret::new(value))]),
            ..sound.clone()
        };
        for shape in [
            OutputFormat::Bare,
            OutputFormat::Json,
            OutputFormat::Header,
            OutputFormat::Headers,
            OutputFormat::OAuth,
        ] {
            for token in [
                token("sk-1\r\nX-Evil: 1"),
                token("sk-1\n"),
                token(""),
                token(&"x".repeat(40_000)),
                header("X-User", "ann\r\nX-Evil: 1"),
                header("X-User\r\nX-Evil: 1", "ann"),
            ] {
                let refused = render(&token, shape, AuthScheme::Bearer, Kind::Key).unwrap_err();
                assert_eq!(refused.id.exit_code(), 8, "{shape:?}");
                assert!(!refused.to_string().contains("Evil"), "{refused}");
            }
        }
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
            let bytes = render(&token, OutputFormat::OAuth, AuthScheme::XApiKey, kind).unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
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
