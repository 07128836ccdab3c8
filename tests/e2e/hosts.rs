//! The hosts' configurations with a real session and a real keychain. An export knows how long this provider's tokens
//! live. A profile that a gateway handed out is taken over: afterwards its secrets are in the keychain and nowhere
//! else, and the hosts get them from gatepass.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gatepass_testkit::lab::{Gatepass, Home, Keyring, Person, Scene, Settings, scan_for_secrets};

use crate::GATEPASS;

const KEY: &str = "arch_0123456789abcdef0123456789abcdef";
const HEADER: &str = "arch_fedcba9876543210fedcba9876543210";

fn profile() -> String {
    format!(
        r#"{{"inferenceProvider":"gateway",
             "inferenceGatewayBaseUrl":"https://archestra.example/v1/anthropic/0b1c",
             "inferenceGatewayApiKey":"{KEY}",
             "inferenceGatewayAuthScheme":"bearer",
             "inferenceCustomHeaders":{{"X-Archestra-Virtual-Key":"{HEADER}","X-Archestra-Agent-Id":"desktop"}}}}"#
    )
}

struct Desk {
    home: Home,
    keyring: Keyring,
    outside: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            home: Home::new(),
            keyring: Keyring::start(),
            outside: tempfile::tempdir().unwrap(),
        }
    }

    fn gatepass<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Gatepass {
        Gatepass::new(GATEPASS, &self.home)
            .keyring(&self.keyring)
            .args(arguments)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.outside.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_download_moves_into_the_keychain_and_comes_out_as_tokens_and_headers() {
    let desk = Desk::new();
    let file = desk.file("download.json", &profile());
    let done = desk.gatepass(["config", "import", &file]).run();
    done.expect(0);
    for said in [
        "kept",
        "the gateway's key",
        "X-Archestra-Virtual-Key",
        "delete",
        "new ones",
    ] {
        assert!(done.stdout.contains(said), "{said}: {}", done.stdout);
    }
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(KEY) && !text.contains(HEADER), "{text}");
    }
    let config = desk.home.config_file();
    assert_eq!(
        fs::metadata(&config).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let entry = desk
        .keyring
        .lookup("default")
        .expect("an entry for the profile");
    assert!(entry.contains(KEY) && entry.contains(HEADER));
    let secrets = [KEY.to_owned(), HEADER.to_owned()];
    let leaks = scan_for_secrets(desk.home.path(), &secrets);
    assert!(leaks.is_empty(), "{leaks:?}");

    // Claude Desktop gets the key and both headers, the host's own configuration neither.
    let answer = desk.gatepass([]).context("background").run();
    let json = answer.expect(0).json();
    assert_eq!(json["token"], KEY);
    assert_eq!(json["headers"]["X-Archestra-Virtual-Key"], HEADER);
    assert_eq!(json["headers"]["X-Archestra-Agent-Id"], "desktop");
    let exported = desk
        .gatepass(["export", "claude-desktop", "--format", "json"])
        .run();
    exported.expect(0);
    assert!(
        exported
            .stdout
            .contains("https://archestra.example/v1/anthropic/0b1c")
    );
    assert!(!exported.stdout.contains(KEY) && !exported.stdout.contains("Virtual-Key"));

    // Once more would overwrite.
    let again = desk.gatepass(["config", "import", &file]).run();
    again.expect(3);
    assert!(again.stderr.contains("--profile NAME"), "{}", again.stderr);
}

#[test]
fn a_key_that_would_be_more_than_one_header_is_not_taken_over() {
    for key in [
        "sk-1\\r\\nX-Evil: 1",
        "sk-1\\u0007",
        "sk 1",
        &"x".repeat(40_000),
    ] {
        let desk = Desk::new();
        let file = desk.file("download.json", &profile().replace(KEY, key));
        let refused = desk.gatepass(["config", "import", &file]).run();
        refused.expect(3);
        assert!(!refused.stderr.contains("Evil"), "{}", refused.stderr);
        assert!(desk.keyring.items_snapshot().is_empty());
        assert!(!desk.home.config_file().exists(), "nothing is half done");
        desk.gatepass([]).context("background").run().expect(3);
    }
    // One that was stored before it was looked at is not printed either.
    let desk = Desk::new();
    let file = desk.file("download.json", &profile());
    desk.gatepass(["config", "import", &file]).run().expect(0);
    let config = fs::read_to_string(desk.home.config_file()).unwrap();
    desk.home.config(&format!("cache = \"none\"\n{config}"));
    let entry = desk.keyring.lookup("default").expect("an entry");
    desk.keyring.store(
        &[("service", "gatepass"), ("username", "default")],
        &entry.replace(KEY, "sk-1\\r\\nX-Evil: 1"),
    );
    for shape in ["bare", "header", "headers", "json"] {
        let printed = desk.gatepass(["token", "--output", shape]).run();
        printed.expect(8);
        assert!(!printed.stderr.contains("Evil"), "{printed:?}");
    }
}

