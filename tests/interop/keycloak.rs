//! Keycloak, with the kinds of clients that organisations register there. `cargo xtask test --interop` installs and runs it.

use std::panic::{self, AssertUnwindSafe};

use gatepass_testkit::gateway::{Gateway, Refusal};
use gatepass_testkit::lab::{AnyProvider as _, Keycloak, Person, Realm, Scene};
use serde_json::{Value, json};

use crate::GATEPASS;

const AUDIENCE: &str = "https://gateway.example.test";

fn alice() -> Person {
    Person::without_browser()
        .named("alice")
        .with_password("alicepw")
}

/// The client `gatepass` with these keys and attributes, and a mapper for the gateway's audience.
fn client(keys: Value, attributes: Value) -> Value {
    let mut client = json!({
        "clientId": "gatepass",
        "publicClient": true,
        "standardFlowEnabled": true,
        "redirectUris": ["http://127.0.0.1/callback"],
        "attributes": attributes,
        "protocolMappers": [{
            "name": "gateway",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": {"included.custom.audience": AUDIENCE, "access.token.claim": "true"},
        }],
    });
    for (key, value) in keys.as_object().into_iter().flatten() {
        client[key] = value.clone();
    }
    client
}

/// Somebody at a realm with such a client, gatepass configured by the preset and these lines.
fn scene(keycloak: &Keycloak, name: &str, realm: Value, more: &str) -> Scene<Realm> {
    let scene = Scene::around(GATEPASS, keycloak.realm(name, &realm), alice());
    scene.configure(&format!("preset = 'keycloak'\n{more}"));
    scene
}

/// Signs in, refreshes, and is signed out, each token being one that the gateway takes.
fn whole_way(scene: &Scene<Realm>) {
    let walk = scene.login();
    assert_eq!(walk.error(), None, "{walk:?}");
    let _ = scene.refreshes_and_signs_out("alice", &gateway(scene));
}

fn gateway(scene: &Scene<Realm>) -> Gateway {
    Gateway::start(&scene.provider.issuer(), AUDIENCE)
}

