//! What providers ask of clients: signed assertions, certificates, pushed requests, proof of possession. With a
//! certified provider wherever it has the feature, and a scripted one for what it never does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gatepass_testkit::lab::{ClientKey, Person, Scene, Settings};
use gatepass_testkit::provider::{self, Fault, Hook, Provider, Response, When};
use serde_json::json;

use crate::GATEPASS;

fn with_client(settings: &Settings) -> Scene {
    Scene::with(GATEPASS, settings, Person::without_browser())
}

fn registered(method: &str, key: &ClientKey, more: &[(&str, &str)]) -> serde_json::Value {
    let mut client = json!({"token_endpoint_auth_method": method, "jwks": key.jwks()});
    for (name, value) in more {
        client[*name] = json!(value);
    }
    client
}

fn key_lines(key: &ClientKey) -> String {
    format!("client_key_file = '{}'", key.key().display())
}

#[test]
fn an_assertion_signs_the_client_in_everywhere() {
    for (kind, algorithm) in [
        ("RSA", "RS256"),
        ("RSA", "PS256"),
        ("P-256", "ES256"),
        ("ed25519", "EdDSA"),
    ] {
        let key = ClientKey::new(kind, &[]);
        let settings = Settings {
            client: registered(
                "private_key_jwt",
                &key,
                &[("token_endpoint_auth_signing_alg", algorithm)],
            ),
            ..Settings::default()
        };
        let scene = with_client(&settings);
        scene.configure(&format!(
            "client_auth = 'private_key_jwt'\n{}",
            key_lines(&key)
        ));
        let login = scene.gatepass(["login", "--browser"]).run();
        if algorithm == "PS256" {
            // The provider takes RS256 from others; that this client is to use PS256 only it knows.
            login.expect(3);
            assert!(login.stderr.contains("invalid_client"), "{login:?}");
            continue;
        }
        login.expect(0);
        let before = scene.background().token();
        let after = scene.gatepass(["token", "--force-refresh"]).run().token();
        assert_ne!(before, after, "{algorithm}");
        scene.gatepass(["logout"]).run().expect(0);
        assert_eq!(scene.provider.count("revocation.success"), 1, "{algorithm}");
        let posts = [
            "POST /request 201",
            "POST /token 200",
            "POST /token 200",
            "POST /token/revocation 200",
        ];
        let requests = scene.provider.requests();
        let seen: Vec<&str> = requests
            .iter()
            .map(String::as_str)
            .filter(|line| line.starts_with("POST /token") || line.starts_with("POST /request"))
            .collect();
        assert_eq!(seen, posts, "{algorithm}");
    }
}

#[test]
fn an_assertion_works_for_device_codes_where_each_poll_needs_a_new_one() {
    let key = ClientKey::new("P-256", &[]);
    let scene = with_client(&Settings {
        client: registered(
            "private_key_jwt",
            &key,
            &[("token_endpoint_auth_signing_alg", "ES256")],
        ),
        ..Settings::default()
    });
    scene.configure(&format!(
        "client_auth = 'private_key_jwt'\n{}",
        key_lines(&key)
    ));
    let mut login = scene.gatepass(["login", "--device"]).spawn();
    let page = format!("{}/device", scene.provider.issuer());
    let soon = Duration::from_secs(20);
    let code = login.wait_for(soon, |said| {
        let mut words = said.split(|c: char| !c.is_ascii_uppercase() && c != '-');
        words
            .find(|word| word.len() == 9 && word.find('-') == Some(4))
            .map(str::to_owned)
    });
    // Two polls at least, so that an assertion that was used twice would be refused.
    assert!(scene.provider.wait_for("grant.error", soon));
    let _ = Person::without_browser().with_code(&code).opens(&page);
    login.wait().expect(0);
    let replayed = scene
        .provider
        .events()
        .iter()
        .any(|event| event["error"] == "invalid_client");
    assert!(!replayed, "{:?}", scene.provider.events());
}

