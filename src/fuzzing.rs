//! Fuzz targets: everything that reads what another program or person wrote.
//!
//! Each target takes any bytes. It must neither panic nor hang, and it asserts what must hold whatever the bytes are.
//! `cargo xtask fuzz` runs them for long with coverage; the test below runs every seed and some mutations of it with
//! every `cargo test`.

use std::sync::OnceLock;
use std::time::Duration;

use http::Request;

use crate::config::document::Document;
use crate::config::policy::Policy;
use crate::config::profile::ProfileName;
use crate::config::settings::{ResponseMode, Settings};
use crate::config::value::ConfigValue;
use crate::config::{self, Sources, UserFile};
use crate::oidc::client_auth::client;
use crate::oidc::discovery::Metadata;
use crate::oidc::id_token::{self, ValidationContext};
use crate::oidc::keys::Keys;
use crate::oidc::loopback::page::Parties;
use crate::oidc::loopback::{self, AuthorizationResult, Expected};
use crate::oidc::{device, tokens};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, Record};
use crate::text;

/// A target: its name, which is also its seeds' folder, and what it does with an input.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [FuzzTarget; 12] = [
    ("redirect_request", redirect_request),
    ("redirect_parameters", redirect_parameters),
    ("discovery", discovery),
    ("keys", keys),
    ("token_answer", token_answer),
    ("device_answer", device_answer),
    ("id_token", id_token),
    ("config_file", config_file),
    ("policy_file", policy_file),
    ("session_record", session_record),
    ("cache_entry", cache_entry),
    ("server_text", server_text),
];

const STATE: &str = "s-t-a-t-e";
const ISSUER: &str = "https://idp.example";

/// When the tokens among the seeds are valid.
const NOW: u64 = 1_700_000_010;

fn expected() -> Expected {
    Expected {
        state: Secret::new(STATE),
        issuer: ISSUER.to_owned(),
        issuer_required: false,
        parties: Parties::default(),
    }
}

fn sources(document: Document) -> Sources {
    Sources {
        policy: None,
        file: UserFile {
            path: "config.toml".into(),
            document: Some(document),
        },
    }
}

fn settings() -> &'static Settings {
    static MADE: OnceLock<Option<Settings>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let text = format!("issuer = '{ISSUER}'\nclient_id = 'c'");
        let document = Document::parse(text.as_bytes()).ok()?;
        config::load(&sources(document), &ProfileName::default()).ok()
    });
    let Some(settings) = made else {
        unreachable!("the configuration above is right");
    };
    settings
}

fn metadata() -> &'static Metadata {
    static MADE: OnceLock<Option<Metadata>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let text = format!(
            r#"{{"issuer":"{ISSUER}","token_endpoint":"{ISSUER}/t","jwks_uri":"{ISSUER}/k","device_authorization_endpoint":"{ISSUER}/d"}}"#
        );
        Metadata::parse(text.as_bytes(), settings()).ok()
    });
    let Some(metadata) = made else {
        unreachable!("the document above is right");
    };
    metadata
}

/// What an authorization response promises to the code that redeems it.
fn check_answer(answer: &AuthorizationResult, parameters: &[u8]) {
    let mut states = url::form_urlencoded::parse(parameters).filter(|(name, _)| name == "state");
    assert!(states.next().is_some_and(|(_, state)| state == STATE));
    assert!(states.next().is_none());
    if let AuthorizationResult::Code(code) = answer {
        assert!(!code.is_empty() && code.expose().bytes().all(|b| matches!(b, 0x20..=0x7E)));
    }
}

/// The query of a redirect, or the body of a form post.
pub fn redirect_parameters(bytes: &[u8]) {
    if let Some(answer) = loopback::read_parameters(bytes, &expected()) {
        check_answer(&answer, bytes);
    }
}

/// A request to the redirect's port: method, target and headers in lines, an empty line, the body.
pub fn redirect_request(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let mut request = Request::builder().method(line()).uri(line());
    for header in lines {
        let colon = header.iter().position(|byte| *byte == b':');
        let (name, value) = header.split_at(colon.unwrap_or(header.len()));
        request = request.header(name, value.strip_prefix(b":").unwrap_or(value).trim_ascii());
    }
    let Ok(request) = request.body(body) else {
        return;
    };
    for mode in [ResponseMode::Query, ResponseMode::FormPost] {
        let Some(answer) = loopback::judge(mode, &expected(), &request) else {
            continue;
        };
        let hosts: Vec<_> = request.headers().get_all("host").iter().collect();
        assert_eq!(hosts, ["127.0.0.1:4711"]);
        assert_eq!(request.uri().path(), "/callback");
        match mode {
            ResponseMode::Query => {
                assert_eq!(request.method(), "GET");
                check_answer(
                    &answer,
                    request.uri().query().unwrap_or_default().as_bytes(),
                );
            }
            ResponseMode::FormPost => {
                assert_eq!(request.method(), "POST");
                check_answer(&answer, body);
            }
        }
    }
}

