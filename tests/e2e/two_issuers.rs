//! One profile and one entry in the keychain, for whatever issuer and client are configured: nobody's session is
//! overwritten, brought back or revoked by settings of another one.

use std::fs;
use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{Person, Scene};
use gatepass_testkit::provider::{self, Fault, Hook, Provider};

use crate::GATEPASS;

/// A person who is signed in at one provider, and another one.
fn scene() -> (Scene<Provider>, Provider) {
    let provider = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, provider, Person::without_browser()).signed_in();
    let other = Provider::start(provider::Settings {
        account: "bob".to_owned(),
        auto_approve: true,
        ..provider::Settings::default()
    });
    (scene, other)
}

/// The same profile with another issuer and client.
fn configure(scene: &Scene<Provider>, issuer: &str, client_id: &str) {
    let browser = scene.person.config();
    scene.home.config(&format!(
        "issuer = \"{issuer}\"\nclient_id = \"{client_id}\"\n{browser}\n"
    ));
}

fn begin_refresh(scene: &Scene<Provider>) -> gatepass_testkit::lab::Running {
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Delay(Duration::from_secs(2)));
    let refresh = scene.gatepass(["token", "--force-refresh"]).spawn();
    assert!(
        scene
            .provider
            .wait_for("/token", 1, Duration::from_secs(30))
    );
    refresh
}

#[test]
fn a_refresh_that_ends_during_a_sign_in_at_another_issuer_overwrites_nothing() {
    let (scene, other) = scene();
    let refresh = begin_refresh(&scene);
    configure(&scene, &other.issuer(), "gatepass");
    scene
        .gatepass(["login", "--browser", "--replace"])
        .run()
        .expect(0);
    let _ = refresh.wait();
    let entry = scene.keyring.lookup("default").expect("a session");
    assert!(entry.contains(&other.issuer()));
    scene.background().expect(0);
    // The session that was replaced is over on this machine, its cached token too.
    configure(&scene, &scene.provider.issuer(), "gatepass");
    scene.background().expect(4);
    assert_eq!(scene.provider.count("/revoke"), 0);
}

#[test]
fn a_sign_out_during_a_refresh_of_another_client_stays() {
    let (scene, _) = scene();
    let refresh = begin_refresh(&scene);
    configure(&scene, &scene.provider.issuer(), "another");
    let logout = scene.gatepass(["logout"]).run();
    logout.expect(0);
    assert!(logout.stdout.contains("forgotten"), "{logout:?}");
    let _ = refresh.wait();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(scene.keyring.lookup("default"), None);
    configure(&scene, &scene.provider.issuer(), "gatepass");
    scene.background().expect(4);
    // It was the same issuer's: that client's session was ended there as well.
    assert_eq!(scene.provider.count("/revoke"), 1);
}

#[test]
fn without_a_word_from_the_person_a_session_of_another_issuer_stays() {
    let (scene, other) = scene();
    let token = scene.background().token();
    configure(&scene, &other.issuer(), "gatepass");
    let login = scene.gatepass(["login", "--browser"]).run();
    login.expect(3);
    assert!(login.stderr.contains("--replace"), "{login:?}");
    assert_eq!(other.count("/authorize"), 0);
    configure(&scene, &scene.provider.issuer(), "gatepass");
    assert_eq!(scene.background().token(), token);
}

#[test]
fn a_sign_out_tells_that_another_issuers_session_is_not_revoked() {
    let (scene, other) = scene();
    configure(&scene, &other.issuer(), "gatepass");
    let logout = scene.gatepass(["logout"]).run();
    logout.expect(0);
    assert!(
        logout.stdout.contains("NOT revoked: it was a session of"),
        "{logout:?}"
    );
    assert_eq!(scene.keyring.lookup("default"), None);
    assert_eq!(scene.provider.count("/revoke"), 0);
    assert!(other.requests().is_empty());
}

#[test]
fn signing_out_everywhere_revokes_each_session_by_its_own_settings() {
    for loses_state in [false, true] {
        let (scene, other) = scene();
        configure(&scene, &other.issuer(), "gatepass");
        // Something is known of the other issuer as well.
        scene.background().expect(4);
        if loses_state {
            lose_state(&scene);
        }
        let logout = scene.gatepass(["logout", "--all"]).run();
        logout.expect(0);
        assert!(
            logout.stdout.contains("revoked at the provider"),
            "{logout:?}"
        );
        assert_eq!(scene.provider.count("/revoke"), 1);
        assert!(other.requests().is_empty(), "{:?}", other.requests());
        assert_eq!(scene.keyring.lookup("default"), None);
    }
}

fn lose_state(scene: &Scene<Provider>) {
    for file in fs::read_dir(scene.home.state()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "state") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// The state file is lost and a host renews the old session while a person signs in: the sign-in is what counts.
#[test]
fn a_sign_in_is_not_discarded_because_the_state_was_lost_meanwhile() {
    // Before the sign-in, where the refresh brings back what the sign-in has not seen, or in the middle of it.
    for is_lost_before in [true, false] {
        let (scene, _) = scene();
        scene
            .provider
            .script(Hook::CodeGrant, Fault::Delay(Duration::from_secs(4)));
        if is_lost_before {
            lose_state(&scene);
        }
        let login = scene.gatepass(["login", "--browser"]).spawn();
        assert!(
            scene
                .provider
                .wait_for("/token", 1, Duration::from_secs(30))
        );
        if !is_lost_before {
            lose_state(&scene);
        }
        let renewed = scene.gatepass(["token", "--force-refresh"]).run().token();
        login.wait().expect(0);
        assert_ne!(scene.background().token(), renewed);
        scene.gatepass(["token", "--force-refresh"]).run().expect(0);
        assert_eq!(scene.provider.families_revoked(), 0);
    }
}
