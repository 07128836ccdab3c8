//! An experiment: the connection to the token endpoint is cut before, in and after the request, in the head and in the body
//! of the answer, by resets and ends of file, at providers that forgive the repeat of a refresh token for a while or not at
//! all. Forty points always, a thousand with `GATEPASS_LONG_TESTS`.
#![allow(clippy::print_stdout, reason = "a long run says how much it has tried")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepass_testkit::provider::jwt::Jwt;
use gatepass_testkit::provider::{self, Provider};
use gatepass_testkit::run_keys;
use gatepass_testkit::scissors::{Cut, End, Place, Scissors};
use serde_json::Map;
use zeroize::Zeroizing;

use super::renewal::AtProvider;
use super::{Budget, Writer};
use crate::caller::{Deadline, TokenUse};
use crate::clock;
use crate::config::Sources;
use crate::config::profile::ProfileName;
use crate::config::settings::Settings;
use crate::error::{Id, Result};
use crate::platform::paths;
use crate::reader::{Renew, TokenRequirement};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, Record, SignedInBy};
use crate::session::state::StateFiles;
use crate::store::{SecretStore, StoreError};

/// A store that always works.
#[derive(Default)]
struct Memory(RefCell<Option<Vec<u8>>>);

impl SecretStore for Memory {
    fn read(&self, _: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.0.borrow().clone().map(Zeroizing::new))
    }

    fn write(&self, _: &str, secret: &[u8], _: Deadline) -> Result<(), StoreError> {
        *self.0.borrow_mut() = Some(secret.to_vec());
        Ok(())
    }

    fn remove(&self, _: &str, _: Deadline) -> Result<bool, StoreError> {
        Ok(self.0.borrow_mut().take().is_some())
    }
}

/// A kind of provider.
#[derive(Clone, Copy, Debug)]
struct ProviderKind {
    /// For how many seconds it forgives the repeat of a used refresh token.
    grace: u64,
    /// A repeat that is not forgiven ends the whole session.
    detects_reuse: bool,
    /// Clients show an assertion, of which each counts only once.
    assertions: bool,
}

const fn kind(grace: u64, detects_reuse: bool, assertions: bool) -> ProviderKind {
    ProviderKind {
        grace,
        detects_reuse,
        assertions,
    }
}

const KINDS: [ProviderKind; 7] = [
    kind(30, true, false),
    kind(3, true, false),
    kind(0, true, false),
    kind(0, false, false),
    kind(30, true, true),
    kind(3, true, true),
    kind(0, true, true),
];

/// A person who is signed in at a provider, with a wire in between.
struct TestSession {
    scissors: Scissors,
    provider: Provider,
    settings: Settings,
    files: StateFiles,
    store: Memory,
    _folder: tempfile::TempDir,
}

impl TestSession {
    fn new(kind: ProviderKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scissors = Scissors::start();
        let provider = Provider::start(provider::Settings {
            base: Some(scissors.base()),
            reuse_grace_seconds: kind.grace,
            reuse_detection: kind.detects_reuse,
            single_use_assertions: kind.assertions,
            ..provider::Settings::default()
        });
        scissors.lead_to(provider.port());
        let mut text = format!(
            "issuer = '{}'\nclient_id = 'gatepass'\ncache = 'none'\n",
            provider.issuer()
        );
        if kind.assertions {
            let path = folder.path().join("key.pem");
            let key = STANDARD.encode(run_keys::p256());
            fs::write(
                &path,
                format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
            )
            .unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            text.push_str(&format!(
                "client_auth = 'private_key_jwt'\nclient_key_file = '{}'\n",
                path.display()
            ));
        }
        let settings =
            crate::config::load(&Sources::of_text(&text), &ProfileName::default()).unwrap();
        let files = StateFiles::at(folder.path(), &settings.key()).unwrap();
        let session = Self {
            scissors,
            provider,
            settings,
            files,
            store: Memory::default(),
            _folder: folder,
        };
        session.sign_in();
        // The provider's documents are at hand from now on: each connection is a sending.
        session.refresh().unwrap();
        session
    }

    fn sign_in(&self) {
        let granted = self
            .provider
            .issue_tokens("gatepass", "openid offline_access");
        let text = |name: &str| granted[name].as_str().unwrap();
        let id_token = Jwt::decode(text("id_token")).unwrap();
        let now = clock::now();
        let record = Record {
            // A moment later than any sign-in before.
            generation: clock::now_millis(),
            issuer: self.settings.issuer.clone(),
            client_id: "gatepass".to_owned(),
            token_endpoint: format!("{}/token", self.scissors.base()),
            subject: id_token.claims["sub"].as_str().unwrap().to_owned(),
            refresh_token: Some(Secret::new(text("refresh_token"))),
            rotations: 0,
            unproven: None,
            bound_to: None,
            token: None,
            exchanged_from: None,
            secret_headers: BTreeMap::new(),
            client_secret: None,
            claims: Map::new(),
            signed_in_at: now,
            refreshed_at: now,
            ends_at: None,
            signed_in_by: SignedInBy::Browser,
        };
        *self.store.0.borrow_mut() = Some(record.to_bytes().unwrap().to_vec());
        // What was noted of the session before is of no use.
        let _ = self.files.dir().remove(&self.files.name("state"));
    }

