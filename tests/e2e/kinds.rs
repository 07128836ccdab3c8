//! Behind the gateway: pasted keys, plain OAuth servers, exchanged tokens, secrets of the person's own; and the places
//! where a session can be kept.

use std::time::Duration;

use gatepass_testkit::lab::{
    Gatepass, Home, Keyring, Scene, needs_kernel_keyring, scan_for_secrets,
};
use gatepass_testkit::provider::{Fault, Hook, Provider, Response, Settings};
use serde_json::json;

use crate::GATEPASS;

fn scene(change: impl FnOnce(&mut Settings)) -> Scene<Provider> {
    let mut settings = Settings::default();
    change(&mut settings);
    Scene::scripted(GATEPASS, settings)
}

#[test]
fn a_pasted_key_is_printed_until_it_is_forgotten() {
    let (home, keyring) = (Home::new(), Keyring::start());
    home.config("kind = 'key'\ngateway_url = 'https://gw.example'\n");
    let gatepass = |arguments: &[&str]| {
        Gatepass::new(GATEPASS, &home)
            .keyring(&keyring)
            .args(arguments.iter().copied())
    };
    gatepass(&[]).context("interactive").run().expect(4);
    gatepass(&["login"])
        .input("sk-first.key/1+\n")
        .run()
        .expect(0);
    for arguments in [
        &[][..],
        &["token", "--min-validity", "86400"],
        &["token", "--force-refresh"],
    ] {
        assert_eq!(gatepass(arguments).run().token(), "sk-first.key/1+");
    }
    let status = gatepass(&["status", "--json"]).run();
    status.expect(0);
    assert!(!status.stdout.contains("sk-first"), "{}", status.stdout);
    let words = gatepass(&["status"]).run();
    assert!(
        words.stdout.contains("signed in    with a pasted key\n"),
        "{words:?}"
    );
    // Another key takes its place; an empty line leaves it; a broken one is refused.
    gatepass(&["login"]).input("sk-second\n").run().expect(0);
    gatepass(&["login"]).input("\n").run().expect(0);
    gatepass(&["login"]).input("sk second\n").run().expect(5);
    assert_eq!(gatepass(&[]).run().token(), "sk-second");
    assert!(scan_for_secrets(home.path(), &["sk-second".to_owned()]).is_empty());
    gatepass(&["logout"]).run().expect(0);
    gatepass(&[]).run().expect(4);
    assert!(keyring.items_snapshot().is_empty());
}

#[test]
fn secret_headers_are_asked_for_in_order_and_printed_as_json() {
    let (home, keyring) = (Home::new(), Keyring::start());
    home.config("kind = 'key'\nsecret_headers = ['X-B', 'X-A']\n[headers]\nX-Team = 'blue'\n");
    let gatepass = |arguments: &[&str]| {
        Gatepass::new(GATEPASS, &home)
            .keyring(&keyring)
            .args(arguments.iter().copied())
    };
    gatepass(&["login"])
        .input("key\nsecret b\n")
        .run()
        .expect(4);
    gatepass(&["login"])
        .input("key\nsecret b\nsecret-a\n")
        .run()
        .expect(0);
    let host = gatepass(&[]).context("background").run();
    host.expect(0);
    assert_eq!(
        host.json(),
        json!({"token": "key", "headers": {"X-A": "secret-a", "X-B": "secret b", "X-Team": "blue"}})
    );
    assert_eq!(gatepass(&[]).run().token(), "key");
    let flat = gatepass(&["token", "--output", "headers"]).run();
    assert_eq!(flat.json()["X-A"], "secret-a");
    assert_eq!(flat.json()["Authorization"], "Bearer key");
    // A header that nobody was asked for yet needs a login.
    home.config("kind = 'key'\nsecret_headers = ['X-B', 'X-A', 'X-C']\n");
    let missing = gatepass(&[]).run();
    missing.expect(4);
    assert!(missing.stderr.contains("X-C"), "{}", missing.stderr);
}

