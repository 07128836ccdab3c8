//! Notifications: a word when a session has ended unseen, and when a tab opens that nobody asked for.

use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{Notifications, Person, Scene};
use gatepass_testkit::provider::{Provider, Settings};

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(10);
/// In which nothing happens that should not.
const WHILE: Duration = Duration::from_millis(1500);
const NAMES: &str =
    "display_name = \"Example <b>Corp</b>\"\ngateway_url = \"https://gateway.example.test\"";

fn scene(settings: Settings, more: &str) -> Scene<Provider> {
    let scene = Scene::around(
        GATEPASS,
        Provider::start(settings),
        Person::without_browser(),
    );
    scene.configure(&format!("{NAMES}\n{more}"));
    scene.signed_in()
}

/// A call that has to refresh, in the background.
fn refresh(scene: &Scene<Provider>) -> gatepass_testkit::lab::Outcome {
    scene
        .gatepass(["token", "--force-refresh"])
        .context("background")
        .run()
}

#[test]
fn the_end_of_a_session_is_told_once_and_how_to_sign_in() {
    let scene = scene(Settings::default(), "");
    let desktop = Notifications::start(&scene.keyring);
    scene.provider.revoke_all();
    refresh(&scene).expect(4);
    let shown = desktop.shown_within(SOON);
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0].application, "gatepass");
    assert_eq!(
        shown[0].title,
        "Please sign in again at Example  b Corp /b "
    );
    assert!(shown[0].text.contains("has ended the session"), "{shown:?}");
    assert!(
        shown[0]
            .text
            .ends_with("Start a new session in Claude, or run: gatepass login"),
        "{shown:?}"
    );
    for _ in 0..3 {
        refresh(&scene).expect(4);
    }
    thread::sleep(WHILE);
    assert_eq!(desktop.shown().len(), 1, "once");

    // The next session has an end of its own.
    scene.login();
    scene.background().token();
    scene.provider.revoke_all();
    let codex = ["token", "--force-refresh", "--caller", "codex"];
    scene.gatepass(codex).run().expect(4);
    thread::sleep(WHILE);
    let shown = desktop.shown();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown[1]
            .text
            .ends_with("In a terminal, run: gatepass login"),
        "{shown:?}"
    );
}

#[test]
fn a_session_that_ends_with_its_token_is_told_once() {
    let settings = Settings {
        issue_refresh_token: false,
        access_token_seconds: 3,
        ..Settings::default()
    };
    let scene = scene(settings, "min_validity = 0");
    let desktop = Notifications::start(&scene.keyring);
    thread::sleep(Duration::from_secs(4));
    for _ in 0..3 {
        scene.background().expect(4);
    }
    thread::sleep(WHILE);
    assert_eq!(desktop.shown().len(), 1, "{:?}", desktop.shown());
}

#[test]
fn who_signed_out_who_never_signed_in_and_who_wants_none_is_not_told() {
    for (more, ends) in [("", false), ("notify = false", true)] {
        let scene = scene(Settings::default(), more);
        let desktop = Notifications::start(&scene.keyring);
        if ends {
            scene.provider.revoke_all();
        } else {
            scene.gatepass(["logout"]).run().expect(0);
        }
        refresh(&scene).expect(4);
        thread::sleep(WHILE);
        assert_eq!(desktop.shown(), [], "{more}");
    }
}

#[test]
fn a_desktop_that_is_slow_or_missing_delays_no_answer() {
    let scene = scene(Settings::default(), "");
    let desktop = Notifications::that_answer_after(&scene.keyring, Duration::from_secs(5));
    scene.provider.revoke_all();
    let done = refresh(&scene);
    done.expect(4);
    done.within(Duration::from_secs(4));
    drop(desktop);
}

#[test]
fn a_tab_that_a_host_opens_is_explained() {
    let scene = Scene::around(
        GATEPASS,
        Provider::start(Settings::default()),
        Person::without_browser(),
    );
    for (more, count) in [("", 1), ("notify = false", 0)] {
        scene.configure(&format!("{NAMES}\n{more}"));
        let desktop = Notifications::start(&scene.keyring);
        scene.gatepass([]).context("interactive").run().token();
        thread::sleep(WHILE);
        let shown = desktop.shown();
        assert_eq!(shown.len(), count, "{shown:?}");
        if let Some(first) = shown.first() {
            assert_eq!(first.title, "Sign in at Example  b Corp /b ");
            assert!(
                first.text.starts_with(
                    "Claude needs a sign-in for the gateway https://gateway.example.test"
                ),
                "{shown:?}"
            );
        }
        scene.gatepass(["logout"]).run().expect(0);
    }
    // A person at a terminal sees what happens without one.
    let desktop = Notifications::start(&scene.keyring);
    scene.configure(NAMES);
    scene.login();
    thread::sleep(WHILE);
    assert_eq!(desktop.shown(), []);
}
