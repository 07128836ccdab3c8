//! What a right client never does to the provider over real sockets, and so no end-to-end test either: were the provider
//! less strict, nobody would notice.

use std::thread;

use serde_json::Value;
use url::Url;

use super::client::{Reply, get, post_form, post_form_with};
use super::codes::s256;
use super::jwt::{Jwt, SignatureError};
use super::*;

const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const SCOPE: &str = "openid profile email offline_access";

fn start(settings: Settings) -> Provider {
    Provider::start(Settings {
        auto_approve: true,
        ..settings
    })
}

fn authorize_url(provider: &Provider, further: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&provider.url("/authorize")).unwrap();
    url.query_pairs_mut()
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", SCOPE),
            ("state", "st"),
            ("nonce", "nn"),
            ("code_challenge", &s256(VERIFIER)),
            ("code_challenge_method", "S256"),
        ])
        .extend_pairs(further);
    url.into()
}

fn code(provider: &Provider) -> String {
    let reply = get(&authorize_url(provider, &[])).unwrap();
    assert_eq!(reply.status, 303, "{}", reply.text());
    assert!(reply.header("location").unwrap().starts_with(REDIRECT_URI));
    assert_eq!(reply.location_parameter("state").as_deref(), Some("st"));
    assert_eq!(reply.location_parameter("iss"), Some(provider.issuer()));
    reply.location_parameter("code").unwrap()
}

fn redeem(provider: &Provider, code: &str) -> Reply {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    post_form(&provider.url("/token"), &form).unwrap()
}

fn refresh(provider: &Provider, token: &str) -> Reply {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("refresh_token", token),
    ];
    post_form(&provider.url("/token"), &form).unwrap()
}

fn sign_in(provider: &Provider) -> Value {
    let reply = redeem(provider, &code(provider));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {value}"))
}

/// The ID token of a token answer, verified with the published keys.
fn id_token(provider: &Provider, tokens: &Value) -> (Jwt, Result<(), SignatureError>) {
    let jwks = get(&provider.url("/jwks")).unwrap().json();
    let token = Jwt::decode(text(tokens, "id_token")).unwrap();
    let verified = token.verify_signature(&jwks);
    (token, verified)
}

#[track_caller]
fn assert_error(reply: &Reply, status: u16, error: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.json()["error"], error);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn wrong_authorization_requests_come_back_or_stay() {
    let provider = start(Settings::default());
    let plain = authorize_url(&provider, &[]).replace("S256", "plain");
    let reply = get(&plain).unwrap();
    assert_eq!(
        reply.location_parameter("error").as_deref(),
        Some("invalid_request")
    );
    assert_eq!(reply.location_parameter("state").as_deref(), Some("st"));

    let stranger = authorize_url(&provider, &[]).replace("127.0.0.1%3A9", "evil.test%3A9");
    let repeated = authorize_url(&provider, &[("state", "other")]);
    for url in [stranger, repeated] {
        let reply = get(&url).unwrap();
        assert_eq!(reply.status, 400);
        assert!(reply.header("location").is_none());
    }
    for host in ["localhost%3A1", "%5B%3A%3A1%5D%3A65535"] {
        let url = authorize_url(&provider, &[]).replace("127.0.0.1%3A9", host);
        assert_eq!(get(&url).unwrap().status, 303);
    }
}

#[test]
fn a_code_is_bound_and_works_once() {
    let provider = start(Settings::default());
    let code = code(&provider);
    let good = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in [
        ("client_id", "other"),
        ("redirect_uri", "http://127.0.0.1:10/callback"),
        (
            "code_verifier",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    ] {
        let wrong = good.map(|pair| if pair.0 == name { (name, value) } else { pair });
        let reply = post_form(&provider.url("/token"), &wrong).unwrap();
        assert_error(&reply, 400, "invalid_grant");
    }
    let tokens = redeem(&provider, &code).json();
    assert_error(&redeem(&provider, &code), 400, "invalid_grant");
    assert_eq!(provider.families_revoked(), 1);
    let refreshed = refresh(&provider, text(&tokens, "refresh_token"));
    assert_error(&refreshed, 400, "invalid_grant");
}

#[test]
fn refresh_tokens_rotate_and_their_reuse_ends_the_session() {
    let provider = start(Settings::default());
    let first = sign_in(&provider);
    let first_token = text(&first, "refresh_token");
    let second = refresh(&provider, first_token).json();
    let second_token = text(&second, "refresh_token");
    assert_ne!(first_token, second_token);
    assert!(provider.refresh_token_lives(second_token));
    assert!(!provider.refresh_token_lives(first_token));

    let (before, _) = id_token(&provider, &first);
    let (after, verified) = id_token(&provider, &second);
    verified.unwrap();
    assert_eq!(after.claims["nonce"], Value::Null);
    for claim in ["iss", "sub", "aud", "auth_time"] {
        assert_eq!(after.claims[claim], before.claims[claim]);
    }

    assert_error(&refresh(&provider, first_token), 400, "invalid_grant");
    assert_error(&refresh(&provider, second_token), 400, "invalid_grant");
    assert_eq!(provider.families_revoked(), 1);
    assert_eq!(provider.token_grants("refresh_token"), 3);
    assert_eq!(provider.count("/token"), 4);
}

#[test]
fn parallel_refreshes_with_one_token_have_one_winner() {
    let provider = start(Settings::default());
    let tokens = sign_in(&provider);
    let token = text(&tokens, "refresh_token");
    let winners: usize = thread::scope(|scope| {
        let runs: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| refresh(&provider, token).status))
            .collect();
        runs.into_iter()
            .map(|run| usize::from(run.join().unwrap() == 200))
            .sum()
    });
    assert_eq!(winners, 1);
    assert_eq!(provider.families_revoked(), 1);
}

