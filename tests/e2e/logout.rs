//! Signing out: at the provider if it can be told, on this machine in any case.

use std::time::Duration;

use gatepass_testkit::lab::{Leak, Person, Scene, Settings, scan_for_secrets};

use crate::GATEPASS;

fn nothing_is_left(scene: &Scene) {
    assert!(
        scene.keyring.items_snapshot().is_empty(),
        "the keychain still holds an entry"
    );
    for place in [scene.home.path(), &scene.keyring.runtime_folder()] {
        assert_eq!(
            scan_for_secrets(place, &scene.provider.secrets()),
            [] as [Leak; 0]
        );
    }
    let host = scene.background();
    host.expect(4);
    host.within(Duration::from_secs(1));
    assert_eq!(scene.gatepass(["status"]).run().code, 4);
}

#[test]
fn the_provider_is_told_and_nothing_is_left() {
    let scene = Scene::new(GATEPASS).signed_in();
    scene.background().token();
    let logout = scene.gatepass(["logout"]).run();
    logout.expect(0);
    assert!(
        scene.provider.count("revocation.success") >= 1,
        "{:?}",
        scene.provider.requests()
    );
    assert_eq!(scene.provider.count("refresh_token.destroyed"), 1);
    scene.provider.clear();
    nothing_is_left(&scene);
    assert_eq!(scene.provider.requests(), [""; 0]);
}

#[test]
fn while_the_provider_is_away_it_happens_here_and_is_said() {
    for silent in [false, true] {
        let scene = Scene::new(GATEPASS).signed_in();
        if silent {
            scene.provider.pause()
        } else {
            scene.provider.down()
        }
        let logout = scene.gatepass(["logout"]).run();
        logout.expect(0);
        logout.within(Duration::from_secs(30));
        let said = format!("{}{}", logout.stdout, logout.stderr).to_lowercase();
        assert!(
            said.contains("provider") && said.contains("not"),
            "{logout:?}"
        );
        if silent {
            scene.provider.resume()
        } else {
            scene.provider.up()
        }
        nothing_is_left(&scene);
    }
}

#[test]
fn a_provider_without_revocation_is_said() {
    let settings = Settings {
        revocation: false,
        ..Settings::default()
    };
    let scene = Scene::with(GATEPASS, &settings, Person::without_browser()).signed_in();
    let logout = scene.gatepass(["logout"]).run();
    logout.expect(0);
    assert!(
        logout.stdout.contains("the provider offers no revocation"),
        "{logout:?}"
    );
    nothing_is_left(&scene);
}

#[test]
fn who_does_not_want_revocation_gets_none() {
    let scene = Scene::new(GATEPASS).signed_in();
    scene.configure("revoke_on_logout = false");
    scene.gatepass(["logout"]).run().expect(0);
    assert_eq!(scene.provider.count("revocation.success"), 0);
    nothing_is_left(&scene);
}

#[test]
fn who_is_not_signed_in_can_sign_out() {
    let scene = Scene::new(GATEPASS);
    scene.gatepass(["logout"]).run().expect(0);
    let scene = scene.signed_in();
    scene.gatepass(["logout"]).run().expect(0);
    scene.gatepass(["logout"]).run().expect(0);
    nothing_is_left(&scene);
}

#[test]
fn one_profile_or_all_of_them() {
    let scene = Scene::new(GATEPASS);
    scene.configure("[profile.work]\n[profile.home]");
    let profiles = ["default", "work", "home"];
    let signed_in = |profile: &str| scene.gatepass(["--profile", profile]).run().code == 0;
    for profile in profiles {
        scene
            .gatepass(["login", "--browser", "--profile", profile])
            .run()
            .expect(0);
    }
    scene
        .gatepass(["logout", "--profile", "work"])
        .run()
        .expect(0);
    assert_eq!(profiles.map(signed_in), [true, false, true]);
    scene.gatepass(["logout", "--all"]).run().expect(0);
    assert_eq!(profiles.map(signed_in), [false; 3]);
    assert!(scene.keyring.items_snapshot().is_empty());
    assert_eq!(scene.provider.count("refresh_token.destroyed"), 3);
}

#[test]
fn a_new_sign_in_works_after_signing_out() {
    let scene = Scene::new(GATEPASS).signed_in();
    let before = scene.background().token();
    scene.gatepass(["logout"]).run().expect(0);
    scene.login();
    assert_ne!(scene.background().token(), before);
}