#[test]
fn secret_headers_come_with_a_providers_token_too() {
    let scene = scene(|_| {});
    scene.configure("secret_headers = ['X-Key']");
    // A host cannot ask for it.
    scene.gatepass([]).context("interactive").run().expect(4);
    assert_eq!(scene.provider.count("/authorize"), 0);
    scene.gatepass(["login"]).input("mine\n").run().expect(0);
    let host = scene.background();
    assert_eq!(host.json()["headers"], json!({"X-Key": "mine"}));
    // A refresh keeps it, and so does a new sign-in where nothing is typed.
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
    scene.gatepass(["login"]).input("\n").run().expect(0);
    assert_eq!(
        scene.background().json()["headers"],
        json!({"X-Key": "mine"})
    );
}

#[test]
fn a_plain_oauth_server_signs_in_refreshes_and_signs_out() {
    for (flow, registers) in [("--browser", false), ("--browser", true)] {
        let scene = scene(|settings| {
            settings.oauth_only = true;
            settings.registration = registers;
        });
        let client = if registers {
            ""
        } else {
            "client_id = 'gatepass'\n"
        };
        scene.home.config(&format!(
            "kind = 'oauth'\nissuer = '{}'\n{client}scopes = ['models']\n{}",
            scene.provider.issuer(),
            scene.person.config()
        ));
        scene.gatepass(["login", flow]).run().expect(0);
        let first = scene.background().token();
        scene.gatepass(["token", "--force-refresh"]).run().expect(0);
        assert_eq!(scene.provider.token_grants("refresh_token"), 1);
        assert_ne!(scene.background().token(), first);
        assert_eq!(scene.gatepass(["status"]).run().code, 0);
        scene.gatepass(["logout"]).run().expect(0);
        assert!(scene.provider.count("/revoke") >= 1);
        assert!(scene.keyring.items_snapshot().is_empty());
    }
}

#[test]
fn an_oauth_server_that_registers_nobody_is_a_matter_of_configuration() {
    let scene = scene(|settings| settings.oauth_only = true);
    scene.home.config(&format!(
        "kind = 'oauth'\nissuer = '{}'\n{}",
        scene.provider.issuer(),
        scene.person.config()
    ));
    scene.gatepass(["login", "--browser"]).run().expect(3);
}

