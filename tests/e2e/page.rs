//! The result page in a real Chromium: what it says, and whether everybody can read it. Pictures of all pages lie in
//! the build folder's `tmp/result-page`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use gatepass_testkit::lab::{Person, Scene, Settings, Walk};

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(40);
const PARTIES: &str =
    "display_name = \"Beispiel & Söhne شركة\"\ngateway_url = \"https://gateway.example.test\"";

fn pictures(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("result-page")
        .join(name)
}

fn scene(person: Person) -> Scene {
    let scene = Scene::with(GATEPASS, &Settings::default(), person);
    scene.configure(PARTIES);
    scene
}

/// Everybody can read it: on a phone, in the dark, with a screen reader, without script; nothing comes from elsewhere.
#[track_caller]
fn is_for_everybody(page: &Walk, scene: &Scene) {
    assert_eq!(page.error(), None, "{page:?}");
    assert_eq!(
        page.complaints_but_from(scene.provider.issuer()),
        [""; 0],
        "{page:?}"
    );
    assert!(page.html().len() < 10_000);
    assert!(!page.html().contains("<script"));
    assert_eq!(page.header("content-language"), "en");
    let looks = page.inspected();
    assert_eq!(looks.len(), 4, "{page:?}");
    for look in looks {
        assert_eq!(look["scrolls"], false, "{look}");
        assert_eq!(look["violations"], serde_json::json!([]), "{look}");
        assert_eq!(look["lang"], "en");
        assert_eq!(look["headings"].as_array().unwrap().len(), 1, "{look}");
        let passes = look["passes"].to_string();
        for rule in [
            "color-contrast",
            "document-title",
            "html-has-lang",
            "region",
        ] {
            assert!(passes.contains(rule), "{rule} was not checked: {look}");
        }
        let status = look["status"].as_str().unwrap();
        assert!(
            status.contains(look["headings"][0].as_str().unwrap()),
            "what happened is announced: {look}"
        );
    }
    let backgrounds: BTreeSet<String> = looks
        .iter()
        .map(|look| look["background"].to_string())
        .collect();
    assert_eq!(backgrounds.len(), 2, "light and dark");
    for name in ["Beispiel & Söhne شركة", "https://gateway.example.test"] {
        assert!(page.text().contains(name), "{page:?}");
    }
}

#[test]
fn it_says_who_is_signed_in() {
    let scene = scene(Person::with_chromium().who_inspects(&pictures("signed-in")));
    let page = scene.login();
    is_for_everybody(&page, &scene);
    assert!(page.title().starts_with("You are signed in"), "{page:?}");
    assert!(page.text().contains("You are signed in"), "{page:?}");
    assert!(page.text().contains("alice@example.test"), "{page:?}");
}

#[test]
fn it_says_that_the_sign_in_was_refused() {
    let person = Person::with_chromium()
        .who_inspects(&pictures("refused"))
        .who_refuses();
    let scene = scene(person);
    scene.gatepass(["login", "--browser"]).run().expect(5);
    let page = scene.person.saw_within(SOON).expect("the last page");
    is_for_everybody(&page, &scene);
    assert!(page.text().contains("You are not signed in"), "{page:?}");
    assert!(!page.text().contains("alice"), "{page:?}");
}

#[test]
fn it_says_that_the_account_is_not_an_allowed_one() {
    let person = Person::with_chromium().who_inspects(&pictures("not-allowed"));
    let scene = scene(person);
    scene.configure(&format!(
        "{PARTIES}\n[required_claims]\nemail_domain = \"elsewhere.test\""
    ));
    scene.gatepass(["login", "--browser"]).run().expect(5);
    let page = scene.person.saw_within(SOON).expect("the last page");
    is_for_everybody(&page, &scene);
    assert!(
        page.text().contains("This account cannot be used here"),
        "{page:?}"
    );
}

#[test]
fn it_says_which_application_asked_and_whether_it_still_waits() {
    let person = || Person::with_chromium().who_waits(Duration::from_secs(2));
    let mut scene = scene(person().who_inspects(&pictures("awaited")));
    let host = scene.gatepass([]).context("interactive").spawn();
    let page = scene.person.saw_within(SOON).expect("the last page");
    host.wait().expect(0);
    is_for_everybody(&page, &scene);
    assert!(page.text().contains("it goes on by itself"), "{page:?}");
    assert!(page.text().contains("Claude"), "{page:?}");

    scene.gatepass(["logout"]).run().expect(0);
    scene.provider.clear();
    scene.enters(person().who_inspects(&pictures("not-awaited")));
    scene.configure(PARTIES);
    let host = scene.gatepass([]).context("interactive").spawn();
    assert!(scene.provider.wait_for("request", SOON), "the tab is open");
    host.kill();
    let page = scene.person.saw_within(SOON).expect("the last page");
    is_for_everybody(&page, &scene);
    assert!(page.text().contains("You are signed in"), "{page:?}");
    assert!(
        page.text().contains("has stopped waiting") && page.text().contains("start again"),
        "{page:?}"
    );
    scene.background().token();
}

#[test]
fn it_says_that_the_sign_in_has_expired() {
    let scene = scene(Person::without_browser());
    let note = scene.home.path().join("address");
    // A tab that nobody looks at.
    scene.home.config(&format!(
        "issuer = \"{}\"\nclient_id = \"gatepass\"\nsign_in_timeout = 30\n{PARTIES}\n\
         browser = [\"/bin/sh\", \"-c\", 'echo \"$1\" > \"$0.new\"; mv \"$0.new\" \"$0\"', \"{}\"]\n",
        scene.provider.issuer(),
        note.display()
    ));
    let host = scene.gatepass([]).context("interactive").spawn();
    host.wait().expect(5);
    let address = std::fs::read_to_string(note).unwrap();
    let late = Person::with_chromium().who_inspects(&pictures("expired"));
    let page = late.opens(address.trim());
    is_for_everybody(&page, &scene);
    assert!(
        page.text().contains("This sign-in has expired") && page.text().contains("start again"),
        "{page:?}"
    );
    assert!(scene.keyring.items_snapshot().is_empty());
}
