//! What ends a session and what does not: the ordinary life of an organisation, as a provider that does exactly this
//! shows it. Only the provider's word, a person or the organisation ends a session.

use std::time::Duration;

use gatepass_testkit::lab::{Outcome, Person, Scene};
use gatepass_testkit::provider::{self, Fault, Hook, Provider, When};
use serde_json::{Value, json};

use crate::GATEPASS;

fn scene(settings: provider::Settings) -> Scene<Provider> {
    let provider = Provider::start(settings);
    Scene::around(GATEPASS, provider, Person::without_browser()).signed_in()
}

fn signed_in() -> Scene<Provider> {
    scene(provider::Settings::default())
}

/// A person who insists: nothing that passed before is printed in its place.
fn insists(scene: &Scene<Provider>) -> Outcome {
    scene.gatepass(["token", "--force-refresh"]).run()
}

/// The person never has to sign in again: what was in the way is gone, and the same session goes on.
fn goes_on(scene: &Scene<Provider>) {
    scene.provider.clear_script();
    // A change of the configuration ends any pause.
    scene.configure("notify = false");
    insists(scene).expect(0);
    scene.background().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::claims(change)
}

/// A provider that replaces its signing key keeps its people, whether the key's name changes or not.
#[test]
fn a_changed_signing_key_is_looked_up_before_the_verdict() {
    for keeps_the_name in [false, true] {
        let scene = signed_in();
        if keeps_the_name {
            let named = |key: &mut Value| key["kid"] = json!("the-key");
            scene.provider.script(
                Hook::Keys,
                Fault::json(move |set| {
                    set["keys"]
                        .as_array_mut()
                        .unwrap()
                        .iter_mut()
                        .for_each(named)
                }),
            );
            scene.provider.script(
                Hook::Token,
                Fault::jose_header(|header| header["kid"] = json!("the-key")),
            );
            // What is kept of the provider has the old key under this name.
            scene.login();
        }
        scene.provider.rotate_keys();
        scene.provider.clear_requests();
        insists(&scene).expect(0);
        assert_eq!(scene.provider.token_grants("refresh_token"), 1);
        assert_eq!(scene.provider.count("/jwks"), 1);
        insists(&scene).expect(0);
        assert_eq!(scene.provider.count("/jwks"), 1, "one look is enough");
    }
}

/// A token that no key of the issuer has signed is not printed, and the next one proves the session again.
#[test]
fn an_answer_that_fails_its_checks_is_no_reason_to_forget() {
    let scene = signed_in();
    let before = scene.background().token();
    let wrong = edit(|claims| claims["azp"] = json!("another"));
    scene.provider.script(Hook::RefreshGrant, wrong);
    let refused = insists(&scene);
    refused.expect(8);
    assert!(refused.stderr.contains("you stay signed in"), "{refused:?}");
    // What passed before is printed while it is valid, and status says what is wrong.
    assert_eq!(scene.background().token(), before);
    let status = scene.gatepass(["status", "--json"]).run().json();
    assert_eq!(status["held_back"]["error"], "untrusted-response");
    assert!(status["held_back"]["next_try"].is_string(), "{status}");
    // For a moment it is not asked again, then it is.
    let sent = scene.provider.token_grants("refresh_token");
    insists(&scene).expect(8);
    assert_eq!(scene.provider.token_grants("refresh_token"), sent);
    goes_on(&scene);
    let status = scene.gatepass(["status", "--json"]).run().json();
    assert_eq!(status["held_back"], Value::Null);
}

/// After an answer that failed its checks, one without an ID token proves nothing.
#[test]
fn an_unproven_session_that_is_renewed_without_an_id_token_needs_a_sign_in() {
    let scene = signed_in();
    let wrong = edit(|claims| claims["azp"] = json!("another"));
    scene.provider.script(Hook::RefreshGrant, wrong);
    insists(&scene).expect(8);
    scene.provider.clear_script();
    scene
        .provider
        .set(|settings| settings.id_token_on_refresh = false);
    scene.configure("notify = false");
    insists(&scene).expect(4);
    let sent = scene.provider.token_grants("refresh_token");
    scene.configure("notify = true");
    insists(&scene).expect(4);
    assert_eq!(scene.provider.token_grants("refresh_token"), sent);
    scene.login();
    insists(&scene).expect(0);
}

