//! Two issuers in one configuration, one of which is hostile: it sends the browser on to the other one, whose code it
//! wants (RFC 9700 section 4.4).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gatepass_testkit::lab::{PolicyFolder, Scene};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings};
use serde_json::json;

use crate::GATEPASS;

/// The honest issuer, which sends no `iss` and knows its client's redirect address, and everything around it.
fn honest() -> Scene<Provider> {
    Scene::scripted(
        GATEPASS,
        Settings {
            redirect_iss: false,
            redirect_path: Some("/callback".to_owned()),
            ..Settings::default()
        },
    )
}

/// An issuer whose authorization endpoint is the honest one's. Client, `state`, challenge and redirect go there.
fn hostile(honest: &Scene<Provider>, names_itself: bool) -> Provider {
    let hostile = Provider::start(Settings {
        redirect_iss: names_itself,
        ..Settings::default()
    });
    let endpoint = honest.provider.url("/authorize");
    let lie = Fault::json(move |metadata| {
        metadata["authorization_endpoint"] = json!(endpoint);
    });
    hostile.script_times(Hook::Discovery, .., lie);
    hostile
}

/// The codes that the hostile issuer has got.
fn stolen(hostile: &Provider) -> usize {
    hostile.token_grants("authorization_code")
}

fn profile(hostile: &Provider, more: &str) -> String {
    format!(
        "sign_in_timeout = 30\n[profile.other]\nissuer = \"{}\"\n{more}\n",
        hostile.issuer()
    )
}

#[test]
fn a_second_issuer_gets_no_code_of_the_first_ones() {
    let scene = honest();
    let hostile = hostile(&scene, false);
    scene.configure(&profile(&hostile, ""));
    // The honest one refuses an address that is not registered there, and the person does not come back.
    let outcome = scene
        .gatepass(["--profile", "other", "login", "--browser"])
        .limit(Duration::from_secs(60))
        .run();
    outcome.expect(5);
    for path in ["/callback/other with the provider", "/callback any more"] {
        assert!(outcome.stderr.contains(path), "{}", outcome.stderr);
    }
    assert!(
        scene.provider.count("/authorize") > 0,
        "the attack was tried"
    );
    assert_eq!(stolen(&hostile), 0);
    // The first one's own sign-in is as it was.
    scene.login();
}

/// What the paths are there for: with one path for both, the hostile issuer gets the code.
#[test]
fn one_path_for_two_issuers_is_reported_since_it_gives_codes_away() {
    let scene = honest();
    let hostile = hostile(&scene, false);
    scene.configure(&profile(&hostile, "redirect_path = \"/callback\""));
    let reported = |arguments: &[&str]| {
        let outcome = scene.gatepass(arguments.iter().copied()).run();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(
            said.contains("have the same redirect path /callback"),
            "{said}"
        );
    };
    reported(&["config", "check"]);
    reported(&["--profile", "other", "doctor"]);
    let _ = scene
        .gatepass(["--profile", "other", "login", "--browser"])
        .run();
    assert_eq!(
        stolen(&hostile),
        1,
        "the attack works where nothing is in its way"
    );
}

#[test]
fn another_file_is_no_way_around() {
    let scene = honest();
    let hostile = hostile(&scene, true);
    let issuer = scene.provider.issuer();
    let browser = scene.person.config();
    let file = scene.home.path().join("other.toml");
    let text = format!(
        "issuer = \"{issuer}\"\nclient_id = \"gatepass\"\n{browser}{}",
        profile(&hostile, "redirect_path = \"/callback\"")
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // The hostile one has promised `iss`, so that what the honest one sends is refused.
    let outcome = scene
        .gatepass(["--config", file.to_str().unwrap(), "--profile", "other"])
        .args(["login", "--browser"])
        .run();
    outcome.expect(8);
    assert_eq!(stolen(&hostile), 0);
}

#[test]
fn the_path_of_a_locked_issuer_is_refused_to_others() {
    let scene = honest();
    let hostile_one = hostile(&scene, false);
    let policy = PolicyFolder::new(&format!(
        "[locked.profile.work]\nissuer = \"{}\"\nclient_id = \"gatepass\"\n",
        scene.provider.issuer()
    ));
    let browser = scene.person.config();
    let configure = |issuer: &Provider, path: &str| {
        scene.home.config(&format!(
            "issuer = \"{}\"\nclient_id = \"gatepass\"\n{path}{browser}[profile.work]\nredirect_path = \"/mine\"\n",
            issuer.issuer()
        ));
    };
    let run = |arguments: &[&str]| {
        scene
            .gatepass(arguments.iter().copied())
            .policy(&policy)
            .run()
    };
    for path in ["", "redirect_path = \"/callback\"\n"] {
        configure(&hostile_one, path);
        let refused = run(&["login", "--browser"]);
        refused.expect(3);
        assert!(refused.stderr.contains("RFC 9207"), "{}", refused.stderr);
        let checked = run(&["config", "check"]);
        assert!(checked.stdout.contains("RFC 9207"), "{}", checked.stdout);
        assert!(run(&["doctor"]).stdout.contains("RFC 9207"));
    }
    assert_eq!(
        scene.provider.count("/authorize"),
        0,
        "nobody was sent there"
    );
    // One that promises to name itself may have it; the other one's answer is not taken for its own.
    let named = hostile(&scene, true);
    configure(&named, "");
    run(&["login", "--browser"]).expect(8);
    assert_eq!(stolen(&hostile_one) + stolen(&named), 0);
    // The locked one is where it was, whatever the user's file says about its path.
    run(&["--profile", "work", "login", "--browser"]).expect(0);
}
