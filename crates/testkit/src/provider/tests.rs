//! The provider over real sockets: first as it should be, then as the script wants it.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::client::{Reply, get, get_with, post_form, post_form_with, post_json, send};
use super::codes::{at_hash, s256};
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

fn try_refresh(provider: &Provider, token: &str) -> std::io::Result<Reply> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("refresh_token", token),
    ];
    post_form(&provider.url("/token"), &form)
}

fn refresh(provider: &Provider, token: &str) -> Reply {
    try_refresh(provider, token).unwrap()
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
fn metadata_lies_where_both_standards_want_it() {
    for (issuer_path, openid, oauth) in [
        (
            "",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ),
        (
            "/",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ),
        (
            "/a/",
            "/a/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/a",
        ),
    ] {
        let provider = start(Settings {
            issuer_path: issuer_path.to_owned(),
            ..Settings::default()
        });
        for path in [openid, oauth] {
            let metadata = get(&provider.url(path)).unwrap().json();
            assert_eq!(metadata["issuer"], provider.issuer().as_str());
            assert_eq!(metadata["token_endpoint"], provider.url("/token").as_str());
        }
        provider.set(|settings| settings.oauth_only = true);
        assert_eq!(get(&provider.url(openid)).unwrap().status, 404);
    }
}

#[test]
fn code_flow_with_both_algorithms() {
    for signing in [Signing::Es256, Signing::Rs256] {
        let provider = start(Settings {
            signing,
            ..Settings::default()
        });
        let tokens = sign_in(&provider);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], 300);

        let (jwt, verified) = id_token(&provider, &tokens);
        verified.unwrap();
        assert_eq!(jwt.header["alg"], signing.name());
        assert_eq!(jwt.claims["iss"], provider.issuer().as_str());
        assert_eq!(jwt.claims["aud"], "app");
        assert_eq!(jwt.claims["nonce"], "nn");
        assert_eq!(jwt.claims["name"], "Alex");
        let access_token = text(&tokens, "access_token");
        assert_eq!(jwt.claims["at_hash"], at_hash(access_token).as_str());

        let access = Jwt::decode(access_token).unwrap();
        assert_eq!(access.header["typ"], "at+jwt");
        assert_eq!(access.claims["aud"], "https://gateway.example.test");
        assert_eq!(access.claims["sub"], jwt.claims["sub"]);

        let secrets = provider.issued_secrets();
        for name in ["access_token", "refresh_token", "id_token"] {
            assert!(secrets.iter().any(|secret| secret == text(&tokens, name)));
        }
        assert_eq!(secrets.len(), 4, "the code and three tokens");
    }
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
fn a_person_signs_in_or_refuses() {
    let provider = Provider::start(Settings::default());
    let open = || {
        let page = get(&authorize_url(&provider, &[("login_hint", "\"><b>kim")])).unwrap();
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").unwrap().to_owned();
        assert!(policy.contains("default-src 'none'"));
        assert!(policy.contains("form-action 'self' http://127.0.0.1:9"));
        let html = page.text();
        assert!(html.contains("demo provider of gatepass") && !html.contains("<b>kim"));
        let after = html.split("name=\"page\" value=\"").nth(1).unwrap();
        after.split('"').next().unwrap().to_owned()
    };
    let page = open();
    let answer = [("page", page.as_str()), ("account", "kim@example.test")];
    let reply = post_form(&provider.url("/sign-in"), &answer).unwrap();
    let tokens = redeem(&provider, &reply.location_parameter("code").unwrap()).json();
    let (jwt, _) = id_token(&provider, &tokens);
    assert_eq!(jwt.claims["email"], "kim@example.test");
    assert_eq!(
        post_form(&provider.url("/sign-in"), &answer)
            .unwrap()
            .status,
        400
    );

    let refusal = [("page", open()), ("abort", "1".to_owned())];
    let refusal = refusal.each_ref().map(|(k, v)| (*k, v.as_str()));
    let reply = post_form(&provider.url("/sign-in"), &refusal).unwrap();
    assert_eq!(
        reply.location_parameter("error").as_deref(),
        Some("access_denied")
    );
}