/// One start of Keycloak serves them all: it takes half a minute, and more on a machine with other things to do.
#[test]
#[ignore = "needs Keycloak: cargo xtask test --interop"]
fn keycloak_serves_each_kind_of_client() {
    let keycloak = Keycloak::start();
    let kinds = [
        ("pkce", pkce as fn(&Keycloak)),
        ("par", pushed_requests),
        ("confidential", confidential),
        ("device", device),
        ("device-without-preset", device_without_preset),
        ("exchange", exchange),
        ("rotation", rotation_without_reuse),
        ("audience", without_an_audience),
    ];
    // One that fails does not keep the others from being looked at.
    let failed = kinds.into_iter().filter(|(name, check)| {
        // The test harness shows it with what failed.
        #[allow(clippy::print_stdout, reason = "a test's output is for people")]
        {
            println!("a client of the kind {name}");
        }
        panic::catch_unwind(AssertUnwindSafe(|| check(&keycloak))).is_err()
    });
    let failed: Vec<&str> = failed.map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn pkce(keycloak: &Keycloak) {
    let client = client(json!({}), json!({"pkce.code.challenge.method": "S256"}));
    whole_way(&scene(keycloak, "pkce", json!({"clients": [client]}), ""));
}

fn pushed_requests(keycloak: &Keycloak) {
    let attributes = json!({
        "pkce.code.challenge.method": "S256",
        "require.pushed.authorization.requests": "true",
    });
    let realm = json!({"clients": [client(json!({}), attributes)]});
    whole_way(&scene(keycloak, "par", realm, ""));
}

/// Its secret has characters that a form and HTTP Basic each write in their own way.
fn confidential(keycloak: &Keycloak) {
    let keys = json!({"publicClient": false, "secret": "a/b+c%d e:f"});
    let realm = json!({"clients": [client(keys, json!({}))]});
    for method in ["client_secret_basic", "client_secret_post"] {
        let more = format!("client_secret = 'a/b+c%d e:f'\nclient_auth = '{method}'");
        whole_way(&scene(keycloak, method, realm.clone(), &more));
    }
}

/// A client that demands PKCE demands it on device requests, too.
fn device_realm() -> Value {
    let attributes = json!({
        "pkce.code.challenge.method": "S256",
        "oauth2.device.authorization.grant.enabled": "true",
    });
    json!({
        "clients": [client(json!({}), attributes)],
        "oauth2DevicePollingInterval": 1,
    })
}

fn signs_in_by_device_code(scene: &Scene<Realm>) {
    let (login, code) = scene.asks_for_device_code();
    let address = format!("{}/device?user_code={code}", scene.provider.issuer());
    let walk = alice().opens(&address);
    assert_eq!(walk.error(), None, "{walk:?}");
    login.wait().expect(0);
    let _ = scene.refreshes_and_signs_out("alice", &gateway(scene));
}

fn device(keycloak: &Keycloak) {
    signs_in_by_device_code(&scene(keycloak, "device", device_realm(), ""));
}

/// Without the preset the first request goes out without PKCE, and once more with it.
fn device_without_preset(keycloak: &Keycloak) {
    let scene = scene(keycloak, "device-plain", device_realm(), "");
    scene.configure("");
    signs_in_by_device_code(&scene);
}

/// The token that signs in is for another service; the gateway's comes by an exchange (RFC 8693).
fn exchange(keycloak: &Keycloak) {
    let attributes = json!({"standard.token.exchange.enabled": "true"});
    let mut requester = client(
        json!({"publicClient": false, "secret": "requester-secret"}),
        attributes,
    );
    requester["protocolMappers"][0]["config"] = json!({
        "included.client.audience": "gateway",
        "access.token.claim": "true",
    });
    let target = json!({"clientId": "gateway", "publicClient": false, "secret": "unused"});
    let realm = json!({"clients": [requester, target]});
    let scene = scene(
        keycloak,
        "exchange",
        realm,
        "client_secret = 'requester-secret'",
    );
    scene.configure(&format!(
        "preset = 'keycloak'\nclient_secret = 'requester-secret'\n[exchange]\n\
         token_url = '{}/protocol/openid-connect/token'\naudience = 'gateway'\n\
         client_id = 'gatepass'\nclient_secret = 'requester-secret'",
        scene.provider.issuer()
    ));
    let walk = scene.login();
    assert_eq!(walk.error(), None, "{walk:?}");
    let gateway = Gateway::start(&scene.provider.issuer(), "gateway");
    let first = scene.background().token();
    let claims = gateway.verify(&first).unwrap();
    assert_eq!(claims["aud"], "gateway", "for nobody else");
    let next = scene.refreshed();
    gateway.verify(&next).unwrap();
    assert_ne!(next, first);
}

/// `revokeRefreshToken` without reuse: many at once cause one refresh, and a copy of an old session is refused for good.
fn rotation_without_reuse(keycloak: &Keycloak) {
    let realm = json!({
        "clients": [client(json!({}), json!({"pkce.code.challenge.method": "S256"}))],
        "revokeRefreshToken": true,
        "refreshTokenMaxReuse": 0,
    });
    let scene = scene(keycloak, "rotation", realm, "");
    scene.login();
    let first = scene.background().token();
    let before = scene.keyring.items_snapshot();
    let callers: Vec<_> = (0..20)
        .map(|_| scene.gatepass(["token", "--force-refresh"]).spawn())
        .collect();
    let mut tokens: Vec<String> = callers.into_iter().map(|run| run.wait().token()).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "one refresh for all");
    assert_ne!(tokens[0], first);

    scene.keyring.restore(&before);
    let refused = scene.gatepass(["token", "--force-refresh"]).run();
    refused.expect(4);
    assert!(refused.stderr.contains("[sign-in-required]"), "{refused:?}");
    scene.login();
    gateway(&scene).verify(&scene.background().token()).unwrap();
}

/// Without a mapper its tokens are for `account`, which no gateway takes.
fn without_an_audience(keycloak: &Keycloak) {
    let mut client = client(json!({}), json!({}));
    client["protocolMappers"] = json!([]);
    let scene = scene(keycloak, "audience", json!({"clients": [client]}), "");
    scene.login();
    let token = scene.background().token();
    assert_eq!(gateway(&scene).verify(&token), Err(Refusal::WrongAudience));
    // Keycloak's metadata do not list the public clients that it has.
    let said = scene.gatepass(["doctor"]).run().stdout;
    assert!(
        said.contains("names no gateway in `aud`") && said.contains("aud account)"),
        "{said}"
    );
    assert!(!said.contains("public clients"), "{said}");
}
