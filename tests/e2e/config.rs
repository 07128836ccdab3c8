//! `gatepass config init` asks the provider what it offers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gatepass_testkit::lab::{Gatepass, Home, Outcome};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings};

use crate::GATEPASS;

fn init(home: &Home, issuer: &str, more: &[&str]) -> Outcome {
    Gatepass::new(GATEPASS, home)
        .args([
            "config",
            "init",
            "--issuer",
            issuer,
            "--client-id",
            "desktop",
        ])
        .args(more.iter().copied())
        .run()
}

#[test]
fn what_the_provider_lacks_is_left_out_and_told() {
    let provider = Provider::start(Settings {
        device_flow: false,
        ..Settings::default()
    });
    provider.script(
        Hook::Discovery,
        Fault::json(|metadata| {
            metadata["scopes_supported"] = serde_json::json!(["openid", "email"])
        }),
    );
    let home = Home::new();
    let outcome = init(&home, &provider.issuer(), &[]);
    outcome.expect(0);
    for told in ["offline_access", "device codes"] {
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    }
    let written = fs::read_to_string(home.config_file()).unwrap();
    assert!(
        written.contains("scopes = [\"openid\", \"profile\", \"email\"]"),
        "{written}"
    );
    let mode = fs::metadata(home.config_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    Gatepass::new(GATEPASS, &home)
        .args(["config", "check"])
        .run()
        .expect(0);
    // What is there stays as it is.
    init(&home, &provider.issuer(), &[]).expect(3);
    assert_eq!(fs::read_to_string(home.config_file()).unwrap(), written);
}

#[test]
fn a_provider_that_calls_itself_otherwise_is_told_before_a_file_is_written() {
    let provider = Provider::start(Settings::default());
    let home = Home::new();
    let outcome = init(&home, &format!("{}/", provider.issuer()), &[]);
    outcome.expect(8);
    assert!(
        outcome.stderr.contains(&provider.issuer()),
        "{}",
        outcome.stderr
    );
    assert!(!home.config_file().exists());
}

#[test]
fn without_the_provider_a_file_is_written_all_the_same() {
    for more in [&[][..], &["--offline"]] {
        let home = Home::new();
        let outcome = init(&home, "http://127.0.0.1:9", more);
        outcome.expect(0);
        assert_eq!(
            outcome.stderr.contains("could not be asked"),
            more.is_empty()
        );
        Gatepass::new(GATEPASS, &home)
            .args(["config", "check"])
            .run()
            .expect(0);
    }
}

#[test]
fn a_known_issuer_brings_its_preset() {
    let home = Home::new();
    init(
        &home,
        "https://example.okta.com/oauth2/default",
        &["--offline"],
    )
    .expect(0);
    let shown = Gatepass::new(GATEPASS, &home)
        .args(["config", "show"])
        .run();
    assert!(shown.stdout.contains("# preset okta"), "{}", shown.stdout);
    let home = Home::new();
    init(
        &home,
        "https://example.okta.com",
        &["--offline", "--preset", "none"],
    )
    .expect(0);
}