#[test]
fn form_post_carries_the_answer_in_a_form() {
    let provider = start(Settings::default());
    let page = get(&authorize_url(&provider, &[("response_mode", "form_post")])).unwrap();
    assert_eq!(page.status, 200);
    let html = page.text();
    assert!(html.contains(&format!("action=\"{REDIRECT_URI}\"")));
    assert!(html.contains("name=\"code\"") && html.contains("name=\"state\" value=\"st\""));
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
fn other_refresh_policies() {
    let provider = start(Settings {
        refresh_rotation: false,
        id_token_on_refresh: false,
        session_seconds: Some(100),
        ..Settings::default()
    });
    let tokens = sign_in(&provider);
    assert_eq!(tokens["refresh_expires_in"], 100);
    let token = text(&tokens, "refresh_token");
    for _ in 0..2 {
        let answer = refresh(&provider, token).json();
        assert_eq!(answer["refresh_token"], Value::Null);
        assert_eq!(answer["id_token"], Value::Null);
    }

    provider.set(|settings| {
        settings.refresh_rotation = true;
        settings.reuse_detection = false;
    });
    let next = refresh(&provider, token).json();
    assert_error(&refresh(&provider, token), 400, "invalid_grant");
    assert_eq!(
        refresh(&provider, text(&next, "refresh_token")).status,
        200,
        "without reuse detection the family lives on"
    );

    let wider = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("refresh_token", text(&sign_in(&provider), "refresh_token")),
        ("scope", "openid admin"),
    ]
    .map(|(k, v)| (k, v.to_owned()));
    let wider = wider.each_ref().map(|(k, v)| (*k, v.as_str()));
    let reply = post_form(&provider.url("/token"), &wider).unwrap();
    assert_error(&reply, 400, "invalid_scope");

    provider.set(|settings| settings.session_seconds = Some(0));
    let ended = sign_in(&provider);
    let reply = refresh(&provider, text(&ended, "refresh_token"));
    assert_error(&reply, 400, "invalid_grant");
}

#[test]
fn revocation_ends_the_session() {
    let provider = start(Settings::default());
    let revoke = |client_id, token| {
        let form = [("client_id", client_id), ("token", token)];
        post_form(&provider.url("/revoke"), &form).unwrap().status
    };
    let tokens = sign_in(&provider);
    let token = text(&tokens, "refresh_token");
    assert_eq!(revoke("app", "unknown"), 200);
    assert_eq!(revoke("other", token), 200);
    assert!(provider.refresh_token_lives(token));
    assert_eq!(revoke("app", token), 200);
    assert_error(&refresh(&provider, token), 400, "invalid_grant");

    let tokens = provider.issue_tokens("app", SCOPE);
    provider.revoke_all();
    let reply = refresh(&provider, text(&tokens, "refresh_token"));
    assert_error(&reply, 400, "invalid_grant");
    assert_eq!(provider.families_revoked(), 0);
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
fn device_flow() {
    let provider = start(Settings {
        device_interval_seconds: 0,
        ..Settings::default()
    });
    let begin = || {
        let form = [("client_id", "app"), ("scope", SCOPE)];
        post_form(&provider.url("/device_authorization"), &form)
            .unwrap()
            .json()
    };
    let poll = |device: &Value| {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("client_id", "app"),
            ("device_code", text(device, "device_code")),
        ];
        post_form(&provider.url("/token"), &form).unwrap()
    };

    let device = begin();
    assert_error(&poll(&device), 400, "authorization_pending");
    let page = get(text(&device, "verification_uri_complete")).unwrap();
    let user_code = text(&device, "user_code");
    assert!(page.text().contains(user_code));
    assert_eq!(provider.pending_user_codes(), [user_code]);
    let typed = user_code.to_lowercase().replace('-', "");
    let form = [("user_code", typed.as_str()), ("account", "kim")];
    let done = post_form(&provider.url("/device"), &form).unwrap();
    assert!(done.text().contains("Confirmed"));
    let tokens = poll(&device).json();
    let (jwt, verified) = id_token(&provider, &tokens);
    verified.unwrap();
    assert_eq!(jwt.claims["email"], "kim");
    assert_error(&poll(&device), 400, "invalid_grant");

    let refused = begin();
    assert!(provider.refuse_device(text(&refused, "user_code")));
    assert!(!provider.confirm_device(text(&refused, "user_code")));
    assert_error(&poll(&refused), 400, "access_denied");

    provider.set(|settings| settings.device_interval_seconds = 5);
    let hasty = begin();
    assert_error(&poll(&hasty), 400, "authorization_pending");
    assert_error(&poll(&hasty), 400, "slow_down");

    provider.set(|settings| settings.device_expires_seconds = 0);
    assert_error(&poll(&begin()), 400, "expired_token");
    let wrong = get(&format!("{}?user_code=AAAA-AAAA", provider.url("/device"))).unwrap();
    assert_eq!(wrong.status, 404);
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
fn registration_and_token_exchange() {
    let provider = start(Settings {
        registration: true,
        ..Settings::default()
    });
    let wish = json!({"redirect_uris": [REDIRECT_URI]});
    let reply = post_json(&provider.url("/register"), &[], &wish).unwrap();
    assert_eq!(reply.status, 201);
    assert!(reply.json()["client_id"].is_string());

    let tokens = provider.issue_tokens("app", SCOPE);
    let exchange = |subject: &str| {
        let form = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("client_id", "app"),
            ("subject_token", subject),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("audience", "https://other.test"),
        ];
        post_form(&provider.url("/token"), &form).unwrap()
    };
    let answer = exchange(text(&tokens, "access_token")).json();
    let jwt = Jwt::decode(text(&answer, "access_token")).unwrap();
    assert_eq!(jwt.claims["aud"], "https://other.test");
    assert_eq!(jwt.claims["email"], "alex@example.test");
    let forged = format!("{}x", text(&tokens, "access_token"));
    assert_error(&exchange(&forged), 400, "invalid_request");
}

