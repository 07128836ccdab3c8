//! The session record: the one entry per profile in the secret store.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::validity::Life;
use crate::clock;
use crate::config::settings::{Kind, Settings};
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::text::hex;

/// Version of the record's format. A newer one counts as absent: a record is never half understood. An older one is
/// read: fields that it lacks have a meaning when they are missing.
const FORMAT: u32 = 1;

/// The same for a record whose last answer has not been proved: what does not know the mark must not print from it.
const UNPROVEN_FORMAT: u32 = FORMAT + 1;

/// Largest record that is read, in bytes. (Provider tokens of 20 kB occur; a megabyte is an attack.)
const LIMIT: usize = 256 * 1024;

/// A token that can be printed, with what was decided when it was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub value: Secret,
    /// When it was issued and ends, in milliseconds since 1970.
    pub life: Life,
    /// When it arrived, in milliseconds since 1970: what `--force-refresh` compares its own start with.
    pub obtained_at_ms: u64,
    /// Headers for the gateway, placeholders filled in. Some may be secrets of the person's.
    pub headers: BTreeMap<String, Secret>,
    /// Digest of the configuration under which it was issued ([`Settings::token_digest`]).
    pub digest: String,
}

/// A token of the provider's that is not printed but exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderToken {
    /// The token.
    pub value: Secret,
    /// When it was issued and ends, in milliseconds since 1970.
    pub life: Life,
    /// Digest of the configuration that it was issued under.
    pub digest: String,
}

/// Life of a pasted key in the cache, in milliseconds. The key itself has no end; the store is asked again then.
const KEY_CACHED: u64 = 60 * 60 * 1000;

/// Why a sign-in is needed where a header's secret is missing.
pub fn missing_header(name: &str) -> String {
    format!("the secret for the header {name} has not been given yet")
}

/// How the user signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedInBy {
    /// Browser with loopback redirect.
    Browser,
    /// Device code.
    Device,
    /// Not at all: a pasted key.
    Key,
}

impl SignedInBy {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Device => "device code",
            Self::Key => "pasted key",
        }
    }
}

/// The last answer to a refresh failed its checks: its refresh token is kept, and nothing of it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproven {
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// What was wrong, in words for people.
    pub why: String,
    /// What could prove the session again.
    pub proof: Proof,
}

/// What could prove a session whose last answer failed its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The ID token of a later answer.
    NextIdToken,
    /// Only a sign-in: the provider has renewed it without an ID token.
    NextSignIn,
}

/// Which of all records a profile's entry holds, or held when it was read. Moments are not compared: clocks are set
/// back, and generations of different issuers have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordIdentity {
    generation: u64,
    issuer: String,
    client_id: String,
    rotations: u64,
}

/// Everything that belongs to one sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Grows with each sign-in and sign-out; a cached token of another generation is not used.
    pub generation: u64,
    /// The issuer that this session belongs to.
    pub issuer: String,
    /// The client that this session belongs to.
    pub client_id: String,
    /// The only endpoint that the refresh token is ever sent to.
    pub token_endpoint: String,
    /// `sub` of the ID token.
    pub subject: String,
    /// The refresh token, if the provider issued one.
    pub refresh_token: Option<Secret>,
    /// How many answers to a refresh this session has taken.
    pub rotations: u64,
    /// Set while the last answer has not been proved.
    pub unproven: Option<Unproven>,
    /// The key that the refresh token is bound to (RFC 9449), as Base64 of PKCS#8.
    pub bound_to: Option<Secret>,
    /// The token to print; missing where a refresh succeeded but its result could not be checked.
    pub token: Option<IssuedToken>,
    /// The provider's token that is exchanged for the one to print.
    pub exchanged_from: Option<ProviderToken>,
    /// The user's secrets for the gateway, by header name.
    pub secret_headers: BTreeMap<String, Secret>,
    /// Secret of a client that registered itself (RFC 7591), if it was given one.
    pub client_secret: Option<Secret>,
    /// ID-token claims that people are shown and headers are made of.
    pub claims: Map<String, Json>,
    /// When the user signed in, in seconds since 1970.
    pub signed_in_at: u64,
    /// When the provider last issued something, in seconds since 1970.
    pub refreshed_at: u64,
    /// When the provider says that the session ends, in seconds since 1970.
    pub ends_at: Option<u64>,
    /// How the user signed in.
    pub signed_in_by: SignedInBy,
}