    fn refresh(&self) -> Result<IssuedToken> {
        // What was noted in this very millisecond is of the attempt before.
        thread::sleep(Duration::from_millis(2));
        let budget = Budget::of(Deadline::after(Duration::from_secs(60)));
        let now = clock::now_millis();
        let mut writer = Writer::take(&self.settings, &self.files, &self.store, budget)?;
        let need = TokenRequirement {
            asked_at_ms: now,
            renew: Renew::Forced,
            token_use: TokenUse::Kept,
        };
        let provider = AtProvider {
            settings: &self.settings,
            files: &self.files,
            began_ms: now,
            budget,
        };
        writer.refresh(need, &provider)
    }

    /// Whether the provider takes the stored refresh token.
    fn is_alive(&self) -> bool {
        let bytes = self.store.0.borrow();
        let record = Record::from_bytes(bytes.as_ref().unwrap()).unwrap();
        self.provider
            .refresh_token_lives(record.refresh_token.unwrap().expose())
    }
}

/// What became of the attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    points: usize,
    /// Answered by a token.
    answered: usize,
    /// Exit 4 with the reason: the provider had used the refresh token up and does not forgive.
    told: usize,
    /// Points at which this machine was too slow for the provider's grace.
    too_slow: usize,
    most_sendings: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cuts: {} calls answered, {} told that the answer was lost, {} too slow, at most {} sendings",
            self.points, self.answered, self.told, self.too_slow, self.most_sendings
        )
    }
}

/// So many cuts at one provider.
fn at(kind: ProviderKind, points: usize, seed: u64) -> Figures {
    let session = TestSession::new(kind);
    let mut figures = Figures::default();
    for cut in cuts(points, seed) {
        let before = session.scissors.connections();
        session.scissors.cut([cut]);
        let began = Instant::now();
        let result = session.refresh();
        let sendings = session.scissors.connections() - before;
        figures.points += 1;
        figures.most_sendings = figures.most_sendings.max(sendings);
        let case = format!("{kind:?} {cut:?}");
        assert_eq!(sendings, 2, "{case}: {result:?}");
        // Only what the provider has seen can be used up.
        let has_taken_effect = !matches!(cut.0, Place::BeforeRequest | Place::InRequest(_));
        match result {
            Ok(_) => {
                assert!(!has_taken_effect || kind.grace > 0, "{case}");
                figures.answered += 1;
            }
            Err(failure) => {
                assert_eq!(failure.id, Id::SignInRequired, "{case}: {failure:?}");
                assert!(
                    failure.what.contains("its answer was lost"),
                    "{case}: {failure:?}"
                );
                let too_slow = began.elapsed() > Duration::from_secs(kind.grace);
                assert!(has_taken_effect && too_slow, "{case}: {failure:?}");
                if kind.grace == 0 {
                    figures.told += 1;
                } else {
                    figures.too_slow += 1;
                }
                session.sign_in();
                continue;
            }
        }
        assert!(session.is_alive(), "lost by {case}");
    }
    session.scissors.cut([]);
    session.refresh().unwrap();
    figures
}

/// Cuts at every kind of place, the same in every run.
fn cuts(points: usize, seed: u64) -> impl Iterator<Item = Cut> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..points).map(move |number| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bytes = usize::try_from(random >> 33).unwrap();
        let place = match number % 5 {
            0 => Place::BeforeRequest,
            1 => Place::InRequest(bytes % 400),
            2 => Place::AfterRequest,
            3 => Place::InHead(1 + bytes % 160),
            _ => Place::InBody(bytes % 900),
        };
        let end = [End::Reset, End::Eof][(number / 5) % 2];
        (place, end)
    })
}

/// Without the system's certificates no client is made, as in a container that has none.
fn can_connect() -> bool {
    let can = paths::system_certificates().is_some();
    if !can {
        gatepass_testkit::skip("this machine has no certificates");
    }
    can
}

#[test]
fn a_lost_answer_costs_nothing_where_the_provider_forgives_and_is_told_where_it_does_not() {
    if !can_connect() {
        return;
    }
    let points = match std::env::var_os("GATEPASS_LONG_TESTS") {
        Some(_) => 1000_usize,
        None => 40,
    };
    let each = points.div_ceil(KINDS.len());
    let all: Vec<(ProviderKind, Figures)> = thread::scope(|scope| {
        let running: Vec<_> = (1..)
            .zip(KINDS)
            .map(|(seed, kind)| scope.spawn(move || (kind, at(kind, each, seed))))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (kind, figures) in &all {
        println!("{kind:?}: {figures}");
        if kind.grace > 0 {
            assert_eq!(figures.told, 0);
            // A busy machine may be slower than a grace of three seconds; most of it must not be.
            assert!(figures.too_slow * 10 <= figures.points, "{figures}");
            assert!(kind.grace < 30 || figures.too_slow == 0, "{figures}");
        } else {
            assert!(figures.told > 0 && figures.answered > 0);
        }
    }
}

/// Both answers are lost: nothing is said of the session, and the next call finds a provider that still forgives.
#[test]
fn a_second_loss_is_no_end_and_the_next_call_goes_on() {
    if !can_connect() {
        return;
    }
    let session = TestSession::new(KINDS[4]);
    for end in [End::Reset, End::Eof] {
        let before = session.scissors.connections();
        session
            .scissors
            .cut([(Place::AfterRequest, end), (Place::InBody(50), end)]);
        let failure = session.refresh().unwrap_err();
        assert_eq!(failure.id, Id::Unavailable, "{failure:?}");
        assert_eq!(session.scissors.connections() - before, 2);
        session.refresh().unwrap();
        assert_eq!(session.scissors.connections() - before, 3);
        assert!(session.is_alive());
    }
}