#[test]
fn clients_authenticate_as_the_settings_want() {
    let provider = start(Settings {
        client_id: Some("app".to_owned()),
        client_secret: Some("s:e cret".to_owned()),
        ..Settings::default()
    });
    let url = provider.url("/revoke");
    let status = |headers: &[(&str, &str)], form: &[(&str, &str)]| {
        let mut form = form.to_vec();
        form.push(("token", "any"));
        post_form_with(&url, headers, &form).unwrap()
    };
    // app:s%3Ae+cret
    let basic = ("Authorization", "Basic YXBwOnMlM0FlK2NyZXQ=");
    assert_eq!(status(&[basic], &[]).status, 200);
    let in_body = [("client_id", "app"), ("client_secret", "s:e cret")];
    assert_eq!(status(&[], &in_body).status, 200);
    assert_error(&status(&[basic], &in_body), 400, "invalid_request");
    let without = status(&[], &[("client_id", "app")]);
    assert_error(&without, 401, "invalid_client");
    assert!(without.header("www-authenticate").is_some());
    assert_error(
        &status(&[], &[("client_id", "other")]),
        401,
        "invalid_client",
    );
    assert_error(
        &status(&[], &[("client_id", "app"), ("client_id", "app")]),
        400,
        "invalid_request",
    );
}

#[test]
fn pushed_requests_work_once() {
    let provider = start(Settings {
        par: true,
        par_required: true,
        ..Settings::default()
    });
    assert_eq!(get(&authorize_url(&provider, &[])).unwrap().status, 400);
    let challenge = s256(VERIFIER);
    let form = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", SCOPE),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let pushed = post_form(&provider.url("/par"), &form).unwrap();
    assert_eq!(pushed.status, 201);
    let pushed = pushed.json();
    let mut url = Url::parse(&provider.url("/authorize")).unwrap();
    url.query_pairs_mut()
        .append_pair("client_id", "app")
        .append_pair("request_uri", text(&pushed, "request_uri"));
    assert!(
        get(url.as_str())
            .unwrap()
            .location_parameter("code")
            .is_some()
    );
    assert_eq!(get(url.as_str()).unwrap().status, 400);
}

#[test]
fn forgeries_do_not_verify() {
    use SignatureError::{Bad, UnknownKey};
    for signing in [Signing::Es256, Signing::Rs256] {
        for (forgery, algorithm, expected) in [
            (Forgery::FlippedBits, signing.name(), Bad),
            (Forgery::UnknownKey, signing.name(), Bad),
            (Forgery::EmbeddedKey, signing.name(), Bad),
            (Forgery::UnknownKid, signing.name(), UnknownKey),
            (Forgery::EncryptionKey, "ES256", UnknownKey),
            (Forgery::Unsigned("nOnE"), "nOnE", Bad),
            (Forgery::HmacOfClientId, "HS256", Bad),
            (Forgery::HmacOfPublicKey, "HS256", Bad),
            (Forgery::Hmac(b"secret".to_vec()), "HS256", Bad),
        ] {
            let provider = start(Settings {
                signing,
                ..Settings::default()
            });
            let name = format!("{forgery:?}");
            provider.script(Hook::Token, Fault::Forge(forgery));
            let tokens = sign_in(&provider);
            let (jwt, verified) = id_token(&provider, &tokens);
            assert_eq!(jwt.header["alg"], algorithm, "{name}");
            assert_eq!(verified, Err(expected), "{name}");
        }
    }
}

#[test]
#[should_panic(expected = "Redirect has no effect at Token")]
fn a_fault_that_never_strikes_is_a_mistake() {
    start(Settings::default()).script(Hook::Token, Fault::redirect(|_| {}));
}
