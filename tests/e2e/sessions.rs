//! What ends a session and what does not: the ordinary life of an organisation, as a provider that does exactly this
//! shows it. Only the provider's word, a person or the organisation ends a session.

use std::fs;
use std::time::Duration;

use gatepass_testkit::lab::{Outcome, Person, Scene};
use gatepass_testkit::provider::{self, Fault, Forgery, Hook, Provider, Response, Signing, When};
use serde_json::{Value, json};

use crate::GATEPASS;
use crate::one_writer::{kill, workers};

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
    scene.configure("log_level = \"info\"");
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
    let doctor = scene.gatepass(["doctor"]).run();
    let told = "it is kept and not renewed since";
    assert!(doctor.stdout.contains(told), "{doctor:?}");
    assert!(doctor.stdout.contains("tried again at"), "{doctor:?}");
    let log = fs::read_to_string(scene.home.state().join("gatepass.log")).unwrap();
    assert!(log.contains("tried again at"), "{log}");
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
    // The provider's clock is ten minutes ahead of this machine's, or two hours behind it: then what it issues for an
    // hour has expired here.
    for (ahead, word) in [(600, "slow"), (-7200, "fast")] {
        let scene = signed_in();
        scene
            .provider
            .set(|settings| settings.clock_ahead_seconds = ahead);
        let refused = insists(&scene);
        refused.expect(6);
        assert!(
            refused.stderr.contains("set this machine's clock"),
            "{refused:?}"
        );
        assert!(refused.stderr.contains(word), "{refused:?}");
        scene
            .provider
            .set(|settings| settings.clock_ahead_seconds = 0);
        goes_on(&scene);
    }
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
    let scene = signed_in();
    for (number, (error, code)) in [
        ("invalid_request", 3),
        ("invalid_token", 3),
        ("invalid_client", 3),
        ("unauthorized_client", 3),
        ("unsupported_grant_type", 3),
        ("invalid_scope", 3),
        ("invalid_target", 3),
        ("something_new", 3),
        ("access_denied", 5),
        ("interaction_required", 4),
        ("login_required", 4),
        ("consent_required", 4),
        ("account_selection_required", 4),
        ("mfa_required", 4),
        ("server_error", 6),
        ("temporarily_unavailable", 6),
    ]
    .into_iter()
    .enumerate()
    {
        let before = scene.background().token();
        scene
            .provider
            .script(Hook::RefreshGrant, Fault::oauth_error(error));
        let refused = insists(&scene);
        assert_eq!(refused.code, code, "{error}: {}", refused.stderr);
        assert_eq!(scene.background().token(), before, "{error}");
        scene.provider.clear_script();
        // A change of the configuration ends any pause.
        scene.configure(&format!("notify = {}", number % 2 != 0));
        insists(&scene).expect(0);
    }
    assert_eq!(scene.provider.families_revoked(), 0);
    assert_eq!(scene.provider.count("/authorize"), 0);
}

/// Entra says in a further member whether a refresh token is dead, or a person is needed.
#[test]
fn a_further_code_that_asks_for_the_person_ends_nothing() {
    let says = |suberror: &str| {
        let answer = json!({"error": "invalid_grant", "suberror": suberror});
        Fault::reply(Response::json(400, &answer))
    };
    let scene = signed_in();
    scene
        .provider
        .script(Hook::RefreshGrant, says("consent_required"));
    insists(&scene).expect(4);
    goes_on(&scene);
    scene.provider.script(Hook::RefreshGrant, says("bad_token"));
    insists(&scene).expect(4);
    scene.provider.clear_script();
    let sent = scene.provider.token_grants("refresh_token");
    scene.configure("notify = true");
    insists(&scene).expect(4);
    assert_eq!(scene.provider.token_grants("refresh_token"), sent);
}

/// A person who is there signs in at once, where the provider asks for that, and where it may mean a dead token.
#[test]
fn a_caller_that_may_prompt_signs_in_where_that_helps() {
    for (error, code, tabs) in [
        ("interaction_required", 0, 1),
        ("invalid_request", 0, 1),
        ("invalid_scope", 3, 0),
    ] {
        let scene = signed_in();
        scene
            .provider
            .script(Hook::RefreshGrant, Fault::oauth_error(error));
        scene
            .gatepass(["token", "--force-refresh"])
            .context("interactive")
            .run()
            .expect(code);
        assert_eq!(scene.provider.count("/authorize"), tabs, "{error}");
    }
}