/// The record as JSON. Borrowed texts, so that no copy of a secret stays behind unwiped.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    v: u32,
    generation: u64,
    #[serde(borrow)]
    issuer: Cow<'a, str>,
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow)]
    token_endpoint: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    rotations: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unproven: Option<Unproven>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    bound_to: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    token: Option<WireToken<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    exchanged_from: Option<WireProviderToken<'a>>,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    secret_headers: Texts<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    client_secret: Option<Cow<'a, str>>,
    claims: Map<String, Json>,
    signed_in_at: u64,
    refreshed_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<u64>,
    signed_in_by: SignedInBy,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Names and secrets, not copied where JSON has no escapes in them.
type Texts<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

fn borrowed(secrets: &BTreeMap<String, Secret>) -> Texts<'_> {
    secrets
        .iter()
        .map(|(name, secret)| (name.as_str().into(), secret.expose().into()))
        .collect()
}

fn owned(texts: Texts<'_>) -> BTreeMap<String, Secret> {
    texts
        .into_iter()
        .map(|(name, text)| (name.into_owned(), Secret::new(&*text)))
        .collect()
}

/// A [`ProviderToken`] as JSON.
#[derive(Serialize, Deserialize)]
struct WireProviderToken<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
    issued_at_ms: u64,
    expires_at_ms: u64,
    /// Missing in records of the first versions: what they have is renewed first.
    #[serde(borrow, default)]
    digest: Cow<'a, str>,
}

/// An [`IssuedToken`] as JSON, in the record and in the cache.
#[derive(Serialize, Deserialize)]
struct WireToken<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
    issued_at_ms: u64,
    expires_at_ms: u64,
    obtained_at_ms: u64,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: Texts<'a>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
}

impl<'a> WireToken<'a> {
    fn of(token: &'a IssuedToken) -> Self {
        Self {
            value: token.value.expose().into(),
            issued_at_ms: token.life.issued_at_ms,
            expires_at_ms: token.life.expires_at_ms,
            obtained_at_ms: token.obtained_at_ms,
            headers: borrowed(&token.headers),
            digest: token.digest.as_str().into(),
        }
    }

    fn take(self) -> IssuedToken {
        IssuedToken {
            value: Secret::new(&*self.value),
            life: Life {
                issued_at_ms: self.issued_at_ms,
                expires_at_ms: self.expires_at_ms,
            },
            obtained_at_ms: self.obtained_at_ms,
            headers: owned(self.headers),
            digest: self.digest.into_owned(),
        }
    }
}

impl IssuedToken {
    /// Short digest by which a file without secrets tells one token from another.
    pub fn value_digest(&self) -> String {
        hex(&Sha256::digest(self.value.expose())[..16])
    }

    /// The bytes of a cache entry, which belongs to a generation.
    ///
    /// # Errors
    /// `internal` where it cannot be written.
    pub fn to_cache(&self, generation: u64) -> Result<Zeroizing<Vec<u8>>> {
        to_json(&(generation, WireToken::of(self)))
    }

    /// Reads a cache entry: the token if it belongs to this generation and configuration.
    pub fn from_cache(bytes: &[u8], generation: u64, digest: &str) -> Option<Self> {
        let (of, token): (u64, WireToken<'_>) = serde_json::from_slice(bytes).ok()?;
        (of == generation && token.digest == digest).then(|| token.take())
    }
}

impl Settings {
    /// The settings as the client that a session belongs to: it may have registered itself.
    pub fn as_client_of(&self, record: &Record) -> Cow<'_, Self> {
        if self.registers_itself() {
            Cow::Owned(self.as_client(&record.client_id, record.client_secret.as_ref()))
        } else {
            Cow::Borrowed(self)
        }
    }
}

