//! Gateways that take no token of the provider's: it is exchanged by the standard (RFC 8693), or for a key at an endpoint of
//! the gateway's own.

use std::time::Duration;

use gatepass_testkit::gateway::{Gateway, Refusal};
use gatepass_testkit::key_desk::KeyDesk;
use gatepass_testkit::lab::Scene;
use gatepass_testkit::provider::client::get_with;
use gatepass_testkit::provider::{self, Fault, Hook, Provider};

use crate::GATEPASS;

const PROVIDERS: &str = "https://idp.example.test/api";
const GATEWAYS: &str = "https://gateway.example.test";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn scene() -> Scene<Provider> {
    let settings = provider::Settings {
        audience: PROVIDERS.to_owned(),
        ..provider::Settings::default()
    };
    Scene::scripted(GATEPASS, settings)
}

fn models(url: &str, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    get_with(&format!("{url}/v1/models"), &[("Authorization", &header)])
        .unwrap()
        .status
}

/// A gateway that accepts one audience only, which the provider gives for a token of another.
#[test]
fn a_gateway_that_requires_an_exchanged_token_gets_one() {
    let scene = scene();
    let gateway = Gateway::start(&scene.provider.issuer(), GATEWAYS);
    let exchange = format!(
        "[exchange]\ntoken_url = '{}'\naudience = '{GATEWAYS}'\nclient_id = 'gatepass'",
        scene.provider.url("/token")
    );
    // Without the exchange the gateway refuses.
    scene.login();
    let plain = scene.background().token();
    assert_eq!(gateway.verify(&plain), Err(Refusal::WrongAudience));

    scene.configure(&exchange);
    let exchanged = scene.background().token();
    assert_eq!(models(&gateway.url(), &exchanged), 200);
    assert_eq!(scene.background().token(), exchanged, "it is kept");
    assert_eq!(scene.provider.token_grants(EXCHANGE), 1);

    let next = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(next, exchanged);
    assert_eq!(models(&gateway.url(), &next), 200);
    assert_eq!(scene.provider.token_grants(EXCHANGE), 2);

    // The provider's token never reaches the host, and an exchange that fails leaves the session as it was.
    for (fault, code) in [
        (Fault::status(503), 6),
        (Fault::oauth_error("invalid_target"), 3),
    ] {
        scene.provider.script(Hook::ExchangeGrant, fault);
        let failed = scene.gatepass(["token", "--force-refresh"]).run();
        failed.expect(code);
        assert!(failed.stderr.contains("exchange"), "{failed:?}");
        scene.provider.clear_script();
        let after = scene.gatepass(["token", "--force-refresh"]).run().token();
        assert_eq!(models(&gateway.url(), &after), 200);
    }
    scene.gatepass(["logout"]).run().expect(0);
    scene.background().expect(4);
}

/// A gateway with an endpoint of its own that gives a key for the provider's token.
#[test]
fn a_gateway_that_mints_keys_gives_one_for_each_lifetime() {
    let scene = scene();
    let desk = KeyDesk::start(
        &scene.provider.issuer(),
        PROVIDERS,
        Duration::from_secs(3600),
    );
    scene.configure(&format!(
        "[exchange]\nkind = 'http'\nurl = '{}/keys'\ntoken_pointer = '/data/key'\n\
         expiry_pointer = '/data/expires_at'\nexpiry_format = 'epoch_ms'\n\
         [exchange.headers]\nAuthorization = 'Bearer {{token}}'\n[exchange.body]\npurpose = 'claude'",
        desk.url()
    ));
    scene.login();
    let key = scene.background().token();
    assert!(key.starts_with("gk-"), "the gateway's, not the provider's");
    assert_eq!(models(&desk.url(), &key), 200);
    assert_eq!(scene.background().token(), key);
    assert_eq!(desk.given_out(), 1, "it is kept");
    let plain = scene.provider.issue_tokens("gatepass", "openid");
    let plain = plain["access_token"].as_str().unwrap();
    assert_eq!(
        models(&desk.url(), plain),
        401,
        "the gateway takes nothing but keys"
    );

    let next = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(next, key);
    assert_eq!(models(&desk.url(), &next), 200);
    assert_eq!(desk.given_out(), 2);

    // Out of order: that is for later, and the session stays.
    desk.refuse_with(Some(503));
    let failed = scene.gatepass(["token", "--force-refresh"]).run();
    failed.expect(6);
    desk.refuse_with(None);
    let after = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_eq!(models(&desk.url(), &after), 200);
    for secret in scene.provider.issued_secrets() {
        assert!(!failed.stderr.contains(&secret));
    }
    scene.gatepass(["logout"]).run().expect(0);
    scene.background().expect(4);
}