/// A discovery document.
pub fn discovery(bytes: &[u8]) {
    if let Ok(metadata) = Metadata::parse(bytes, settings()) {
        let endpoints = [
            Some(&metadata.token_endpoint),
            metadata.authorization_endpoint.as_ref(),
            metadata.device_authorization_endpoint.as_ref(),
            metadata.revocation_endpoint.as_ref(),
        ];
        for endpoint in endpoints.into_iter().flatten() {
            assert!(endpoint.as_str().starts_with("https://"), "{endpoint}");
            assert!(endpoint.username().is_empty() && endpoint.password().is_none());
            assert!(endpoint.fragment().is_none());
        }
    }
}

/// A key set. None of its keys has signed anything.
pub fn keys(bytes: &[u8]) {
    use crate::oidc::keys::Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Rs512};
    for key in Keys::parse(bytes).iter().flat_map(Keys::iter) {
        for algorithm in [Rs512, Ps256, Es256, Es384, Es512, EdDsa] {
            for length in [0, 64, 96, 132, 256] {
                assert!(!key.has_signed(algorithm, b"a message", &vec![0; length]));
            }
        }
    }
}

/// A success of the token endpoint.
pub fn token_answer(bytes: &[u8]) {
    let body = tokens::in_standard_form(bytes.to_vec());
    let (Ok(response), Ok(client)) = (
        serde_json::from_slice(&body),
        client::client(settings(), metadata()),
    ) else {
        return;
    };
    if let Ok(grant) = tokens::grant(response, &client, settings()) {
        let _ = id_token::expiry_hint(&grant.access_token);
        // What is not printed may be odd; the check comes before printing.
        if tokens::check_printable(&grant.access_token).is_err() {
            return;
        }
        let token = grant.access_token.expose();
        let body = token.trim_end_matches('=');
        assert!(!body.is_empty() && token.len() <= 16 * 1024);
        assert!(
            body.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
        );
    }
}

/// An answer of the device authorization endpoint.
pub fn device_answer(bytes: &[u8]) {
    let body = tokens::in_standard_form(bytes.to_vec());
    let Ok(response) = serde_json::from_slice(&body) else {
        return;
    };
    let hour = Duration::from_secs(3600);
    if let Ok(instructions) = device::instructions(&response, settings(), &["idp.example"], hour) {
        let addresses = [
            Some(&instructions.address),
            instructions.complete_address.as_ref(),
        ];
        for address in addresses.into_iter().flatten() {
            let rest = address.strip_prefix("https://idp.example");
            let beneath = address.split('/').nth(2).is_some_and(|host| {
                host.split(':')
                    .next()
                    .is_some_and(|name| name.ends_with(".idp.example"))
            });
            assert!(
                beneath
                    || rest
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', ':'])),
                "{address}"
            );
            assert!(address.bytes().all(|b| b.is_ascii_graphic()));
        }
        assert!(instructions.user_code.is_ascii() && instructions.user_code.len() <= 20);
        assert!(instructions.expires_in <= hour);
    }
}

/// An ID token. Only the issuer can make one that is accepted.
pub fn id_token(bytes: &[u8]) {
    static KEYS: OnceLock<(Option<Keys>, Vec<String>)> = OnceLock::new();
    let (keys, genuine) = KEYS.get_or_init(|| {
        let made = include_str!("oidc/testdata/id_tokens.json");
        let made: serde_json::Value = serde_json::from_str(made).unwrap_or_default();
        let made = made["tokens"].as_array().cloned().unwrap_or_default();
        let keys: Vec<_> = made.iter().map(|one| &one["jwk"]).collect();
        let keys = serde_json::json!({ "keys": keys }).to_string();
        let tokens = made.iter().filter_map(|one| one["token"].as_str());
        (
            Keys::parse(keys.as_bytes()).ok(),
            tokens.map(str::to_owned).collect(),
        )
    });
    let (Some(keys), Ok(token)) = (keys, std::str::from_utf8(bytes)) else {
        return;
    };
    let all = [
        "none", "HS256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
        "ES512", "EdDSA", "Ed25519",
    ]
    .map(str::to_owned);
    let access_token = "an-access-token";
    let check = |context: &ValidationContext<'_>| {
        id_token::check(token, access_token, context, keys, &all, settings(), NOW)
    };
    if check(&ValidationContext::DeviceSignIn).is_ok() {
        assert!(genuine.iter().any(|one| one == token), "{token}");
    }
    assert!(check(&ValidationContext::SignIn(&Secret::new("n"))).is_err());
}

/// The user's configuration.
pub fn config_file(bytes: &[u8]) {
    let (document, problems) = Document::parse_all(bytes);
    for problem in problems {
        let line = problem.in_one_line();
        assert!(!line.contains(char::is_control), "{line}");
    }
    let sources = sources(document);
    for profile in sources.profiles() {
        if let Ok(settings) = config::load(&sources, &profile) {
            let issuer = settings.issuer.to_ascii_lowercase();
            assert!(issuer.is_empty() || issuer.starts_with("http"), "{issuer}");
        }
    }
}