impl Record {
    /// The bytes that are stored.
    ///
    /// # Errors
    /// [`Id::Internal`](crate::error::Id::Internal) where they cannot be written; half a record is never stored.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        to_json(&Wire {
            v: match self.unproven {
                None => FORMAT,
                Some(_) => UNPROVEN_FORMAT,
            },
            generation: self.generation,
            issuer: self.issuer.as_str().into(),
            client_id: self.client_id.as_str().into(),
            token_endpoint: self.token_endpoint.as_str().into(),
            subject: self.subject.as_str().into(),
            refresh_token: self.refresh_token.as_ref().map(|t| t.expose().into()),
            rotations: self.rotations,
            unproven: self.unproven.clone(),
            bound_to: self.bound_to.as_ref().map(|key| key.expose().into()),
            token: self.token.as_ref().map(WireToken::of),
            exchanged_from: self.exchanged_from.as_ref().map(|token| WireProviderToken {
                value: token.value.expose().into(),
                issued_at_ms: token.life.issued_at_ms,
                expires_at_ms: token.life.expires_at_ms,
                digest: token.digest.as_str().into(),
            }),
            secret_headers: borrowed(&self.secret_headers),
            client_secret: self.client_secret.as_ref().map(|s| s.expose().into()),
            claims: self.claims.clone(),
            signed_in_at: self.signed_in_at,
            refreshed_at: self.refreshed_at,
            ends_at: self.ends_at,
            signed_in_by: self.signed_in_by,
        })
    }

    /// Reads stored bytes. What is damaged, of a newer format or too large counts as absent (`None`).
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LIMIT {
            return None;
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).ok()?;
        let known = wire.v <= FORMAT || (wire.v == UNPROVEN_FORMAT && wire.unproven.is_some());
        known.then(|| Self {
            generation: wire.generation,
            issuer: wire.issuer.into_owned(),
            client_id: wire.client_id.into_owned(),
            token_endpoint: wire.token_endpoint.into_owned(),
            subject: wire.subject.into_owned(),
            refresh_token: wire.refresh_token.map(|t| Secret::new(&*t)),
            rotations: wire.rotations,
            unproven: wire.unproven,
            bound_to: wire.bound_to.map(|key| Secret::new(&*key)),
            token: wire.token.map(WireToken::take),
            exchanged_from: wire.exchanged_from.map(|token| ProviderToken {
                value: Secret::new(&*token.value),
                life: Life {
                    issued_at_ms: token.issued_at_ms,
                    expires_at_ms: token.expires_at_ms,
                },
                digest: token.digest.into_owned(),
            }),
            secret_headers: owned(wire.secret_headers),
            client_secret: wire.client_secret.map(|secret| Secret::new(&*secret)),
            claims: wire.claims,
            signed_in_at: wire.signed_in_at,
            refreshed_at: wire.refreshed_at,
            ends_at: wire.ends_at,
            signed_in_by: wire.signed_in_by,
        })
    }

    /// Which record this is.
    pub fn identity(&self) -> RecordIdentity {
        RecordIdentity {
            generation: self.generation,
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            rotations: self.rotations,
        }
    }

    /// Whether this is the same sign-in, however often it was renewed.
    pub fn is_same_sign_in(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.issuer == other.issuer
            && self.client_id == other.client_id
    }

    /// Whether this session was made for the configured issuer and client. If not, there is no session: its
    /// tokens are neither used nor sent anywhere.
    pub fn belongs_to(&self, settings: &Settings) -> bool {
        let same_client = if settings.registers_itself() {
            !self.client_id.is_empty()
        } else {
            self.client_id == settings.client_id
        };
        let is_key = self.signed_in_by == SignedInBy::Key;
        self.issuer == settings.issuer && same_client && is_key == (settings.kind == Kind::Key)
    }

    /// Whether the organisation has ended this session by a remote sign-out (`session_not_before`).
    pub fn is_recalled(&self, settings: &Settings) -> bool {
        settings
            .session_not_before
            .is_some_and(|moment| self.signed_in_at < moment)
    }

    /// Why this session must not be used, although it belongs to the configuration.
    pub fn unusable(&self, settings: &Settings) -> Option<String> {
        if self.is_recalled(settings) {
            return Some("your organisation has ended all earlier sessions".to_owned());
        }
        settings
            .secret_headers
            .iter()
            .find(|name| !self.secret_headers.contains_key(*name))
            .map(|name| missing_header(name))
    }

    /// The token, if it was issued under the configuration in force. A pasted key does not depend on it.
    pub fn token_for(&self, settings: &Settings) -> Option<IssuedToken> {
        let token = self.token.as_ref()?;
        if settings.kind != Kind::Key {
            return (token.digest == settings.token_digest).then(|| token.clone());
        }
        let now = clock::now_millis();
        let plain = settings
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Secret::new(value.as_str())));
        let secret = settings.secret_headers.iter().filter_map(|name| {
            let secret = self.secret_headers.get(name)?;
            Some((name.clone(), secret.clone()))
        });
        Some(IssuedToken {
            value: token.value.clone(),
            life: Life {
                issued_at_ms: now,
                expires_at_ms: now.saturating_add(KEY_CACHED),
            },
            obtained_at_ms: now,
            headers: plain.chain(secret).collect(),
            digest: settings.token_digest.clone(),
        })
    }

    /// The account's name, for people: an address or name from the claims, else the subject.
    pub fn account(&self) -> &str {
        ["email", "preferred_username", "upn", "name"]
            .into_iter()
            .find_map(|claim| self.claims.get(claim).and_then(Json::as_str))
            .unwrap_or(if self.subject.is_empty() {
                "an account without a name"
            } else {
                &self.subject
            })
    }
}