#[test]
fn a_key_that_does_not_fit_is_told_before_anything_is_sent() {
    let key = ClientKey::new("P-256", &[]);
    let scene = Scene::around(
        GATEPASS,
        Provider::start(provider::Settings::default()),
        Person::without_browser(),
    );
    scene.provider.script(
        Hook::Discovery,
        Fault::json(|document| {
            document["token_endpoint_auth_signing_alg_values_supported"] =
                json!(["RS256", "PS256"]);
        }),
    );
    let path = key.key();
    let line = format!("client_auth = 'private_key_jwt'\n{}", key_lines(&key));
    scene.configure(&line);
    let wrong_kind = scene.gatepass(["login", "--browser"]).run();
    wrong_kind.expect(3);
    assert!(
        wrong_kind.stderr.contains("ES256") && wrong_kind.stderr.contains("RS256, PS256"),
        "{wrong_kind:?}"
    );

    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let readable = scene.gatepass(["login", "--browser"]).run();
    readable.expect(3);
    assert!(readable.stderr.contains("chmod 600"), "{readable:?}");

    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "client-key-canary").unwrap();
    let junk = scene.gatepass(["login", "--browser", "-v"]).run();
    junk.expect(3);
    assert!(
        junk.stderr.contains("PKCS#8") && !junk.stderr.contains("canary"),
        "{junk:?}"
    );
    fs::remove_file(&path).unwrap();
    let gone = scene.gatepass(["login", "--browser"]).run();
    gone.expect(3);
    assert!(gone.stderr.contains("there is no such file"), "{gone:?}");
    assert_eq!(scene.provider.count("/token"), 0);
    assert_eq!(scene.provider.count("/authorize"), 0);
}

