//! The pages for readers, done exactly as they say: their shell blocks one after the other, in an empty home.

use std::fs;
use std::path::Path;

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::lab::{Gatepass, Outcome, Scene};
use gatepass_testkit::provider::{self, Provider};

use crate::GATEPASS;

const AUDIENCE: &str = "https://gateway.example.test/";

/// The shell blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(path).unwrap();
    text.split("\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// A machine on which gatepass was never used, with a provider and a gateway beside it.
struct Machine {
    scene: Scene<Provider>,
    gateway: Gateway,
}

impl Machine {
    fn new() -> Self {
        let settings = provider::Settings {
            audience: AUDIENCE.to_owned(),
            ..provider::Settings::default()
        };
        let scene = Scene::scripted(GATEPASS, settings);
        fs::remove_file(scene.home.config_file()).unwrap();
        let gateway = Gateway::start(&scene.provider.issuer(), AUDIENCE);
        Self { scene, gateway }
    }

    /// gatepass is in the `PATH`, and configured as its user would.
    fn configured(self) -> Self {
        self.scene.home.config(&format!(
            "issuer = '{}'\nclient_id = 'gatepass'\ngateway_url = '{}'\n{}",
            self.scene.provider.issuer(),
            self.gateway.url(),
            self.scene.person.config(),
        ));
        let bin = self.scene.home.path().join(".local/bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(GATEPASS, bin.join("gatepass")).unwrap();
        self
    }

    /// One block, with the addresses of this machine in place of the examples'.
    fn does(&self, block: &str) -> Outcome {
        let replaced = [
            ("https://idp.example.com", self.scene.provider.issuer()),
            ("https://gateway.example.com", self.gateway.url()),
            ("target/release/gatepass", GATEPASS.to_owned()),
            ("claude-haiku-4-5", "demo-small".to_owned()),
            ("YOUR-CLIENT", "gatepass".to_owned()),
        ];
        let block = replaced.iter().fold(block.to_owned(), |block, (from, to)| {
            block.replace(from, to)
        });
        let script = format!("set -eu -o pipefail; cd; PATH=\"$HOME/.local/bin:$PATH\"\n{block}\n");
        Gatepass::new("/bin/bash", &self.scene.home)
            .keyring(&self.scene.keyring)
            .args(["-c", &script])
            .run()
    }

    /// The person of this test sits in front of a browser of their own.
    fn has_a_browser(&self) {
        let file = self.scene.home.config_file();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{}{text}", self.scene.person.config())).unwrap();
    }
}

#[test]
fn a_developer_gets_from_nothing_to_an_answer() {
    let machine = Machine::new();
    let mut steps = Vec::new();
    for block in blocks("docs/developer.md") {
        let done = machine.does(&block);
        assert_eq!(done.code, 0, "{block}\n{done:?}");
        // What each check of the page asks for.
        assert!(!done.stdout.contains("\nfailed"), "{block}\n{done:?}");
        assert!(
            !done.stdout.contains("no refresh token"),
            "{block}\n{done:?}"
        );
        if block.starts_with("gatepass config init") {
            assert!(done.stdout.contains("/callback"), "{done:?}");
            machine.has_a_browser();
        }
        steps.push((block, done));
    }
    assert!(steps.len() <= 10, "{}", steps.len());
    let of = |part: &str| {
        let found = steps.iter().find(|(block, _)| block.contains(part));
        &found.unwrap_or_else(|| panic!("no step with {part}")).1
    };
    assert!(of("gatepass status").stdout.contains("signed in    as "));
    assert!(of("curl").stdout.contains("demo-small"));
    assert!(!of("--force-refresh").stderr.contains("gatepass:"));
    for host in ["claude-code", "codex", "claude-desktop"] {
        let done = of(&format!("export {host}"));
        assert!(done.stdout.contains("no problem found"), "{host}: {done:?}");
    }
    let looked = &steps.last().unwrap().1.stdout;
    assert!(looked.contains("host-configuration"), "{looked}");
}

#[test]
fn the_readme_sets_everything_up() {
    let machine = Machine::new();
    let mut answered = String::new();
    for line in blocks("README.md").iter().flat_map(|block| block.lines()) {
        // The build and the tests are what runs this.
        if line.starts_with("cargo ") {
            continue;
        }
        let done = machine.does(line);
        assert_eq!(done.code, 0, "{line}\n{done:?}");
        assert!(!done.stdout.contains("\nfailed"), "{line}\n{done:?}");
        if line.starts_with("gatepass config init") {
            machine.has_a_browser();
        }
        answered = done.stdout;
    }
    assert!(answered.contains("demo-small"), "{answered}");
}

#[test]
fn an_operator_sees_what_arrives() {
    let machine = Machine::new().configured();
    machine.does("gatepass login").expect(0);
    let blocks = blocks("docs/gateway-operator.md");
    let claims = machine.does(&blocks[0]);
    claims.expect(0);
    assert_eq!(claims.json()["iss"], machine.scene.provider.issuer());
    let asked = machine.does(&blocks[1]);
    asked.expect(0);
    let answers: Vec<&str> = asked.stdout.split("HTTP/1.1 ").skip(1).collect();
    let answers: Vec<&str> = answers
        .iter()
        .filter_map(|answer| answer.get(..3))
        .collect();
    assert_eq!(answers, ["200", "401", "401"], "{asked:?}");
}

#[test]
fn an_endpoint_engineer_gets_every_file() {
    let machine = Machine::new().configured();
    for block in blocks("docs/deploy/README.md") {
        let done = machine.does(&block);
        // The machine of a test may lack what `doctor --machine` looks for; what it says is the point.
        let codes = if block.contains("--machine") {
            &[0, 3, 6, 7][..]
        } else {
            &[0]
        };
        assert!(codes.contains(&done.code), "{block}\n{done:?}");
    }
    for file in [
        "claude.mobileconfig",
        "claude.reg",
        "claude.intune.json",
        "managed-settings.json",
        "policy.toml",
    ] {
        assert!(machine.scene.home.path().join(file).exists(), "{file}");
    }
}