#[test]
fn a_configuration_that_is_there_gets_a_further_profile() {
    let desk = Desk::new();
    let before = "# mine\nissuer = \"https://idp.example\"\nclient_id = \"a\"\n";
    desk.home.config(before);
    let file = desk.file(
        "claude_desktop_config.json",
        &format!(
            "{{\"deploymentMode\":\"3p\",\"enterpriseConfig\":{}}}",
            profile()
        ),
    );
    desk.gatepass(["config", "import", &file, "--profile", "archestra"])
        .run()
        .expect(0);
    let after = fs::read_to_string(desk.home.config_file()).unwrap();
    assert!(after.starts_with(before), "{after}");
    let token = desk.gatepass(["token", "--profile", "archestra"]).run();
    assert_eq!(token.token(), KEY);
    desk.gatepass(["config", "check"]).run().expect(0);
    let again = desk
        .gatepass(["config", "import", &file, "--profile", "archestra"])
        .run();
    again.expect(3);
    assert_eq!(fs::read_to_string(desk.home.config_file()).unwrap(), after);
}

#[test]
fn without_a_keychain_nothing_is_left_behind() {
    let desk = Desk::new();
    let file = desk.file("download.json", &profile());
    let done = desk
        .gatepass(["config", "import", &file])
        .keyring(&Keyring::missing())
        .run();
    done.expect(7);
    assert!(!desk.home.config_file().exists());
    let leaks = scan_for_secrets(desk.home.path(), &[KEY.to_owned(), HEADER.to_owned()]);
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn the_entry_that_is_applied_stands_for_its_library() {
    let desk = Desk::new();
    let id = "11111111-2222-4333-8444-555555555555";
    desk.file(
        "_meta.json",
        &format!("{{\"appliedId\":\"{id}\",\"entries\":[{{\"id\":\"{id}\",\"name\":\"A\"}}]}}"),
    );
    desk.file(&format!("{id}.json"), &profile());
    let folder = desk.outside.path().to_str().unwrap().to_owned();
    desk.gatepass(["config", "import", &folder]).run().expect(0);
    assert!(desk.keyring.lookup("default").unwrap().contains(KEY));
}

#[test]
fn an_export_follows_the_life_of_the_tokens_that_this_provider_issues() {
    for (cache, life, ttl) in [("auto", 400, 250), ("none", 3600, 300)] {
        let settings = Settings {
            access_token: life,
            ..Settings::default()
        };
        let scene = Scene::with(GATEPASS, &settings, Person::without_browser());
        let more = format!("gateway_url = \"https://gateway.example\"\ncache = \"{cache}\"");
        let export = || {
            let done = scene
                .gatepass(["export", "claude-desktop", "--format", "json"])
                .run();
            let value = done.expect(0).json()["inferenceCredentialHelperTtlSec"].clone();
            (value, done.stderr.contains("is not known here"))
        };
        scene.configure(&more);
        assert_eq!(export(), (300.into(), true), "nobody is signed in");
        scene.login();
        assert_eq!(export(), (ttl.into(), false), "{cache}");
        let profile = scene.home.path().join("profile.json");
        fs::write(
            &profile,
            r#"{"inferenceProvider":"gateway","inferenceGatewayBaseUrl":"https://g.example",
                "inferenceCredentialKind":"helper-script","inferenceCredentialHelper":"/bin/sh",
                "inferenceCredentialHelperTtlSec":3599,"inferenceModels":["haiku"]}"#,
        )
        .unwrap();
        let checked = scene
            .gatepass(["export", "--check", profile.to_str().unwrap()])
            .run();
        checked.expect(if life < 3599 { 3 } else { 0 });
    }
}