fn exchanging(more: &str) -> Scene<Provider> {
    let scene = scene(|_| {});
    scene.configure(&format!(
        "[exchange]\ntoken_url = '{}'\naudience = 'https://gw.example'\nclient_id = 'exchanger'\n{more}",
        scene.provider.url("/token")
    ));
    scene
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

#[test]
fn the_gateways_token_is_exchanged_after_sign_in_and_after_each_refresh() {
    let scene = exchanging("");
    scene.gatepass(["login"]).run().expect(0);
    assert_eq!(scene.provider.token_grants(EXCHANGE), 1);
    let token = scene.background().token();
    let claims = gatepass_testkit::provider::jwt::Jwt::decode(&token)
        .unwrap()
        .claims;
    assert_eq!(claims["aud"], "https://gw.example");
    assert_eq!(scene.background().token(), token);
    assert_eq!(scene.provider.token_grants(EXCHANGE), 1);
    let again = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(again, token);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    assert_eq!(scene.provider.token_grants(EXCHANGE), 2);
}

#[test]
fn a_fault_of_the_exchange_is_told_as_such_and_ends_no_session() {
    let faults = [
        (Fault::oauth_error("invalid_target"), 3),
        (Fault::oauth_error("invalid_client"), 3),
        (Fault::oauth_error("invalid_grant"), 5),
        (Fault::status(503), 6),
        (
            Fault::json(|answer| answer["token_type"] = "DPoP".into()),
            8,
        ),
        (
            Fault::json(|answer| answer["access_token"] = "two words".into()),
            8,
        ),
        (
            Fault::json(|answer| {
                answer["issued_token_type"] =
                    "urn:ietf:params:oauth:token-type:refresh_token".into();
            }),
            8,
        ),
        (
            Fault::json(|answer| {
                answer.as_object_mut().unwrap().remove("issued_token_type");
            }),
            8,
        ),
    ];
    let scene = exchanging("");
    scene.gatepass(["login"]).run().expect(0);
    for (fault, code) in faults {
        scene.provider.script(Hook::ExchangeGrant, fault);
        let call = scene.gatepass(["token", "--force-refresh"]).run();
        call.expect(code);
        assert_eq!(call.stdout, "");
        assert!(call.stderr.contains("exchange"), "{}", call.stderr);
        scene.provider.clear_script();
        scene.gatepass(["token", "--force-refresh"]).run().token();
    }
    assert_eq!(scene.provider.families_revoked(), 0);
}

#[test]
fn a_refused_account_is_not_asked_for_again_at_once() {
    let scene = exchanging("");
    scene.gatepass(["login"]).run().expect(0);
    let audience = |audience: &str| {
        scene.configure(&format!(
            "[exchange]\ntoken_url = '{}'\naudience = '{audience}'\nclient_id = 'exchanger'\n",
            scene.provider.url("/token")
        ));
    };
    let refuse = || {
        let fault = Fault::oauth_error("access_denied");
        scene.provider.script(Hook::ExchangeGrant, fault);
    };
    let asked = || scene.provider.count("/token");
    let force = ["token", "--force-refresh"];
    refuse();
    audience("https://second.example");
    scene.background().expect(5);
    let before = asked();
    for _ in 0..3 {
        let call = scene.background();
        call.expect(5);
        assert!(call.stderr.contains("not asked again until"), "{call:?}");
        assert_eq!(call.stdout, "");
    }
    assert_eq!(asked(), before, "nobody was asked");
    // Whoever insists asks, and a success ends it.
    scene.gatepass(force).run().expect(5);
    assert!(asked() > before);
    scene.provider.clear_script();
    scene.background().expect(5);
    scene.gatepass(force).run().expect(0);
    scene.background().token();
    // Another configuration is another question, and so is another sign-in.
    refuse();
    audience("https://third.example");
    scene.background().expect(5);
    let before = asked();
    audience("https://fourth.example");
    scene.background().expect(5);
    assert!(asked() > before);
    scene.provider.clear_script();
    scene.background().expect(5);
    scene.gatepass(["login"]).run().expect(0);
    scene.background().token();
}

#[test]
fn an_exchanged_token_that_ends_is_exchanged_again_without_a_refresh() {
    let scene = scene(|settings| {
        settings.issue_refresh_token = false;
        settings.access_token_seconds = 3600;
    });
    scene.configure(&format!(
        "[exchange]\ntoken_url = '{}'\naudience = 'gw'\nclient_id = 'exchanger'\n",
        scene.provider.url("/token")
    ));
    scene.provider.script(
        Hook::ExchangeGrant,
        Fault::json(|answer| answer["expires_in"] = 1.into()),
    );
    scene.gatepass(["login"]).run().expect(0);
    std::thread::sleep(Duration::from_millis(1200));
    scene.background().token();
    assert_eq!(scene.provider.token_grants(EXCHANGE), 2);
    assert_eq!(scene.provider.token_grants("refresh_token"), 0);
}

#[test]
fn what_was_issued_under_another_configuration_is_not_exchanged() {
    let scene = exchanging("");
    scene.gatepass(["login"]).run().expect(0);
    scene.configure(&format!(
        "[exchange]\ntoken_url = '{}'\naudience = 'https://gw.example'\nclient_id = 'exchanger'\nsubject = 'id_token'\n",
        scene.provider.url("/token")
    ));
    scene.background().token();
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    assert_eq!(scene.provider.token_grants(EXCHANGE), 2);
}

#[test]
fn an_error_that_repeats_the_token_shows_none_of_it() {
    let scene = scene(|_| {});
    scene.configure("");
    scene.gatepass(["login"]).run().expect(0);
    let issued = scene.provider.issued_secrets();
    let sent: Vec<String> = issued
        .into_iter()
        .filter(|secret| scene.provider.refresh_token_lives(secret))
        .collect();
    assert_eq!(sent.len(), 1);
    let said = format!("no such token: {}", sent[0]);
    scene.provider.script(
        Hook::RefreshGrant,
        Fault::reply(Response::oauth_error(400, "invalid_grant", &said)),
    );
    let call = scene.gatepass(["token", "--force-refresh"]).run();
    call.expect(4);
    assert!(call.stderr.contains("no such token: "), "{}", call.stderr);
    assert!(!call.stderr.contains(&sent[0]), "{}", call.stderr);
    assert!(scan_for_secrets(scene.home.path(), &sent).is_empty());
}

#[test]
fn whoever_signed_in_a_moment_ago_is_not_asked_again() {
    // The new token still lives when the caller looks at it, also on a busy machine.
    let scene = scene(|settings| settings.access_token_seconds = 6);
    scene.configure("session_lifetime = 8");
    scene.gatepass(["login"]).run().expect(0);
    scene.provider.revoke_all();
    std::thread::sleep(Duration::from_millis(8200));
    let before = scene.provider.token_grants("authorization_code");
    scene.gatepass([]).context("interactive").run().expect(0);
    assert_eq!(
        scene.provider.token_grants("authorization_code"),
        before + 1
    );
}

#[test]
fn sessions_can_be_kept_elsewhere_where_that_is_asked_for() {
    for store in ["file", "keyutils"] {
        if store == "keyutils" {
            needs_kernel_keyring();
        }
        let scene = scene(|_| {});
        // The kernel's keyring is one for all homes of a user: another test's sign-out clears its own profile there.
        let profile = format!("kept-{}", std::process::id());
        scene.configure(&format!("store = '{store}'\n[profile.{profile}]\n"));
        // Without a Secret Service in sight.
        let call = |arguments: &[&str]| {
            Gatepass::new(GATEPASS, &scene.home)
                .args(arguments.iter().copied())
                .env("GATEPASS_PROFILE", &profile)
        };
        call(&["login", "--browser"]).run().expect(0);
        call(&["token", "--force-refresh"]).run().token();
        assert!(scene.keyring.items_snapshot().is_empty(), "{store}");
        let status = call(&["status", "--json"]).run();
        status.expect(0);
        call(&["logout"]).run().expect(0);
        call(&[]).run().expect(4);
        let left = scan_for_secrets(scene.home.path(), &scene.provider.issued_secrets());
        assert!(left.is_empty(), "{store}: {left:?}");
    }
}

#[test]
fn another_store_is_asked_anew_and_a_sign_out_leaves_nothing_in_the_one_before() {
    let scene = scene(|_| {});
    scene.configure("store = 'file'\n");
    scene.gatepass(["login", "--browser"]).run().expect(0);
    scene.configure("store = 'keychain'\ncache = 'none'\n");
    scene.background().expect(4);
    scene.configure("store = 'file'\ncache = 'none'\n");
    scene.background().token();
    scene.configure("store = 'keychain'\n");
    scene.gatepass(["logout"]).run().expect(0);
    let left = scan_for_secrets(scene.home.path(), &scene.provider.issued_secrets());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn who_is_allowed_is_looked_at_again_where_a_refresh_brings_no_id_token() {
    let scene = scene(|settings| settings.id_token_on_refresh = false);
    scene.configure("[required_claims]\nemail_domain = ['example.test']\n");
    scene.gatepass(["login"]).run().expect(0);
    scene.gatepass(["token", "--force-refresh"]).run().token();
    scene.configure("[required_claims]\nemail_domain = ['elsewhere.test']\n");
    let refused = scene.background();
    refused.expect(5);
    assert_eq!(refused.stdout, "");
    scene.background().expect(5);
    // Whoever mends the rule has signed no one out.
    scene.configure("[required_claims]\nemail_domain = ['example.test']\n");
    scene.background().expect(0);
}