#[test]
fn an_assertion_is_short_lived_unique_and_for_the_issuer_alone() {
    let key = ClientKey::new("RSA", &[]);
    let settings = provider::Settings {
        issuer_path: "/tenant/".to_owned(),
        ..provider::Settings::default()
    };
    let scene = Scene::scripted(GATEPASS, settings);
    scene.configure(&format!(
        "client_auth = 'private_key_jwt'\n{}\nclient_cert_file = '{}'",
        key_lines(&key),
        key.certificate().display()
    ));
    scene.login();
    scene.gatepass(["token", "--force-refresh"]).run().token();
    let mut ids = Vec::new();
    for request in scene.provider.requests() {
        let Some(assertion) = request.parameter("client_assertion") else {
            assert!(!["/token", "/revoke", "/par"].contains(&request.path.as_str()));
            continue;
        };
        assert_eq!(request.parameter("client_id"), Some("gatepass"));
        assert_eq!(request.parameter("client_secret"), None);
        let part = |n| decoded(assertion, n);
        let (header, claims) = (part(0), part(1));
        assert_eq!(header["typ"], "client-authentication+jwt");
        assert_eq!(header["x5t#S256"].as_str().map(str::len), Some(43));
        assert_eq!(
            claims["aud"],
            scene.provider.issuer().as_str(),
            "a string, not a list"
        );
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!("gatepass"), &json!("gatepass"))
        );
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert!(life <= 60, "{life}");
        ids.push(claims["jti"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 2, "code and refresh");
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

fn decoded(jws: &str, part: usize) -> serde_json::Value {
    let jwt = provider::jwt::Jwt::decode(jws).expect("a JWS");
    if part == 0 { jwt.header } else { jwt.claims }
}

#[test]
fn a_certificate_shows_the_client_at_the_aliases_and_nowhere_else() {
    let server = ClientKey::new("P-256", &[]);
    for kind in ["RSA", "P-256"] {
        let key = ClientKey::new(kind, &[]);
        let scene = with_client(&Settings {
            client: registered("self_signed_tls_client_auth", &key, &[]),
            tls: Some(server.pem()),
            ..Settings::default()
        });
        let lines = format!(
            "client_auth = 'tls_client_auth'\n{}\nclient_cert_file = '{}'\nca_file = '{}'",
            key_lines(&key),
            key.certificate().display(),
            server.certificate().display()
        );
        scene.configure(&lines);
        scene.login();
        let before = scene.background().token();
        let after = scene.gatepass(["token", "--force-refresh"]).run().token();
        assert_ne!(before, after);
        scene.gatepass(["logout"]).run().expect(0);
        for event in scene.provider.events() {
            if event["event"] == "request"
                && event["agent"].as_str().unwrap().starts_with("gatepass/")
            {
                let expected = event["method"] == "POST";
                assert_eq!(event["certificate"], expected, "{event}");
            }
        }
        assert_eq!(scene.provider.count("revocation.success"), 1);

        // Another certificate than the registered one is refused, and that is the configuration's fault.
        let other = ClientKey::new("RSA", &[]);
        scene.configure(&lines.replace(
            &key.key().parent().unwrap().display().to_string(),
            &other.key().parent().unwrap().display().to_string(),
        ));
        let refused = scene.gatepass(["login", "--browser"]).run();
        refused.expect(3);
        assert!(refused.stderr.contains("invalid_client"), "{refused:?}");
    }
}

/// A provider that takes pushed requests, or takes nothing else.
fn with_pushed_requests(par_required: bool) -> Scene<Provider> {
    let settings = provider::Settings {
        par: true,
        par_required,
        ..provider::Settings::default()
    };
    Scene::scripted(GATEPASS, settings)
}

#[test]
fn the_browser_carries_a_reference_where_the_provider_takes_pushed_requests() {
    for (par_required, line, carries_reference) in [
        (false, "", true),
        (true, "", true),
        (true, "par = 'always'", true),
        (false, "par = 'never'", false),
    ] {
        let scene = with_pushed_requests(par_required);
        scene.configure(&format!(
            "{line}\nresource = ['https://gateway.example.test/']\nlogin_hint = 'ann@example.test'"
        ));
        scene.login();
        let requests = scene.provider.requests();
        let opened = requests
            .iter()
            .find(|seen| seen.path == "/authorize")
            .unwrap();
        let names: Vec<&str> = opened.query.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names == ["client_id", "request_uri"],
            carries_reference,
            "{line}: {names:?}"
        );
        let pushed: Vec<_> = requests.iter().filter(|seen| seen.path == "/par").collect();
        assert_eq!(pushed.len(), usize::from(carries_reference));
        for seen in pushed {
            for name in [
                "client_id",
                "state",
                "nonce",
                "code_challenge",
                "resource",
                "login_hint",
            ] {
                assert!(seen.parameter(name).is_some(), "{name}");
            }
            assert!(seen.parameter("request_uri").is_none());
        }
        scene.background().token();
    }
}

#[test]
fn a_pushed_request_that_fails_is_not_replaced_by_a_plain_one_that_nobody_wants() {
    type Case = (&'static str, fn() -> Fault, bool, &'static str, i32);
    let faults: [Case; 11] = [
        (
            "client",
            || Fault::oauth_error("invalid_client"),
            false,
            "",
            3,
        ),
        (
            "request",
            || Fault::oauth_error("invalid_request"),
            false,
            "",
            3,
        ),
        (
            "denied",
            || Fault::oauth_error("access_denied"),
            false,
            "",
            5,
        ),
        ("down", || Fault::status(503), false, "", 6),
        (
            "redirect",
            || Fault::elsewhere(307, "http://127.0.0.1:1/"),
            false,
            "",
            6,
        ),
        (
            "page",
            || Fault::html("<p>Welcome to the hotel"),
            false,
            "",
            6,
        ),
        (
            "no reference",
            || Fault::json(|answer| answer["request_uri"] = json!("")),
            false,
            "",
            8,
        ),
        (
            "no lifetime",
            || Fault::json(|answer| answer["expires_in"] = json!(0)),
            false,
            "",
            8,
        ),
        ("missing, required", || Fault::status(404), true, "", 6),
        (
            "missing, configured",
            || Fault::status(404),
            false,
            "par = 'always'",
            6,
        ),
        ("missing, unasked", || Fault::status(404), false, "", 0),
    ];
    for (name, fault, par_required, line, code) in faults {
        let scene = with_pushed_requests(par_required);
        scene.configure(line);
        scene.provider.script(Hook::Par, fault());
        let login = scene.gatepass(["login", "--browser"]).run();
        assert_eq!(login.code, code, "{name}: {}", login.stderr);
        if code != 0 {
            assert_eq!(scene.provider.count("/authorize"), 0, "{name}");
        }
    }
}

