//! A keychain that can be read and not written, or not used at all, while the provider rotates: the renewed session waits in
//! the kernel's keyring until the keychain takes it.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepass_testkit::lab::{Gatepass, Outcome, Person, PolicyFolder, Scene, wait_until};
use gatepass_testkit::provider::{self, Fault, Hook, Provider};
use serde_json::Value;

use crate::GATEPASS;

fn signed_in(settings: provider::Settings) -> Scene<Provider> {
    let provider = Provider::start(settings);
    Scene::around(GATEPASS, provider, Person::without_browser()).signed_in()
}

fn forced(scene: &Scene<Provider>) -> Gatepass {
    scene.gatepass(["token", "--force-refresh"])
}

fn status(scene: &Scene<Provider>) -> Value {
    scene.gatepass(["status", "--json"]).run().json()
}

/// Whether this machine has the place at all. Where programs may not use the kernel's keyring, there is none.
fn has_a_place(scene: &Scene<Provider>) -> bool {
    let has = status(scene)["cache"] == "kernel keyring";
    if !has {
        gatepass_testkit::skip("the kernel's keyring is not to be used here");
    }
    has
}

/// A refresh during which the keychain is locked: the renewed session cannot be stored.
fn renew_while_it_is_locked(scene: &Scene<Provider>, run: Gatepass) -> Outcome {
    renew_while(scene, run, |scene| scene.keyring.lock())
}

/// A refresh during which this happens.
fn renew_while(
    scene: &Scene<Provider>,
    run: Gatepass,
    happens: impl Fn(&Scene<Provider>),
) -> Outcome {
    let before = scene.provider.count("/token");
    scene.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::Delay(Duration::from_millis(1500)),
    );
    let refresh = run.spawn();
    let is_sent = || {
        scene
            .provider
            .wait_for("/token", before + 1, Duration::from_secs(30))
    };
    assert!(is_sent());
    happens(scene);
    refresh.wait()
}

/// What the state file says is parked.
fn parked(scene: &Scene<Provider>) -> Option<Value> {
    fs::read_dir(scene.home.state())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "state"))
        .find_map(|path| {
            let state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            state.get("parked").cloned()
        })
}

