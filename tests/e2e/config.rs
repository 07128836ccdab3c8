//! `gatepass config init` asks the provider what it offers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

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

#[test]
fn nothing_is_written_that_config_check_refuses() {
    let entra = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0";
    let cases: [(&str, &[&str], &str); 3] = [
        (entra, &["--offline"], "--token id_token"),
        (
            "https://idp.example.com",
            &[
                "--offline",
                "--gateway-url",
                "https://gw.example.com/v1/messages/",
            ],
            "--gateway-url \"https://gw.example.com\"",
        ),
        (
            "https://login.microsoftonline.com/organizations/v2.0",
            &["--offline", "--token", "id_token"],
            "tenants",
        ),
    ];
    for (issuer, more, remedy) in cases {
        let home = Home::new();
        let outcome = init(&home, issuer, more);
        outcome.expect(3);
        assert!(outcome.stderr.contains(remedy), "{}", outcome.stderr);
        assert!(!home.config_file().exists(), "{issuer}");
    }
    let home = Home::new();
    init(&home, entra, &["--offline", "--token", "id_token"]).expect(0);
    Gatepass::new(GATEPASS, &home)
        .args(["config", "check"])
        .run()
        .expect(0);
}

#[test]
fn what_to_register_and_what_comes_next_is_told() {
    let home = Home::new();
    let outcome = init(
        &home,
        "https://example.okta.com/oauth2/default",
        &["--offline", "--profile", "work"],
    );
    outcome.expect(0);
    for told in [
        "  http://127.0.0.1:8400/callback\n",
        "  http://127.0.0.1:8402/callback\n",
        "next: gatepass login --profile work\n",
    ] {
        assert!(outcome.stdout.contains(told), "{}", outcome.stdout);
    }
}

#[test]
fn at_a_terminal_it_asks_for_what_is_missing() {
    let soon = Duration::from_secs(20);
    let provider = Provider::start(Settings::default());
    let home = Home::new();
    let mut running = Gatepass::new(GATEPASS, &home)
        .args(["config", "init"])
        .spawn_on_terminal();
    let issuer = provider.issuer();
    let answers = [
        ("Provider (", "nonsense"),
        ("no preset \"nonsense\"", ""),
        ("Issuer (", "http://127.0.0.1:9"),
        // Nobody answers there, so it asks again.
        ("note: ", issuer.as_str()),
        ("Client id", "desktop"),
        ("Gateway", "https://gateway.example.com/v1"),
        ("hosts append that", "https://gateway.example.com"),
    ];
    for (question, answer) in answers {
        running.wait_for(soon, |screen| {
            screen
                .rsplit_once(question)
                .filter(|(_, rest)| rest.contains(": "))
                .map(drop)
        });
        running.types(&format!("{answer}\n"));
    }
    let outcome = running.wait();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("http://127.0.0.1/callback"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stdout.ends_with("next: gatepass login\n"),
        "{}",
        outcome.stdout
    );
    let written = fs::read_to_string(home.config_file()).unwrap();
    for line in [
        format!("issuer = \"{issuer}\""),
        "client_id = \"desktop\"".to_owned(),
        "gateway_url = \"https://gateway.example.com\"".to_owned(),
    ] {
        assert!(written.contains(&line), "{written}");
    }
}

#[test]
fn with_options_or_without_a_terminal_nothing_is_asked() {
    let home = Home::new();
    let bare = || Gatepass::new(GATEPASS, &home).args(["config", "init"]);
    bare().run().expect(2);
    let outcome = bare()
        .args(["--client-id", "desktop"])
        .spawn_on_terminal()
        .wait();
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("--issuer is missing"),
        "{}",
        outcome.stderr
    );
    assert!(!home.config_file().exists());
}
