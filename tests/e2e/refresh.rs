//! Refreshing: as few requests as possible, no refresh token used twice, and what happens while the provider is away.

use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{Outcome, Person, Scene, Settings, wait_until};

use crate::GATEPASS;
use crate::one_writer::workers;

const ONE_REFRESH: [&str; 1] = ["POST /token 200"];
const NOTHING: [&str; 0] = [];

/// A signed-in person at a provider with these lifetimes in seconds.
fn signed_in(settings: &Settings) -> Scene {
    Scene::with(GATEPASS, settings, Person::without_browser()).signed_in()
}

fn wait(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

fn no_refresh_token_was_used_twice(scene: &Scene) {
    assert_eq!(
        (
            scene.provider.count("grant.revoked"),
            scene.provider.count("grant.error")
        ),
        (0, 0)
    );
}

#[test]
fn a_short_token_is_refreshed_with_one_request() {
    let scene = signed_in(&Settings {
        access_token: 60,
        ..Settings::default()
    });
    let mut seen = vec![scene.background().token()];
    assert_eq!(scene.provider.requests(), NOTHING, "as good as new");
    for _ in 0..3 {
        wait(7.2); // more than a tenth of its life, and the clock counts whole seconds
        let token = scene.background().token();
        assert!(!seen.contains(&token), "a new one");
        assert_eq!(scene.provider.requests(), ONE_REFRESH);
        no_refresh_token_was_used_twice(&scene);
        scene.provider.clear();
        seen.push(token);
    }
}

#[test]
fn the_keychain_follows_every_rotation() {
    let scene = signed_in(&Settings::default());
    for _ in 0..3 {
        scene.gatepass(["token", "--force-refresh"]).run().token();
        let newest = scene.provider.secrets_of("refresh_token").pop().unwrap();
        assert!(
            scene
                .keyring
                .lookup("default")
                .expect("an entry")
                .contains(&newest)
        );
    }
    assert_eq!(scene.provider.count("refresh_token.consumed"), 3);
    no_refresh_token_was_used_twice(&scene);
}

#[test]
fn a_provider_that_does_not_rotate_keeps_its_refresh_token() {
    let scene = signed_in(&Settings {
        rotate: false,
        ..Settings::default()
    });
    for _ in 0..3 {
        scene.gatepass(["token", "--force-refresh"]).run().token();
    }
    assert_eq!(scene.provider.requests(), ["POST /token 200"; 3]);
    assert_eq!(scene.provider.count("refresh_token.consumed"), 0);
    no_refresh_token_was_used_twice(&scene);
}

#[test]
fn min_validity_decides_what_is_still_good() {
    let scene = signed_in(&Settings {
        access_token: 900,
        ..Settings::default()
    });
    let first = scene.background().token();
    wait(1.1);
    let asked = |seconds: &str| {
        scene
            .gatepass(["token", "--min-validity", seconds])
            .run()
            .token()
    };
    assert_eq!(asked("800"), first);
    assert_eq!(scene.provider.requests(), NOTHING);
    assert_ne!(asked("900"), first);
    assert_eq!(scene.provider.requests(), ONE_REFRESH);
}

#[test]
fn calls_at_once_cause_one_refresh() {
    let scene = signed_in(&Settings::default());
    let before = scene.background().token();
    let running: Vec<_> = (0..8)
        .map(|_| scene.gatepass(["token", "--force-refresh"]).spawn())
        .collect();
    let tokens: Vec<String> = running.into_iter().map(|run| run.wait().token()).collect();
    assert!(!tokens.contains(&before));
    // Those that started while the first was under way may share its answer or, having started later, cause one more.
    let refreshes = scene.provider.requests();
    assert!(
        refreshes.iter().all(|one| one == ONE_REFRESH[0]) && refreshes.len() <= 2,
        "{refreshes:?}"
    );
    no_refresh_token_was_used_twice(&scene);
}

#[test]
fn expired_tokens_of_many_callers_cause_one_refresh() {
    let scene = signed_in(&Settings {
        access_token: 60,
        ..Settings::default()
    });
    wait(7.2);
    let running: Vec<_> = (0..8)
        .map(|_| scene.gatepass([]).context("background").spawn())
        .collect();
    let tokens: Vec<String> = running.into_iter().map(|run| run.wait().token()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(scene.provider.requests(), ONE_REFRESH);
    no_refresh_token_was_used_twice(&scene);
}

#[test]
fn while_the_provider_is_away_a_token_that_is_still_valid_is_printed() {
    for away in [Away::Refusing, Away::Silent] {
        let scene = signed_in(&Settings {
            access_token: 60,
            rotate: away.loses_nothing(),
            ..Settings::default()
        });
        let token = scene.background().token();
        wait(7.2); // no longer as good as new, and shorter than what is asked for
        away.begin(&scene);
        let run = scene.background();
        assert_eq!(run.token(), token, "{away:?}");
        run.within(Duration::from_secs(15));
        away.end(&scene);
        assert_ne!(
            scene.background().token(),
            token,
            "{away:?}: it is asked again"
        );
        no_refresh_token_was_used_twice(&scene);
    }
}

#[test]
fn while_the_provider_is_away_an_expired_token_is_not_and_the_session_stays() {
    for away in [Away::Refusing, Away::Silent] {
        let scene = signed_in(&Settings {
            access_token: 8,
            rotate: away.loses_nothing(),
            ..Settings::default()
        });
        wait(8.5);
        let entries = scene.keyring.items_snapshot();
        away.begin(&scene);
        let run: Outcome = scene.background();
        run.expect(6);
        assert_eq!(run.stdout, "");
        run.within(Duration::from_secs(16));
        assert!(
            scene.keyring.items_snapshot() == entries,
            "{away:?}: the keychain was touched"
        );
        away.end(&scene);
        scene.background().token();
    }
}

#[test]
fn a_session_that_the_provider_ended_needs_a_sign_in() {
    let scene = signed_in(&Settings {
        access_token: 2,
        refresh_token: 3,
        ..Settings::default()
    });
    wait(3.5);
    let run = scene.background();
    run.expect(4);
    assert!(run.stderr.contains("gatepass login"), "{}", run.stderr);
    scene.provider.clear();
    let again = scene.background();
    again.expect(4);
    again.within(Duration::from_secs(1));
    assert_eq!(
        scene.provider.requests(),
        NOTHING,
        "a dead refresh token is not sent again"
    );
    scene.login();
    scene.background().token();
}

#[test]
fn another_client_or_issuer_is_another_session() {
    let scene = signed_in(&Settings::default());
    let entries = scene.keyring.items_snapshot();
    let elsewhere = Scene::new(GATEPASS);
    let issuer = elsewhere.provider.issuer();
    scene.home.config(&format!(
        "issuer = \"{issuer}\"\nclient_id = \"gatepass\"\n"
    ));
    scene.background().expect(4);
    assert_eq!(elsewhere.provider.requests(), NOTHING);
    let issuer = scene.provider.issuer();
    scene
        .home
        .config(&format!("issuer = \"{issuer}\"\nclient_id = \"another\"\n"));
    scene.background().expect(4);
    assert_eq!(scene.provider.requests(), NOTHING);
    assert!(scene.keyring.items_snapshot() == entries);
    scene.configure("");
    scene.background().token();
}

#[test]
fn a_host_whose_token_was_refused_gets_another_one_once() {
    let scene = signed_in(&Settings::default());
    let refused = scene.background().token();
    let mid_session = || {
        scene
            .gatepass([])
            .context("mid-session-refresh")
            .run()
            .token()
    };
    let next = mid_session();
    assert_ne!(next, refused);
    assert_eq!(scene.provider.requests(), ONE_REFRESH);
    assert_eq!(mid_session(), next, "at most once in two minutes");
    assert_eq!(scene.provider.requests(), ONE_REFRESH);
}

/// How a provider can be away.
#[derive(Debug, Clone, Copy)]
enum Away {
    Refusing,
    Silent,
}

impl Away {
    /// A silent provider may have worked all the same: with rotation, the lost answer would be the end of the session.
    fn loses_nothing(self) -> bool {
        matches!(self, Self::Refusing)
    }

    fn begin(self, scene: &Scene) {
        match self {
            Self::Refusing => scene.provider.down(),
            Self::Silent => scene.provider.pause(),
        }
    }

    fn end(self, scene: &Scene) {
        match self {
            Self::Refusing => scene.provider.up(),
            Self::Silent => scene.provider.resume(),
        }
        // The next call starts an attempt of its own, and does not share the end of one that has waited all the time.
        let home = scene.home.path().display().to_string();
        assert!(wait_until(Duration::from_secs(40), || workers(&home).is_empty()));
    }
}