#[test]
fn a_keychain_that_stays_locked_over_ten_refreshes_loses_nothing() {
    let mut scene = signed_in(provider::Settings::default());
    if !has_a_place(&scene) {
        return;
    }
    let stored = scene.keyring.lookup("default").unwrap();
    renew_while_it_is_locked(&scene, forced(&scene)).expect(0);
    for _ in 0..9 {
        forced(&scene).run().expect(0);
    }
    assert_eq!(scene.provider.token_grants("refresh_token"), 10);
    let told = scene.gatepass(["status"]).run();
    told.expect(0);
    assert!(
        told.stdout.contains("waits for the keychain since"),
        "{told:?}"
    );
    let doctor = scene.gatepass(["doctor"]).run();
    assert!(
        doctor.stdout.contains("waits for the keychain since"),
        "{doctor:?}"
    );
    scene.keyring.unlock();
    assert_eq!(scene.keyring.lookup("default").unwrap(), stored);
    // The first call that finds it willing brings the session home.
    forced(&scene).run().expect(0);
    assert_eq!(status(&scene)["parked"], Value::Null);
    assert_eq!(parked(&scene), None);
    assert_ne!(scene.keyring.lookup("default").unwrap(), stored);
    forced(&scene).run().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

/// The keychain falls silent in the middle of a refresh: the token is printed while the caller still waits, and the
/// session is not lost.
#[test]
fn a_keychain_that_falls_silent_keeps_no_caller_waiting_for_long() {
    let scene = signed_in(provider::Settings::default());
    if !has_a_place(&scene) {
        return;
    }
    let stored = scene.keyring.lookup("default").unwrap();
    let call = renew_while(&scene, forced(&scene), |scene| {
        scene.keyring.stop_answering();
    });
    call.expect(0).within(Duration::from_secs(15));
    assert!(parked(&scene).is_some());
    scene.keyring.resume();
    forced(&scene).run().expect(0);
    assert_eq!(parked(&scene), None);
    assert_ne!(scene.keyring.lookup("default").unwrap(), stored);
    forced(&scene).run().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

#[test]
fn a_sign_out_revokes_and_clears_what_waits_while_the_keychain_stays_locked() {
    let scene = signed_in(provider::Settings::default());
    if !has_a_place(&scene) {
        return;
    }
    renew_while_it_is_locked(&scene, forced(&scene)).expect(0);
    assert!(parked(&scene).is_some());
    scene.gatepass(["logout"]).run().expect(7);
    assert_eq!(parked(&scene), None);
    assert_eq!(scene.provider.count("/revoke"), 1);
    scene.background().expect(7);
}

#[test]
fn the_organisations_word_clears_what_waits_while_the_keychain_stays_locked() {
    let soon = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 3600;
    let recall = format!("session_not_before = '{}'\n", gatepass::text::moment(soon));
    for (policy, code) in [(recall.as_str(), 4), ("disabled = 'moved'\n", 3)] {
        let scene = signed_in(provider::Settings::default());
        if !has_a_place(&scene) {
            return;
        }
        renew_while_it_is_locked(&scene, forced(&scene)).expect(0);
        assert!(parked(&scene).is_some());
        let policy = PolicyFolder::new(policy);
        let call = scene.gatepass([]).context("background").policy(&policy);
        call.run().expect(code);
        assert_eq!(parked(&scene), None);
        assert_eq!(scene.provider.count("/revoke"), 0);
    }
}

/// Where the organisation or the configuration allows no such place, nothing lies there and nothing ends: the stored token
/// is sent once more.
#[test]
fn a_place_that_is_forbidden_is_not_used() {
    let policy = PolicyFolder::new("allowed_stores = ['keychain']\n");
    let anything = PolicyFolder::new("");
    for (policy, lines) in [(&policy, ""), (&anything, "cache = 'none'")] {
        let mut scene = signed_in(provider::Settings {
            reuse_grace_seconds: 120,
            ..provider::Settings::default()
        });
        scene.configure(lines);
        renew_while_it_is_locked(&scene, forced(&scene).policy(policy)).expect(0);
        assert_eq!(parked(&scene), None);
        scene.keyring.unlock();
        let told = scene.gatepass(["status"]).policy(policy).run();
        assert!(told.stdout.contains("could not be stored"), "{told:?}");
        forced(&scene).policy(policy).run().expect(0);
        forced(&scene).policy(policy).run().expect(0);
        assert_eq!(scene.provider.families_revoked(), 0);
    }
}

/// A machine without the place, as containers are: the kernel's keyring refuses every program. Nothing ends for that: the
/// stored token is sent once more, and what the provider says to it counts.
#[test]
fn on_a_machine_without_a_place_only_the_provider_ends_the_session() {
    let without = |call: Gatepass| {
        let refuses = "inject=add_key,keyctl,request_key:error=EPERM";
        let rules = [
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=add_key,keyctl,request_key",
        ];
        call.started_by("strace", rules.into_iter().chain(["-e", refuses]))
    };
    for (reuse_grace_seconds, code) in [(120, 0), (0, 4)] {
        let mut scene = signed_in(provider::Settings {
            reuse_grace_seconds,
            ..provider::Settings::default()
        });
        renew_while_it_is_locked(&scene, without(forced(&scene))).expect(0);
        assert_eq!(parked(&scene), None);
        scene.keyring.unlock();
        let told = without(scene.gatepass(["status"])).run();
        assert!(told.stdout.contains("could not be stored"), "{told:?}");
        assert!(told.stdout.contains("keychain"), "{told:?}");
        let next = without(forced(&scene)).run();
        next.expect(code);
        assert_eq!(scene.provider.token_grants("refresh_token"), 2);
        assert_eq!(scene.provider.families_revoked(), usize::from(code == 4));
        let after = without(scene.gatepass([]).context("background")).run();
        after.expect(code);
    }
}

/// Another process holds the write lock for long: the caller's own limit holds all the same.
#[test]
fn switched_off_is_told_in_time_while_another_process_works_on_the_session() {
    let scene = signed_in(provider::Settings::default());
    let policy = PolicyFolder::new("disabled = 'moved'\n");
    let lock = fs::read_dir(scene.home.state())
        .unwrap()
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|kind| kind == "lock"))
        .expect("the write lock");
    let lock = File::open(lock).unwrap();
    lock.lock().unwrap();
    let call = |caller: &str| {
        scene
            .gatepass(["token", "-v", "--caller", caller])
            .policy(&policy)
            .run()
    };
    let refused = call("codex");
    refused.expect(3);
    refused.within(Duration::from_secs(4));
    assert!(scene.keyring.lookup("default").is_some());
    lock.unlock().unwrap();
    // On a busy machine the keychain may take longer than a caller is kept waiting for this: the next call tries again.
    let is_forgotten = || {
        call("script").expect(3);
        scene.keyring.lookup("default").is_none()
    };
    assert!(wait_until(Duration::from_secs(60), is_forgotten));
}

/// The cached token is printed without the keychain, and `status` says so.
#[test]
fn status_tells_what_a_call_would_print_while_the_keychain_is_locked() {
    let scene = signed_in(provider::Settings::default());
    scene.background().expect(0);
    scene.keyring.lock();
    scene.background().expect(0);
    let told = scene.gatepass(["status"]).run();
    told.expect(0);
    assert!(
        told.stdout.contains("the store does not say as whom"),
        "{told:?}"
    );
    assert!(told.stdout.contains("the keychain is locked"), "{told:?}");
}