#[test]
fn a_clock_that_is_wrong_is_named_and_costs_nothing() {
    let scene = signed_in();
    scene
        .provider
        .set(|settings| settings.clock_ahead_seconds = 600);
    let refused = insists(&scene);
    refused.expect(6);
    assert!(
        refused.stderr.contains("set this machine's clock"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("slow"), "{refused:?}");
    scene
        .provider
        .set(|settings| settings.clock_ahead_seconds = 0);
    goes_on(&scene);
}

/// Somebody who signs in again in the same session with the provider has a later `auth_time`.
#[test]
fn a_later_authentication_is_no_fault() {
    let scene = signed_in();
    let later = edit(|claims| {
        let then = claims["auth_time"].as_u64().unwrap_or(1_700_000_000);
        claims["auth_time"] = json!(then + 1000);
    });
    scene.provider.script(Hook::RefreshGrant, later);
    insists(&scene).expect(0);
}

/// What is not printed may be odd.
#[test]
fn an_odd_access_token_is_no_fault_where_the_id_token_is_printed() {
    let provider = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, provider, Person::without_browser());
    scene.configure("token = \"id_token\"");
    let scene = scene.signed_in();
    let odd = Fault::access_token(|token| token.push_str(" with spaces"));
    scene.provider.script(Hook::RefreshGrant, odd);
    insists(&scene).expect(0);
}

/// Each error code of OAuth but `invalid_grant` keeps the session.
#[test]
fn what_the_token_endpoint_refuses_is_kept_and_told() {
    for (error, code) in [
        ("invalid_request", 3),
        ("invalid_client", 3),
        ("invalid_scope", 3),
        ("invalid_target", 3),
        ("something_new", 3),
        ("access_denied", 5),
        ("interaction_required", 4),
        ("temporarily_unavailable", 6),
    ] {
        let scene = signed_in();
        let before = scene.background().token();
        scene
            .provider
            .script(Hook::RefreshGrant, Fault::oauth_error(error));
        let refused = insists(&scene);
        assert_eq!(refused.code, code, "{error}: {}", refused.stderr);
        assert_eq!(scene.background().token(), before, "{error}");
        goes_on(&scene);
    }
}

#[test]
fn the_providers_own_word_ends_a_session() {
    let scene = signed_in();
    scene.provider.revoke_all();
    insists(&scene).expect(4);
    let sent = scene.provider.token_grants("refresh_token");
    insists(&scene).expect(4);
    assert_eq!(scene.provider.token_grants("refresh_token"), sent);
}

/// A mistyped rule keeps people from printing, and does not sign them out.
#[test]
fn a_mended_rule_lets_people_go_on() {
    let scene = signed_in();
    scene.configure("[required_claims]\nemail = \"alcie\"");
    let refused = insists(&scene);
    refused.expect(5);
    assert!(refused.stderr.contains("the account alice"), "{refused:?}");
    scene.background().expect(5);
    scene.configure("[required_claims]\nemail = \"alice\"");
    scene.background().expect(0);
}

/// The provider rotates, the answer is lost on the way, and the repeat is forgiven: nobody notices.
#[test]
fn a_lost_answer_costs_nothing_where_the_provider_forgives() {
    let forgiving = provider::Settings {
        reuse_grace_seconds: 3,
        ..provider::Settings::default()
    };
    for fault in [
        Fault::Drop(When::After),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"acc".to_vec()),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-".to_vec()),
        Fault::Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"access_token\":\"a".to_vec()),
    ] {
        let scene = scene(forgiving.clone());
        scene.provider.script_times(Hook::RefreshGrant, ..1, fault);
        insists(&scene).expect(0);
        assert_eq!(scene.provider.token_grants("refresh_token"), 2);
        insists(&scene).expect(0);
        assert_eq!(scene.provider.families_revoked(), 0);
    }
}

/// Two sendings are the most, and a second loss is no end: the next call finds the provider forgiving.
#[test]
fn a_second_loss_is_told_and_the_session_kept() {
    let scene = scene(provider::Settings {
        reuse_grace_seconds: 30,
        ..provider::Settings::default()
    });
    scene
        .provider
        .script_times(Hook::RefreshGrant, ..2, Fault::Drop(When::After));
    insists(&scene).expect(6);
    assert_eq!(scene.provider.token_grants("refresh_token"), 2);
    insists(&scene).expect(0);
}

/// No answer at all: the first request may still be under way, so nothing is repeated.
#[test]
fn silence_is_waited_for_and_nothing_is_repeated() {
    let scene = signed_in();
    scene
        .provider
        .script_times(Hook::RefreshGrant, ..1, Fault::Stall(When::Before));
    let silent = scene
        .gatepass(["token", "--force-refresh"])
        .limit(Duration::from_secs(40))
        .run();
    silent.expect(6);
    assert!(
        silent.elapsed < Duration::from_secs(25),
        "{:?}",
        silent.elapsed
    );
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    insists(&scene).expect(0);
}

/// A token that lives on is printed, although nothing can renew it.
#[test]
fn without_a_refresh_token_the_token_in_hand_is_printed_while_it_lives() {
    let scene = scene(provider::Settings {
        issue_refresh_token: false,
        access_token_seconds: 3600,
        ..provider::Settings::default()
    });
    for _ in 0..2 {
        let call = scene
            .gatepass(["token"])
            .context("mid-session-refresh")
            .run();
        call.expect(0);
    }
}