#[test]
fn pushed_requests_are_refused_where_configuration_and_provider_contradict_each_other() {
    for (par, par_required, line) in [
        (false, false, "par = 'always'"),
        (true, true, "par = 'never'"),
    ] {
        let scene = Scene::scripted(
            GATEPASS,
            provider::Settings {
                par,
                par_required,
                ..provider::Settings::default()
            },
        );
        scene.configure(line);
        let login = scene.gatepass(["login", "--browser"]).run();
        login.expect(3);
        assert!(login.stderr.contains("`par`"), "{login:?}");
        assert_eq!(scene.provider.count("/authorize"), 0);
    }
}

#[test]
fn a_certified_provider_that_insists_gets_pushed_requests() {
    let scene = with_client(&Settings {
        par_required: true,
        ..Settings::default()
    });
    scene.login();
    assert_eq!(
        scene.provider.count("pushed_authorization_request.success"),
        1
    );
    scene.configure("response_mode = 'form_post'");
    scene.login();
    assert_eq!(
        scene.provider.count("pushed_authorization_request.success"),
        2
    );
}

#[test]
fn a_bound_refresh_token_is_of_use_only_with_its_key() {
    for dpop_nonce in [false, true] {
        let scene = with_client(&Settings {
            dpop_nonce,
            ..Settings::default()
        });
        for dpop in ["auto", "always"] {
            scene.configure(&format!("token = 'id_token'\ndpop = '{dpop}'"));
            scene.login();
            scene.provider.clear();
            for _ in 0..2 {
                scene.gatepass(["token", "--force-refresh"]).run().token();
            }
            // (ID tokens of one second are the same token.)
            assert_eq!(scene.provider.count("refresh_token.consumed"), 2, "{dpop}");
        }
        let entry = scene.keyring.lookup("default").unwrap();
        assert!(
            entry.contains("\"bound_to\":\""),
            "the key lies beside the refresh token"
        );

        // Without its key the provider does not take it.
        let refresh_token = scene.provider.secrets_of("refresh_token").pop().unwrap();
        let answer = provider::client::post_form(
            &format!("{}/token", scene.provider.issuer()),
            &[
                ("grant_type", "refresh_token"),
                ("client_id", "gatepass"),
                ("refresh_token", &refresh_token),
            ],
        )
        .unwrap();
        assert_eq!(answer.status, 400);
        // Whatever the configuration says now, a bound session goes on with its key.
        scene.configure("token = 'id_token'");
        scene.gatepass(["token", "--force-refresh"]).run().token();
    }
}

#[test]
fn a_bound_access_token_is_no_bearer_token_and_is_not_printed() {
    let scene = with_client(&Settings::default());
    scene.configure("dpop = 'always'");
    let login = scene.gatepass(["login", "--browser"]).run();
    login.expect(8);
    assert!(
        login.stderr.contains("DPoP") && login.stderr.contains("`dpop`"),
        "{login:?}"
    );
    scene.background().expect(4);

    // `auto` does not ask for what it could not print.
    scene.configure("dpop = 'auto'");
    scene.login();
    assert!(
        !scene
            .keyring
            .lookup("default")
            .unwrap()
            .contains("bound_to")
    );
    scene.background().token();
    // A session without a key is none where the configuration insists on one.
    scene.configure("dpop = 'always'");
    scene.gatepass(["token", "--force-refresh"]).run().expect(4);
}

