//! Real gateways that check tokens by themselves. `cargo xtask test --interop` installs and runs them.

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::lab::{Apache, LiteLlm, Scene};
use gatepass_testkit::provider::client::{Reply, get_with, post_json};
use gatepass_testkit::provider::{self, Provider};
use serde_json::{Value, json};

use crate::GATEPASS;

const AUDIENCE: &str = "https://gateway.example.test";

fn scene() -> Scene<Provider> {
    let settings = provider::Settings {
        audience: AUDIENCE.to_owned(),
        ..provider::Settings::default()
    };
    Scene::scripted(GATEPASS, settings).signed_in()
}

/// A token as the provider makes them, with one claim changed.
fn token_with(provider: &Provider, claim: &str, value: Value) -> String {
    let given = provider.issue_tokens("gatepass", "openid");
    let text = given["access_token"].as_str().unwrap();
    let mut claims = claims(text);
    claims[claim] = value;
    provider.sign(&claims)
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let body = token.split('.').nth(1).unwrap();
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(body)
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// What no gateway may let pass, and what it is called.
fn bad_tokens(provider: &Provider, good: &str) -> Vec<(&'static str, Option<String>)> {
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    vec![
        (
            "expired",
            Some(token_with(provider, "exp", 1_700_000_000.into())),
        ),
        (
            "for another audience",
            Some(token_with(
                provider,
                "aud",
                "https://other.example.test".into(),
            )),
        ),
        (
            "tampered",
            Some(format!("{rest}.{first}{}", &signature[1..])),
        ),
        ("without a signature", Some(format!("{rest}."))),
        ("garbage", Some("opaque".to_owned())),
        ("missing", None),
    ]
}

fn ask(url: &str, token: Option<&str>) -> Reply {
    let header = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = header
        .iter()
        .map(|value| ("Authorization", value.as_str()))
        .collect();
    let question = json!({
        "model": "demo",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": "Hello"}],
    });
    post_json(&format!("{url}/v1/messages"), &headers, &question).unwrap()
}

#[test]
#[ignore = "needs LiteLLM: cargo xtask test --interop"]
fn litellm_takes_what_gatepass_prints_and_nothing_else() {
    let scene = scene();
    let jwks = scene.provider.url("/jwks");
    let gateway = LiteLlm::start(&scene.provider.issuer(), &jwks, AUDIENCE);
    let good = scene.background().token();
    let answer = ask(gateway.url(), Some(&good));
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), gateway.said());
    let answer = answer.json();
    assert_eq!(answer["type"], "message");
    assert_eq!(answer["content"][0]["text"], "Hello from the gateway.");
    for (what, token) in bad_tokens(&scene.provider, &good) {
        let answer = ask(gateway.url(), token.as_deref());
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    }

    // The header lines that hosts are given for other servers work as well.
    let headers = scene
        .gatepass(["token", "--output", "headers"])
        .run()
        .json();
    let bearer = headers["Authorization"].as_str().unwrap();
    assert_eq!(bearer, format!("Bearer {good}"));

    // The issuer's keys change. The gateway has kept the old ones, and learns of the new one by the first token that
    // names it. From then on the token that the host has is refused before its time, and the host asks again.
    let fetched = || scene.provider.count("/jwks");
    let before = fetched();
    scene.provider.rotate_keys();
    assert_eq!(ask(gateway.url(), Some(&good)).status, 200);
    assert_eq!(fetched(), before, "keys are kept");
    let new = scene.provider.issue_tokens("gatepass", "openid");
    let new = new["access_token"].as_str().unwrap();
    let refreshed = scene.provider.token_grants("refresh_token");
    assert_eq!(ask(gateway.url(), Some(new)).status, 200);
    assert_eq!(ask(gateway.url(), Some(&good)).status, 401);
    let again = || {
        scene
            .gatepass([])
            .context("mid-session-refresh")
            .run()
            .token()
    };
    let next = again();
    assert_ne!(next, good);
    assert_eq!(ask(gateway.url(), Some(&next)).status, 200);
    assert_eq!(again(), next, "once is enough");
    assert_eq!(scene.provider.token_grants("refresh_token"), refreshed + 1);
    // However many tokens with made-up keys come, the provider is asked six times a minute at most.
    let header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im1hZGUtdXAifQ";
    let (_, rest) = good.split_once('.').unwrap();
    for _ in 0..12 {
        let answer = ask(gateway.url(), Some(&format!("{header}.{rest}")));
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    assert!(fetched() - before <= 7, "{}", fetched() - before);
}

#[test]
#[ignore = "needs LiteLLM: cargo xtask test --interop"]
fn doctor_finds_litellm_in_order_and_says_when_it_refuses() {
    let scene = scene();
    let jwks = scene.provider.url("/jwks");
    let configured = |url: &str| {
        scene.configure(&format!("gateway_url = '{url}'"));
        let done = scene
            .gatepass(["doctor", "--json", "--model", "demo"])
            .run();
        (done.code, done.stdout)
    };
    let gateway = LiteLlm::start(&scene.provider.issuer(), &jwks, AUDIENCE);
    let (code, said) = configured(gateway.url());
    assert_eq!(code, 0, "{said}\n{}", gateway.said());
    drop(gateway);
    let other = LiteLlm::start(
        &scene.provider.issuer(),
        &jwks,
        "https://other.example.test",
    );
    let (code, said) = configured(other.url());
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("401"), "{said}");
}

#[test]
#[ignore = "needs Apache with mod_auth_openidc: cargo xtask test --interop"]
fn apache_lets_pass_what_gatepass_prints_and_nothing_else() {
    let scene = scene();
    let issuer = scene.provider.issuer();
    let behind = Gateway::start(&issuer, AUDIENCE);
    let front = Apache::start(&scene.provider.url("/jwks"), AUDIENCE, &behind.url());
    let good = scene.background().token();
    let answer = ask(front.url(), Some(&good));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        behind
            .requests()
            .iter()
            .filter(|seen| seen.path == "/v1/messages")
            .count(),
        1
    );
    for (what, token) in bad_tokens(&scene.provider, &good) {
        let answer = ask(front.url(), token.as_deref());
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        // A token that is valid but for somebody else gets 401 without a word about it.
        let told = answer
            .header("www-authenticate")
            .is_some_and(|how| how.starts_with("Bearer"));
        assert_eq!(
            told,
            what != "for another audience",
            "{what}: {:?}",
            answer.headers
        );
    }
    let passed = behind
        .requests()
        .iter()
        .filter(|seen| seen.path == "/v1/messages")
        .count();
    assert_eq!(passed, 1, "nothing else came through");

    let lines = scene.gatepass(["token", "--output", "header"]).run();
    let (name, value) = lines.stdout.trim_end().split_once(": ").unwrap();
    let models = get_with(&format!("{}/v1/models", front.url()), &[(name, value)]).unwrap();
    assert_eq!(models.status, 200);

    // A refreshed token is as good.
    let next = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(next, good);
    assert_eq!(ask(front.url(), Some(&next)).status, 200);
}
