//! A keychain that is locked, missing, silent or empty.

use std::time::Duration;

use gatepass_testkit::lab::{BusyKeychain, Gatepass, Keyring, Scene};

use crate::GATEPASS;

const NOTHING: [&str; 0] = [];

/// A signed-in person whose tokens lie in the keychain only, so that every call needs it.
fn signed_in() -> Scene {
    let scene = Scene::new(GATEPASS);
    scene.configure("cache = \"none\"");
    scene.signed_in()
}

#[test]
fn the_session_is_one_entry_of_a_known_name() {
    let scene = signed_in();
    let entry = scene
        .keyring
        .lookup("default")
        .expect("service gatepass, the profile's name");
    assert!(entry.contains(scene.provider.secrets_of("refresh_token").last().unwrap()));
    for item in scene.keyring.items_snapshot().values() {
        assert_eq!(item.attributes["service"], "gatepass");
    }
}

#[test]
fn a_keychain_that_gives_nothing_is_exit_7_and_no_request_is_made() {
    let nobody = Keyring::missing();
    type Trouble = fn(&Scene, Gatepass, &Keyring) -> Gatepass;
    let troubles: [(&str, Trouble); 4] = [
        ("locked", |scene, run, _| {
            scene.keyring.lock();
            run
        }),
        ("silent", |scene, run, _| {
            scene.keyring.stop_answering();
            run
        }),
        ("no bus", |_, run, _| {
            run.without_env("DBUS_SESSION_BUS_ADDRESS")
                .without_env("XDG_RUNTIME_DIR")
        }),
        ("no secret service", |_, run, nobody| run.keyring(nobody)),
    ];
    // Who calls, and how long they wait.
    let callers = [
        (&["--caller", "codex"][..], 4),
        (&["--caller", "claude-code"], 9),
        (&["--caller", "claude-desktop"], 15),
    ];
    for (name, trouble) in troubles {
        let scene = signed_in();
        for (caller, seconds) in callers {
            let run = scene.gatepass(["token"]).args(caller.iter().copied());
            let done = trouble(&scene, run, &nobody).run();
            assert_eq!(done.code, 7, "{name}, {caller:?}: {}", done.stderr);
            done.expect(7);
            done.within(Duration::from_secs(seconds));
        }
        assert_eq!(scene.provider.requests(), NOTHING, "{name}");
        scene.keyring.resume();
    }
}

#[test]
fn the_session_is_there_again_when_the_keychain_is() {
    let mut scene = signed_in();
    let entries = scene.keyring.items_snapshot();
    scene.keyring.lock();
    scene.background().expect(7);
    scene.keyring.unlock();
    assert!(scene.keyring.items_snapshot() == entries);
    scene.background().token();

    scene.keyring.stop_answering();
    scene.background().expect(7);
    scene.keyring.resume();
    scene.background().token();
    assert_eq!(
        (
            scene.provider.count("grant.error"),
            scene.provider.count("grant.revoked")
        ),
        (0, 0)
    );
}

#[test]
fn a_token_in_the_cache_needs_no_keychain() {
    let scene = Scene::new(GATEPASS).signed_in();
    let token = scene.background().token();
    scene.keyring.stop_answering();
    let run = scene.background();
    assert_eq!(run.token(), token);
    run.within(Duration::from_secs(1));
    scene.keyring.resume();
}

#[test]
fn no_entry_is_told_at_once() {
    let scene = Scene::new(GATEPASS);
    for _ in 0..2 {
        let run = scene.background();
        run.expect(4);
        run.within(Duration::from_secs(1));
    }
}

#[test]
fn an_entry_that_somebody_removed_is_no_session() {
    let scene = signed_in();
    scene.keyring.remove("default");
    assert!(scene.keyring.lookup("default").is_none());
    scene.background().expect(4);
    assert_eq!(scene.provider.requests(), NOTHING);
}