/// An administrator's policy.
pub fn policy_file(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else {
        return;
    };
    let Ok(file) = Document::parse(b"issuer = 'https://mine.example'\nclient_id = 'mine'") else {
        return;
    };
    let mut sources = sources(file);
    let profile = ProfileName::default();
    let tables = [
        policy.locked.profiles.get(&profile),
        Some(&policy.locked.top),
    ];
    let locked = tables
        .into_iter()
        .flatten()
        .find_map(|table| table.get("issuer"))
        .map(|placed| placed.value.clone());
    sources.policy = Some(policy);
    if let Ok(settings) = config::load(&sources, &profile)
        && let Some(locked) = locked
    {
        assert_eq!(
            ConfigValue::from(settings.issuer.as_str()),
            locked,
            "a locked issuer was overridden"
        );
    }
}

/// A session record out of the keychain.
pub fn session_record(bytes: &[u8]) {
    if let Some(record) = Record::from_bytes(bytes) {
        assert_eq!(
            record
                .to_bytes()
                .ok()
                .and_then(|bytes| Record::from_bytes(&bytes))
                .as_ref(),
            Some(&record)
        );
        let _ = (record.belongs_to(settings()), record.account().len());
    }
}

/// An entry of the cache.
pub fn cache_entry(bytes: &[u8]) {
    if let Some(token) = IssuedToken::from_cache(bytes, 7, "d") {
        assert_eq!(token.digest, "d");
        assert!(IssuedToken::from_cache(bytes, 8, "d").is_none());
        assert!(IssuedToken::from_cache(bytes, 7, "e").is_none());
        assert_eq!(
            token
                .to_cache(7)
                .ok()
                .and_then(|bytes| IssuedToken::from_cache(&bytes, 7, "d")),
            Some(token)
        );
    }
}

/// Words of a server.
pub fn server_text(bytes: &[u8]) {
    let shown = text::from_server(&String::from_utf8_lossy(bytes));
    assert!(shown.chars().count() <= text::SERVER_TEXT + 1);
    let bidirectional =
        |c: char| matches!(c as u32, 0x061C | 0x200E | 0x200F | 0x202A..=0x202E | 0x2066..=0x2069);
    assert!(!shown.chars().any(|c| c.is_control() || bidirectional(c)));
    assert_eq!(
        text::from_server(&shown).trim_end_matches('…'),
        shown.trim_end_matches('…')
    );
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::TARGETS;

    /// Longest time for the mutations of one target.
    const TIME: Duration = Duration::from_secs(2);

    /// Numbers that look random and are the same in every run (xorshift).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self, below: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 11).unwrap() % below.max(1)
        }
    }

    const SPICE: [&[u8]; 16] = [
        b"\0",
        b"\n",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"null",
        b"-1",
        b"1e999",
        b"%00",
        b"&state=s-t-a-t-e",
        b"=",
        b".",
        b"\xff",
        b"\xe2\x80\xae",
    ];

    fn mutated(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=numbers.next(4) {
            let at = numbers.next(bytes.len());
            match numbers.next(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.next(8),
                1 => drop(bytes.splice(at..at, SPICE[numbers.next(SPICE.len())].iter().copied())),
                2 => bytes.truncate(at),
                3 => {
                    let end = at + numbers.next(bytes.len() - at);
                    bytes.drain(at..end);
                }
                4 => {
                    let end = at + numbers.next((bytes.len() - at).min(200));
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let from = numbers.next(other.len());
                    bytes.splice(at.., other[from..].iter().copied());
                }
            }
        }
        bytes
    }

    /// Every seed, and what comes out when seeds are changed and mixed.
    #[test]
    fn no_input_breaks_a_promise() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, target) in TARGETS {
            let files = fs::read_dir(folder.join(name))
                .unwrap_or_else(|_| unreachable!("no seeds for {name}"));
            let mut seeds: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            seeds.sort();
            let seeds: Vec<Vec<u8>> = seeds
                .into_iter()
                .map(|path| fs::read(path).unwrap())
                .collect();
            assert!(!seeds.is_empty(), "{name}");
            seeds.iter().for_each(|seed| target(seed));
            let (mut numbers, started) = (Numbers(0x9E37_79B9_7F4A_7C15), Instant::now());
            for round in 0..3000 {
                let seed = &seeds[round % seeds.len()];
                let other = &seeds[numbers.next(seeds.len())];
                target(&mutated(seed, other, &mut numbers));
                if started.elapsed() > TIME {
                    break;
                }
            }
        }
    }

    /// The seeds reach what the targets are about: each of these is accepted by a target.
    #[test]
    fn the_list_of_targets_is_that_of_the_fuzzer() {
        let manifest =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml"))
                .unwrap();
        let named: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
            .filter(|name| *name != "gatepass-fuzz")
            .collect();
        assert_eq!(named, TARGETS.map(|(name, _)| name));
    }
}