#[test]
fn the_key_set_is_as_full_as_the_suites() {
    let provider = start(Settings::default());
    let jwks = get(&provider.url("/jwks")).unwrap().json();
    let keys = jwks["keys"].as_array().unwrap();
    let count = |usage: &str, kty: &str, crv: Option<&str>| {
        keys.iter()
            .filter(|key| key["use"] == usage && key["kty"] == kty && key["crv"].as_str() == crv)
            .count()
    };
    assert_eq!(count("sig", "RSA", None), 2);
    assert_eq!(count("sig", "EC", Some("P-256")), 2);
    assert_eq!(count("sig", "EC", Some("secp256k1")), 1);
    assert_eq!(count("sig", "OKP", Some("Ed25519")), 1);
    assert_eq!(count("enc", "RSA", None), 1);
    assert_eq!(count("enc", "EC", Some("P-256")), 1);
    assert!(
        keys.iter()
            .all(|key| key["kid"].is_string() && key.get("alg").is_none())
    );

    let tokens = sign_in(&provider);
    provider.rotate_keys();
    let (_, verified) = id_token(&provider, &tokens);
    assert_eq!(verified, Err(SignatureError::UnknownKey));
    let (_, verified) = id_token(&provider, &sign_in(&provider));
    verified.unwrap();
}

#[test]
fn scripted_tokens() {
    let provider = start(Settings::default());
    provider.script(
        Hook::Token,
        Fault::claims(|claims| claims["sub"] = "x".into()),
    );
    provider.script(
        Hook::Token,
        Fault::jose_header(|header| {
            header.as_object_mut().unwrap().remove("typ");
        }),
    );
    provider.script(Hook::Token, Fault::access_token(|token| token.push('!')));
    provider.script(
        Hook::CodeGrant,
        Fault::json(|answer| answer["token_type"] = "bEARER".into()),
    );
    let tokens = sign_in(&provider);
    let (jwt, verified) = id_token(&provider, &tokens);
    verified.unwrap();
    assert_eq!(jwt.claims["sub"], "x");
    assert_eq!(jwt.header.get("typ"), None);
    let access_token = text(&tokens, "access_token");
    assert!(access_token.ends_with('!'));
    assert_eq!(jwt.claims["at_hash"], at_hash(access_token).as_str());
    assert_eq!(tokens["token_type"], "bEARER");

    provider.clear_script();
    let (jwt, _) = id_token(&provider, &sign_in(&provider));
    assert_ne!(jwt.claims["sub"], "x");
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
fn scripted_redirects() {
    let provider = start(Settings::default());
    let answer = |fault| {
        provider.clear_script();
        provider.script(Hook::Redirect, fault);
        get(&authorize_url(&provider, &[])).unwrap()
    };
    let reply = answer(Fault::redirect(|parameters| {
        parameters.retain(|(name, _)| name != "state");
    }));
    assert_eq!(reply.location_parameter("state"), None);
    let reply = answer(Fault::redirect_error("consent_required"));
    assert_eq!(reply.location_parameter("code"), None);
    assert_eq!(reply.location_parameter("state").as_deref(), Some("st"));
    let reply = answer(Fault::status(503));
    assert_eq!(reply.status, 503);
}

#[test]
fn lost_answers_before_and_after_the_rotation() {
    let provider = start(Settings::default());
    let tokens = sign_in(&provider);
    let token = text(&tokens, "refresh_token");

    provider.script_times(Hook::RefreshGrant, ..1, Fault::Drop(When::Before));
    let lost = try_refresh(&provider, token).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::UnexpectedEof);
    assert!(provider.refresh_token_lives(token));

    provider.script_times(Hook::RefreshGrant, ..1, Fault::Drop(When::After));
    assert!(try_refresh(&provider, token).is_err());
    assert!(!provider.refresh_token_lives(token));
    assert_error(&refresh(&provider, token), 400, "invalid_grant");
    assert_eq!(provider.families_revoked(), 1);
}