#[test]
fn a_provider_that_binds_refresh_tokens_alone_gets_a_proof_with_each_token_request() {
    let scene = Scene::scripted(GATEPASS, provider::Settings::default());
    scene.configure("dpop = 'always'");
    let unoffered = scene.gatepass(["login", "--browser"]).run();
    unoffered.expect(3);
    assert!(unoffered.stderr.contains("RFC 9449"), "{unoffered:?}");

    scene.provider.script(
        Hook::Discovery,
        Fault::json(|document| {
            document["dpop_signing_alg_values_supported"] = json!(["RS256", "ES256"])
        }),
    );
    scene.login();
    // It wants a nonce for the next one, and another after that.
    scene.provider.clear_requests();
    scene.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::reply(
            Response::oauth_error(400, "use_dpop_nonce", "take this").header("DPoP-Nonce", "n-1"),
        ),
    );
    let before = scene.background().token();
    let token = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(before, token);
    let proofs: Vec<_> = scene
        .provider
        .requests()
        .iter()
        .filter(|seen| seen.path == "/token")
        .map(|seen| decoded(seen.header("dpop").expect("a proof"), 1))
        .collect();
    assert_eq!(proofs.len(), 2);
    assert_eq!(
        (&proofs[0]["nonce"], &proofs[1]["nonce"]),
        (&json!(null), &json!("n-1"))
    );
    assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
    assert_eq!(proofs[1]["htu"], scene.provider.url("/token").as_str());

    // A provider that asks again and again is asked twice, no more.
    scene.provider.clear_requests();
    scene.provider.script(
        Hook::RefreshGrant,
        Fault::reply(
            Response::oauth_error(400, "use_dpop_nonce", "again").header("DPoP-Nonce", "n-2"),
        ),
    );
    scene.gatepass(["token", "--force-refresh"]).run().expect(6);
    assert_eq!(scene.provider.count("/token"), 2);
    assert_eq!(
        scene.background().token(),
        token,
        "the session is as it was"
    );

    // The demand for a nonce and a lost answer are two sendings: a third one is the next call's.
    scene.provider.clear_script();
    scene.provider.clear_requests();
    scene
        .provider
        .set(|settings| settings.reuse_grace_seconds = 60);
    scene.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::reply(
            Response::oauth_error(400, "use_dpop_nonce", "take this").header("DPoP-Nonce", "n-3"),
        ),
    );
    scene
        .provider
        .script_times(Hook::RefreshGrant, 1..2, Fault::Drop(When::After));
    scene.gatepass(["token", "--force-refresh"]).run().expect(6);
    assert_eq!(scene.provider.count("/token"), 2);
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

#[test]
fn resource_and_audience_go_with_every_request() {
    let scene = Scene::scripted(GATEPASS, provider::Settings::default());
    scene.configure(
        "resource = ['https://a.example/', 'urn:b']\naudience = 'gateway'\n[token_params]\ncustom = 'x'",
    );
    scene.login();
    scene.gatepass(["token", "--force-refresh"]).run().token();
    let mut kinds = Vec::new();
    for seen in scene.provider.requests() {
        let pairs = match seen.path.as_str() {
            "/authorize" => &seen.query,
            "/token" => &seen.form,
            _ => continue,
        };
        let all = |name: &str| -> Vec<&str> {
            let named = pairs.iter().filter(|(given, _)| given == name);
            named.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(
            all("resource"),
            ["https://a.example/", "urn:b"],
            "{}",
            seen.path
        );
        assert_eq!(all("audience"), ["gateway"], "{}", seen.path);
        if seen.path == "/token" {
            assert_eq!(all("custom"), ["x"]);
            kinds.push(all("grant_type").join(" "));
        }
    }
    assert_eq!(kinds, ["authorization_code", "refresh_token"]);
}
