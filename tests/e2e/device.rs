//! Signing in with a device code.

use std::time::Duration;

use gatepass_testkit::lab::{Person, Running, Scene, Settings, wait_until};
use gatepass_testkit::provider;

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(20);

/// Where the person is sent and what they are to type there, as it stands on the screen.
fn instructions(scene: &Scene, login: &mut Running) -> (String, String) {
    let page = format!("{}/device", scene.provider.issuer());
    login.wait_for(SOON, |said| {
        // On a terminal both may be in colour.
        let address = &said[said.find(&page)?..];
        let address = address.split(|c: char| c.is_whitespace() || c.is_control()).next()?;
        let code = said.split(|c: char| !c.is_ascii_uppercase() && c != '-').find(|word| {
            matches!(word.split_once('-'), Some((left, right)) if left.len() == 4 && right.len() == 4)
        })?;
        Some((address.to_owned(), code.to_owned()))
    })
}

#[test]
fn a_person_confirms_in_chromium() {
    let scene = Scene::new(GATEPASS);
    let mut login = scene.gatepass(["login", "--device"]).spawn();
    let (address, code) = instructions(&scene, &mut login);
    let page = Person::with_chromium().with_code(&code).opens(&address);
    assert!(page.text().contains("Sign-in Success"), "{page:?}");

    let done = login.wait();
    done.expect(0);
    assert_eq!(
        done.stdout, "",
        "what is for the person stands on standard error"
    );
    for secret in scene.provider.secrets() {
        assert!(!done.stderr.contains(&secret), "{}", done.stderr);
    }
    assert_eq!(
        scene.provider.secrets_of("access_token"),
        [scene.background().token()]
    );
    assert!(
        scene
            .gatepass(["status", "--json"])
            .run()
            .stdout
            .contains("alice")
    );
}

#[test]
fn a_person_types_the_code_at_the_plain_address() {
    let scene = Scene::new(GATEPASS);
    let mut login = scene.gatepass(["login", "--device"]).spawn_on_terminal();
    let (_, code) = instructions(&scene, &mut login);
    let plain = format!("{}/device", scene.provider.issuer());
    let page = Person::without_browser().with_code(&code).opens(&plain);
    assert!(page.text().contains("Sign-in Success"), "{page:?}");
    assert_eq!(login.wait().code, 0);
    scene.background().token();
}

#[test]
fn a_denial_ends_the_sign_in() {
    let scene = Scene::new(GATEPASS);
    let mut login = scene.gatepass(["login", "--device"]).spawn();
    let (address, code) = instructions(&scene, &mut login);
    let page = Person::with_chromium()
        .with_code(&code)
        .who_refuses()
        .opens(&address);
    assert_eq!(page.error(), None, "{page:?}");
    login.wait().expect(5);
    assert!(scene.keyring.items_snapshot().is_empty());
    scene.background().expect(4);
}

#[test]
fn a_code_that_nobody_enters_expires() {
    let settings = Settings {
        device_code: 3,
        ..Settings::default()
    };
    let scene = Scene::with(GATEPASS, &settings, Person::without_browser());
    let done = scene.gatepass(["login", "--device"]).run();
    done.expect(5);
    done.within(Duration::from_secs(15));
    scene.background().expect(4);
}

#[test]
fn a_host_never_starts_a_device_sign_in() {
    let scene = Scene::new(GATEPASS);
    scene.configure("flow = \"device\"");
    for run in [
        scene.gatepass([]).context("interactive"),
        scene.gatepass(["token", "--interactive", "always"]),
    ] {
        let done = run.run();
        done.expect(4);
        assert!(
            done.stderr.ends_with("  try: gatepass login --device\n"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(scene.provider.count("device_authorization.success"), 0);
}

#[test]
fn a_provider_without_the_flow_is_a_matter_of_configuration() {
    let settings = Settings {
        device: false,
        ..Settings::default()
    };
    let scene = Scene::with(GATEPASS, &settings, Person::without_browser());
    scene.gatepass(["login", "--device"]).run().expect(3);
}

#[test]
fn a_verification_address_elsewhere_is_not_shown() {
    let scene = Scene::new(GATEPASS);
    scene.configure("device_hosts = [\"login.example.test\"]");
    let done = scene.gatepass(["login", "--device"]).run();
    done.expect(8);
    assert!(!done.stderr.contains("/device?"), "{}", done.stderr);
}

/// Signs in by device code at a provider that demands PKCE of it, or does not. Which requests had a challenge.
fn with_pkce(demanded: bool, more: &str) -> Vec<bool> {
    let scene = Scene::scripted(
        GATEPASS,
        provider::Settings {
            device_pkce: demanded,
            device_interval_seconds: 1,
            ..provider::Settings::default()
        },
    );
    scene.configure(more);
    let login = scene.gatepass(["login", "--device"]).spawn();
    let confirmed = wait_until(SOON, || {
        let codes = scene.provider.pending_user_codes();
        codes.iter().any(|code| scene.provider.confirm_device(code))
    });
    let done = login.wait();
    assert!(confirmed, "{done:?}");
    done.expect(0);
    scene.background().token();
    let requests = scene.provider.requests();
    let asked = requests
        .iter()
        .filter(|seen| seen.path == "/device_authorization");
    let polls = requests
        .iter()
        .filter(|seen| seen.parameter("device_code").is_some());
    let asked: Vec<bool> = asked
        .map(|seen| seen.parameter("code_challenge").is_some())
        .collect();
    for poll in polls {
        let proves = poll.parameter("code_verifier").is_some();
        assert_eq!(
            Some(&proves),
            asked.last(),
            "the verifier goes with its challenge"
        );
    }
    asked
}

#[test]
fn a_client_that_must_use_pkce_signs_in_by_device_code_and_others_are_not_bothered() {
    assert_eq!(with_pkce(false, ""), [false]);
    assert_eq!(with_pkce(true, ""), [false, true]);
    assert_eq!(with_pkce(true, "preset = \"keycloak\""), [true]);
}