/// The provider signs with another algorithm from now on, with a key of a new name.
#[test]
fn another_algorithm_is_looked_up_before_the_verdict() {
    let scene = scene(provider::Settings {
        signing: Signing::Rs256,
        ..provider::Settings::default()
    });
    scene
        .provider
        .set(|settings| settings.signing = Signing::Es256);
    scene.provider.clear_requests();
    insists(&scene).expect(0);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    assert_eq!(scene.provider.count("/jwks"), 1);
    goes_on(&scene);
}

/// The keys are elsewhere from now on, and others.
#[test]
fn keys_that_have_moved_are_looked_up_before_the_verdict() {
    let scene = signed_in();
    let moved = scene.provider.url("/jwks?moved=yes");
    scene.provider.script(
        Hook::Discovery,
        Fault::json(move |metadata| metadata["jwks_uri"] = json!(moved)),
    );
    scene.provider.rotate_keys();
    insists(&scene).expect(0);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    let asked = scene.provider.requests();
    let keys: Vec<_> = asked.iter().filter(|seen| seen.path == "/jwks").collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].parameter("moved"), Some("yes"));
    insists(&scene).expect(0);
    assert_eq!(scene.provider.count("/jwks"), 1);
}

/// The refresh token goes to the endpoint that issued it and to no other; when that is back, the session goes on.
#[test]
fn a_token_endpoint_that_moves_and_comes_back_ends_nothing() {
    let scene = signed_in();
    let before = scene.background().token();
    let moved = scene.provider.url("/token2");
    scene.provider.script(
        Hook::Discovery,
        Fault::json(move |metadata| metadata["token_endpoint"] = json!(moved)),
    );
    // What was kept of the provider is a day old.
    for file in fs::read_dir(scene.home.state()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "provider") {
            fs::remove_file(path).unwrap();
        }
    }
    let refused = insists(&scene);
    refused.expect(4);
    assert!(refused.stderr.contains("token endpoint"), "{refused:?}");
    assert_eq!(scene.provider.count("/token"), 0);
    assert_eq!(scene.provider.count("/token2"), 0);
    assert_eq!(scene.background().token(), before);
    goes_on(&scene);
}

/// The process dies between the two writes: the mark is in the same entry as the new refresh token, so an answer without
/// an ID token prints nothing afterwards.
#[test]
fn the_mark_of_an_unproven_answer_outlives_its_process() {
    let scene = signed_in();
    let forged = Fault::Forge(Forgery::UnknownKid);
    scene.provider.script_times(Hook::RefreshGrant, ..1, forged);
    // The fetch of new documents, which comes after the first write, never ends.
    scene
        .provider
        .script(Hook::Discovery, Fault::Stall(When::Before));
    let call = scene.gatepass(["token", "--force-refresh"]).spawn();
    let discovery = "/.well-known/openid-configuration";
    assert!(
        scene
            .provider
            .wait_for(discovery, 1, Duration::from_secs(30))
    );
    scene
        .provider
        .set(|settings| settings.id_token_on_refresh = false);
    let home = scene.home.path().display().to_string();
    for id in workers(&home) {
        kill(id);
    }
    // Another worker takes over, with the refresh token that the dead one has stored.
    call.wait().expect(4);
    assert_eq!(scene.provider.token_grants("refresh_token"), 2);
    assert_eq!(scene.provider.families_revoked(), 0);
    let entry = scene.keyring.lookup("default").expect("a session");
    assert!(entry.contains("\"unproven\""));
}

/// However odd an answer is, its refresh token is taken: the old one is used up.
#[test]
fn the_refresh_token_of_an_odd_answer_is_kept() {
    type Change = fn(&mut Value);
    let odd: [(&str, Change); 4] = [
        ("no access token", |answer| {
            answer.as_object_mut().unwrap().remove("access_token");
        }),
        ("a lifetime that is none", |answer| {
            answer["expires_in"] = json!({"minutes": 5});
        }),
        ("a token type that is none", |answer| {
            answer["token_type"] = json!(7);
        }),
        ("an ID token that is none", |answer| {
            answer["id_token"] = json!("a.b");
        }),
    ];
    for (what, edit) in odd {
        let scene = signed_in();
        scene
            .provider
            .script_times(Hook::RefreshGrant, ..1, Fault::json(edit));
        let refused = insists(&scene);
        assert!([0, 8].contains(&refused.code), "{what}: {refused:?}");
        goes_on(&scene);
    }
    // A member that appears twice, and is not the refresh token.
    let scene = signed_in();
    let twice = Fault::response(|answer| {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        answer.body = text
            .replacen('{', "{\"scope\":\"a\",\"scope\":\"b\",", 1)
            .into();
    });
    scene.provider.script_times(Hook::RefreshGrant, ..1, twice);
    insists(&scene).expect(8);
    goes_on(&scene);
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
    silent.within(Duration::from_secs(25));
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