#[test]
fn an_entry_that_somebody_damaged_is_no_session_and_no_crash() {
    for garbage in ["", "not json", "{}", "{\"version\":99999}", "[]"] {
        let scene = signed_in();
        scene.keyring.remove("default");
        if !garbage.is_empty() {
            scene
                .keyring
                .store(&[("service", "gatepass"), ("username", "default")], garbage);
        }
        let run = scene.background();
        assert!([4, 7].contains(&run.code), "{garbage:?}: {run:?}");
        assert_eq!(scene.provider.requests(), NOTHING);
        scene.login();
        scene.background().token();
    }
}

#[test]
fn what_a_newer_version_kept_is_absent_and_left_alone() {
    let scene = signed_in();
    let (_, item) = scene
        .keyring
        .items_snapshot()
        .pop_first()
        .expect("an entry");
    let ours = String::from_utf8(item.secret).unwrap();
    let newer = ours.replacen("{\"v\":1,", "{\"v\":2,\"more\":[],", 1);
    assert_ne!(newer, ours);
    let attributes: Vec<(&str, &str)> = item
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    scene.keyring.store(&attributes, &newer);
    let entries = scene.keyring.items_snapshot();
    for _ in 0..2 {
        let run = scene.background();
        run.expect(4);
        assert!(run.stderr.contains("gatepass login"), "{}", run.stderr);
    }
    scene.gatepass(["status"]).run().expect(4);
    assert!(scene.keyring.items_snapshot() == entries, "it was touched");
    assert_eq!(scene.provider.requests(), NOTHING);
    // Whoever goes forward again finds it.
    scene.keyring.store(&attributes, &ours);
    scene.background().token();
    scene.keyring.store(&attributes, &newer);
    scene.login();
    scene.background().token();
}

#[test]
fn a_sign_in_that_cannot_be_kept_is_exit_7() {
    let scene = Scene::new(GATEPASS);
    scene.keyring.lock();
    scene.gatepass(["login", "--browser"]).run().expect(7);
    scene.background().expect(7);
}

#[test]
fn another_profile_is_another_entry() {
    let scene = Scene::new(GATEPASS);
    scene.configure("[profile.work]");
    scene
        .gatepass(["login", "--browser", "--profile", "work"])
        .run()
        .expect(0);
    assert!(scene.keyring.lookup("work").is_some());
    assert!(scene.keyring.lookup("default").is_none());
    scene.background().expect(4);
    scene.gatepass(["--profile", "work"]).run().token();
    scene
        .gatepass([])
        .env("GATEPASS_PROFILE", "work")
        .run()
        .token();
    scene.gatepass(["--profile", "unknown"]).run().expect(3);
}

/// Some keychains refuse a read that overlaps another one (macOS at times, where the keychain is the cache as well).
#[test]
fn fifty_calls_at_once_are_all_answered_by_a_keychain_that_refuses_overlapping_reads() {
    let scene = signed_in();
    let record = scene.keyring.lookup("default").expect("a session");
    let token = scene.background().token();
    let bus = Keyring::missing();
    let keychain = BusyKeychain::start(&bus, &record, Duration::from_millis(20));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            Gatepass::new(GATEPASS, &scene.home)
                .keyring(&bus)
                .args(["token", "--timeout", "80"])
                .spawn()
        })
        .collect();
    for call in calls {
        assert_eq!(call.wait().token(), token);
    }
    assert!(keychain.refused() < 10, "{} overlapped", keychain.refused());
}

#[test]
fn a_secret_service_without_a_default_collection_is_a_keychain_without_a_session() {
    let scene = signed_in();
    let bus = Keyring::missing();
    let _keychain = BusyKeychain::without_default(&bus);
    let call = Gatepass::new(GATEPASS, &scene.home)
        .keyring(&bus)
        .context("background")
        .run();
    call.expect(4);
    assert!(
        call.stderr.contains("nobody is signed in"),
        "{}",
        call.stderr
    );
}