#[test]
fn some_requests_only() {
    let provider = start(Settings::default());
    provider.script_times(Hook::Keys, 1..=1, Fault::status(503));
    provider.script_times(Hook::Keys, 2.., Fault::html("<p>Portal"));
    let statuses: Vec<_> = (0..4)
        .map(|_| get(&provider.url("/jwks")).unwrap())
        .map(|reply| (reply.status, reply.header("content-type").is_some()))
        .collect();
    assert_eq!(
        statuses,
        [(200, true), (503, false), (200, true), (200, true)]
    );
    assert!(
        get(&provider.url("/jwks"))
            .unwrap()
            .text()
            .contains("Portal")
    );
}

#[test]
fn odd_answers() {
    let provider = start(Settings::default());
    let url = provider.url("/jwks");
    let answer = |fault| {
        provider.clear_script();
        provider.script(Hook::Keys, fault);
        get(&url)
    };
    let reply = answer(Fault::elsewhere(307, "http://evil.test/")).unwrap();
    assert_eq!(
        (reply.status, reply.header("location")),
        (307, Some("http://evil.test/"))
    );
    let reply = answer(Fault::response(|response| {
        response.body.splice(..0, *b"\xEF\xBB\xBF");
    }))
    .unwrap();
    assert!(reply.body.starts_with(b"\xEF\xBB\xBF{"));
    let reply = answer(Fault::Padding(200_000)).unwrap();
    assert!(reply.body.len() > 200_000 && reply.header("content-length").is_none());
    assert!(reply.json()["keys"].is_array());
    let reply = answer(Fault::Drip(Duration::from_micros(1))).unwrap();
    assert!(reply.json()["keys"].is_array());
    let began = Instant::now();
    answer(Fault::Delay(Duration::from_millis(60))).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(60));
    assert!(answer(Fault::Raw(b"SSH-2.0-no\r\n".to_vec())).is_err());
    assert_ne!(
        answer(Fault::RotateKeys).unwrap().body,
        get(&url).unwrap().body
    );
}

#[test]
fn a_stalled_request_blocks_nobody_and_ends_with_the_provider() {
    let provider = start(Settings::default());
    provider.script(Hook::Keys, Fault::Stall(When::Before));
    let url = provider.url("/jwks");
    let stalled = thread::spawn(move || get(&url));
    assert!(provider.wait_for("/jwks", 1, Duration::from_secs(10)));
    sign_in(&provider);
    assert!(!stalled.is_finished());
    let began = Instant::now();
    drop(provider);
    assert!(stalled.join().unwrap().is_err());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
#[should_panic(expected = "Redirect has no effect at Token")]
fn a_fault_that_never_strikes_is_a_mistake() {
    start(Settings::default()).script(Hook::Token, Fault::redirect(|_| {}));
}

#[test]
fn requests_are_recorded_and_waited_for() {
    let provider = start(Settings::default());
    let url = format!("{}?a=b%20c", provider.url("/elsewhere"));
    assert_eq!(get_with(&url, &[("X-Test", "1")]).unwrap().status, 404);
    let seen = &provider.requests()[0];
    assert_eq!(seen.parameter("a"), Some("b c"));
    assert_eq!(seen.header("x-test"), Some("1"));
    assert!(provider.wait_for("/elsewhere", 1, Duration::ZERO));
    assert!(!provider.wait_for("/elsewhere", 2, Duration::from_millis(10)));
    let reply = send("PUT", &provider.url("/token"), &[], b"").unwrap();
    assert_eq!(reply.status, 405);
    provider.clear_requests();
    assert!(provider.requests().is_empty());
}

#[test]
fn sizes_audiences_and_clocks() {
    let provider = start(Settings {
        access_token_padding: 3000,
        id_token_padding: 20_000,
        refresh_token_padding: 5000,
        clock_ahead_seconds: -3600,
        ..Settings::default()
    });
    let url = authorize_url(
        &provider,
        &[
            ("resource", "https://a.test"),
            ("resource", "https://b.test"),
        ],
    );
    let reply = get(&url).unwrap();
    let tokens = redeem(&provider, &reply.location_parameter("code").unwrap()).json();
    assert!(text(&tokens, "access_token").len() > 4000);
    assert!(text(&tokens, "id_token").len() > 26_000);
    assert!(text(&tokens, "refresh_token").len() > 5000);
    let access = Jwt::decode(text(&tokens, "access_token")).unwrap();
    assert_eq!(
        access.claims["aud"],
        json!(["https://a.test", "https://b.test"])
    );
    let now = Settings::default().now();
    assert!(access.claims["exp"].as_u64().unwrap() < now);
}
