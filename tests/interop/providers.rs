//! Further real providers, each with habits of its own. `cargo xtask test --interop` installs and runs them.

use std::time::Duration;

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::lab::{AnyProvider, Glewlwyd, LemonLdap, Person, Scene};

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(30);
const AUDIENCE: &str = "https://gateway.example.test";

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn bob() -> Person {
    Person::at_glewlwyd().named("bob").with_password("bobpw")
}

/// Glewlwyd knows one redirect address: gatepass is told its port.
fn glewlwyd() -> Scene<Glewlwyd> {
    let port = free_port();
    let provider = Glewlwyd::start(&format!("http://127.0.0.1:{port}/callback"));
    let scene = Scene::around(GATEPASS, provider, bob());
    scene.configure(&format!(
        "redirect_ports = [{port}]\nscopes = ['openid', 'gateway.invoke']"
    ));
    scene
}

#[test]
#[ignore = "needs Glewlwyd: cargo xtask test --interop"]
fn glewlwyd_signs_in_refreshes_and_signs_out() {
    let scene = glewlwyd();
    let walk = scene.login();
    assert_eq!(walk.error(), None, "{walk:?}");
    // Its audience is the list of scopes.
    let gateway = Gateway::start(&scene.provider.issuer(), "openid gateway.invoke");
    // It tells nobody's name.
    let _ = scene.refreshes_and_signs_out("\"signed_in\": true", &gateway);
}

/// Glewlwyd answers a refresh token's second use with 400 and nothing else, and ends what came of it.
#[test]
#[ignore = "needs Glewlwyd: cargo xtask test --interop"]
fn glewlwyds_empty_refusal_says_what_helps() {
    let scene = glewlwyd();
    scene.login();
    let before = scene.keyring.items_snapshot();
    scene.refreshed();
    // Somebody brings a copy of the keychain back.
    scene.keyring.restore(&before);
    let refused = scene.gatepass(["token", "--force-refresh"]).run();
    // An empty answer may come from anything in between: it signs nobody out, and says what helps.
    refused.expect(6);
    assert!(refused.stderr.contains("gatepass login"), "{refused:?}");
    scene.login();
    scene.background().token();
}

/// RFC 8252 lets native programs choose the port; Glewlwyd does not. The person sees its page, and the sign-in ends by itself.
#[test]
#[ignore = "needs Glewlwyd: cargo xtask test --interop"]
fn glewlwyd_refuses_a_free_port() {
    let scene = glewlwyd();
    scene.configure("sign_in_timeout = 30\nscopes = ['openid', 'gateway.invoke']");
    scene.gatepass(["login", "--browser"]).run().expect(5);
    let walk = scene.person.saw_within(SOON).unwrap();
    assert_eq!(walk.status(), 403, "{walk:?}");
    assert_eq!(scene.keyring.lookup("default"), None);
}

#[test]
#[ignore = "needs Glewlwyd: cargo xtask test --interop"]
fn glewlwyd_confirms_a_device_and_is_polled_less_often_when_it_asks_for_it() {
    let scene = glewlwyd();
    let (mut login, code) = scene.asks_for_device_code();
    let address = format!("{}/device?code={code}", scene.provider.issuer());
    // It told an interval of five seconds, and now wants more: the poll after ten is told to slow down, and the next one
    // comes after twenty.
    scene.provider.device_interval(8);
    std::thread::sleep(Duration::from_secs(12));
    assert!(login.runs(), "nobody has confirmed");
    let walk = bob().opens(&address);
    assert_eq!(walk.error(), None, "{walk:?}");
    let done = login.wait();
    done.expect(0);
    assert!(
        done.elapsed > Duration::from_secs(18),
        "{:?}: {}",
        done.elapsed,
        scene.provider.said()
    );
    scene.background().token();
    scene.refreshed();
}

fn lemonldap(person: Person) -> Scene<LemonLdap> {
    let port = free_port();
    let provider = LemonLdap::start(&format!("http://127.0.0.1:{port}/callback"), AUDIENCE);
    let scene = Scene::around(
        GATEPASS,
        provider,
        person.named("dwho").with_password("dwho"),
    );
    // The gateway's name stands in its ID tokens as well.
    scene.configure(&format!(
        "redirect_ports = [{port}]\ntrusted_audiences = ['{AUDIENCE}']"
    ));
    scene
}

#[test]
#[ignore = "needs LemonLDAP::NG: cargo xtask test --interop"]
fn lemonldap_signs_in_in_chromium_refreshes_without_rotation_and_signs_out() {
    let scene = lemonldap(Person::with_chromium());
    let issuer = scene.provider.issuer();
    assert!(issuer.ends_with('/'));
    let walk = scene.login();
    assert_eq!(walk.error(), None, "{walk:?}");
    let gateway = Gateway::start(&issuer, AUDIENCE);
    // It offers no revocation: that is said, and what is here is removed all the same.
    let out = scene.refreshes_and_signs_out("dwho", &gateway);
    assert!(
        format!("{}{}", out.stdout, out.stderr).contains("revo"),
        "{out:?}"
    );
}

/// `LemonLDAP::NG` says `invalid_request` of a refresh token that it does not know. Others say so of a request that is
/// wrong: the session is kept, and whoever may sign in is told to.
#[test]
#[ignore = "needs LemonLDAP::NG: cargo xtask test --interop"]
fn lemonldaps_invalid_request_ends_no_session_and_a_sign_in_helps() {
    let scene = lemonldap(Person::without_browser());
    scene.login();
    scene.background().token();
    scene.provider.end_sessions();
    let refused = scene.gatepass(["token", "--force-refresh"]).run();
    refused.expect(3);
    assert!(
        refused.stderr.contains("invalid_request") && refused.stderr.contains("gatepass login"),
        "{refused:?}\n{}",
        scene.provider.said()
    );
    assert_ne!(scene.keyring.lookup("default"), None);
    scene.login();
    scene.background().token();
}

/// It has no device flow, and gatepass says so.
#[test]
#[ignore = "needs LemonLDAP::NG: cargo xtask test --interop"]
fn lemonldap_offers_no_device_codes() {
    let scene = lemonldap(Person::without_browser());
    scene.gatepass(["login", "--device"]).run().expect(3);
}