/// Serialises into memory that is wiped, and that never moves: a growing buffer would leave copies behind.
fn to_json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>> {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // Texts, numbers and maps with text keys always serialise.
    let impossible = |error| Failure::internal(format!("a record cannot be written: {error}"));
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_err(impossible)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(count.0));
    serde_json::to_writer(&mut *bytes, value).map_err(impossible)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Record {
        Record {
            generation: 7,
            issuer: "https://idp.example".to_owned(),
            client_id: "desktop".to_owned(),
            token_endpoint: "https://idp.example/token".to_owned(),
            subject: "248289761001".to_owned(),
            refresh_token: Some(Secret::new("rt")),
            rotations: 0,
            unproven: None,
            bound_to: None,
            token: Some(IssuedToken {
                value: Secret::new("at"),
                life: Life {
                    issued_at_ms: 100_000,
                    expires_at_ms: 400_000,
                },
                obtained_at_ms: 100_250,
                headers: BTreeMap::new(),
                digest: "d".to_owned(),
            }),
            exchanged_from: None,
            secret_headers: BTreeMap::new(),
            client_secret: None,
            claims: Map::from_iter([("email".to_owned(), Json::from("ann@example.com"))]),
            signed_in_at: 100,
            refreshed_at: 100,
            ends_at: None,
            signed_in_by: SignedInBy::Browser,
        }
    }

    #[test]
    fn the_stored_bytes_are_exactly_these() {
        assert_eq!(
            std::str::from_utf8(&sample().to_bytes().unwrap()).unwrap(),
            r#"{"v":1,"generation":7,"issuer":"https://idp.example","client_id":"desktop","token_endpoint":"https://idp.example/token","subject":"248289761001","refresh_token":"rt","token":{"value":"at","issued_at_ms":100000,"expires_at_ms":400000,"obtained_at_ms":100250,"digest":"d"},"claims":{"email":"ann@example.com"},"signed_in_at":100,"refreshed_at":100,"signed_in_by":"browser"}"#
        );
        assert_eq!(
            Record::from_bytes(&sample().to_bytes().unwrap()),
            Some(sample())
        );
    }

    #[test]
    fn escaped_secrets_survive() {
        let mut record = sample();
        record.refresh_token = Some(Secret::new("a\"b\\c\u{e9}"));
        record.bound_to = Some(Secret::new("MIGHAgEAMBMG"));
        assert_eq!(
            Record::from_bytes(&record.to_bytes().unwrap()),
            Some(record)
        );
    }

    #[test]
    fn what_is_not_understood_is_absent() {
        let newer = String::from_utf8(sample().to_bytes().unwrap().to_vec())
            .unwrap()
            .replace("\"v\":1", "\"v\":3");
        for bytes in [&b""[..], b"{", b"null", b"\xff", newer.as_bytes()] {
            assert_eq!(Record::from_bytes(bytes), None);
        }
    }

    #[test]
    fn an_unproven_record_is_none_for_versions_that_do_not_know_the_mark() {
        let mut record = sample();
        record.rotations = 3;
        record.unproven = Some(Unproven {
            since: 9,
            why: "no key".to_owned(),
            proof: Proof::NextIdToken,
        });
        let bytes = record.to_bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with(r#"{"v":2,"#), "{text}");
        assert!(
            text.contains(
                r#""rotations":3,"unproven":{"since":9,"why":"no key","proof":"next-id-token"}"#
            ),
            "{text}"
        );
        assert_eq!(Record::from_bytes(&bytes), Some(record));
        // The next format without the mark is a newer version's.
        let newer = String::from_utf8(sample().to_bytes().unwrap().to_vec())
            .unwrap()
            .replace("\"v\":1", "\"v\":2");
        assert_eq!(Record::from_bytes(newer.as_bytes()), None);
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        let older = String::from_utf8(sample().to_bytes().unwrap().to_vec())
            .unwrap()
            .replace(&format!("\"v\":{FORMAT}"), &format!("\"v\":{}", FORMAT - 1));
        assert_eq!(Record::from_bytes(older.as_bytes()), Some(sample()));
    }

    #[test]
    fn a_cache_entry_belongs_to_one_generation_and_configuration() {
        let token = sample().token.unwrap();
        let bytes = token.to_cache(7).unwrap();
        assert_eq!(IssuedToken::from_cache(&bytes, 7, "d"), Some(token));
        assert_eq!(IssuedToken::from_cache(&bytes, 8, "d"), None);
        assert_eq!(IssuedToken::from_cache(&bytes, 7, "e"), None);
        assert_eq!(IssuedToken::from_cache(b"junk", 7, "d"), None);
    }
}
