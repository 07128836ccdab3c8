//! What device management is given: the forms of one policy agree, the scripts tell what is the case, the role does what
//! it says. Products of device management themselves are not here.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gatepass_testkit::lab::needs_mounts;
use gatepass_testkit::provider::{Provider, Settings};
use sha2::{Digest, Sha256};

use crate::GATEPASS;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A machine with gatepass where its package puts it, and an `/etc` of its own. Whatever runs on it runs as root.
struct Machine {
    place: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        needs_mounts();
        let place = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let machine = Self { place };
        for folder in ["etc", "etc-work", "bin", "bin-work"] {
            machine.folder(folder);
        }
        machine
    }

    fn with_gatepass() -> Self {
        let machine = Self::new();
        fs::copy(GATEPASS, machine.program()).unwrap();
        set_mode(&machine.program(), 0o755);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn program(&self) -> PathBuf {
        self.path("bin/gatepass")
    }

    fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        set_mode(&self.path(name), 0o755);
    }

    fn policy(&self, text: &str) -> &Self {
        self.folder("etc/gatepass");
        fs::write(self.path("etc/gatepass/policy.toml"), text).unwrap();
        set_mode(&self.path("etc/gatepass/policy.toml"), 0o644);
        self
    }

    fn run(&self, words: &[&str]) -> Output {
        let base = self.place.path().display();
        let mounted = |over: &str, name: &str| {
            format!(
                "mount -t overlay overlay -o lowerdir={over},upperdir={base}/{name},workdir={base}/{name}-work {over}"
            )
        };
        let script = format!(
            "{} && {} && exec \"$@\"",
            mounted("/etc", "etc"),
            mounted("/usr/bin", "bin")
        );
        Command::new("unshare")
            .args(["--mount", "--propagation=private", "/bin/sh", "-c", &script])
            .arg("sh")
            .args(words)
            .current_dir(self.place.path())
            .env_clear()
            .env("HOME", self.place.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap()
    }

    /// What the script for inventories says, as somebody has edited it, and its exit code.
    fn report(&self, edits: &[(&str, &str)]) -> (i32, String) {
        let script = repository("packaging/mdm/jamf/extension-attribute.sh");
        let mut script = fs::read_to_string(script).unwrap();
        for (before, after) in edits {
            assert!(script.contains(before), "{before}");
            script = script.replacen(before, after, 1);
        }
        let file = self.path("report.sh");
        fs::write(&file, script).unwrap();
        let mut said = None;
        // Debian's, and the one that a Mac has.
        for shell in [&["sh"][..], &["bash", "--posix"]] {
            let output = self.run(&[shell, &[file.to_str().unwrap()]].concat());
            let told = (
                output.status.code().unwrap(),
                String::from_utf8(output.stdout).unwrap(),
            );
            assert!(output.stderr.is_empty(), "{shell:?}: {told:?}");
            assert_eq!(*said.get_or_insert(told.clone()), told, "{shell:?}");
        }
        said.unwrap()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn digest(text: &str) -> String {
    let mut out = String::new();
    for byte in Sha256::digest(text) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

const LINE: (&str, &str) = ("as=result", "as=line");
const EXIT: (&str, &str) = ("as=result", "as=exit");

#[test]
fn an_inventory_learns_in_one_line_what_is_the_case() {
    let version = env!("CARGO_PKG_VERSION");
    let provider = Provider::start(Settings::default());
    let policy = format!(
        "[locked]\nissuer = '{}'\nclient_id = 'gatepass'\n",
        provider.issuer()
    );
    let digest = digest(&policy);
    let expect = |(code, line): (i32, String), wanted: i32, told: &str| {
        assert_eq!((code, line), (wanted, format!("{told}\n")));
    };
    let none = Machine::new();
    expect(none.report(&[]), 0, "<result>not installed</result>");
    expect(none.report(&[EXIT]), 1, "not installed");

    let machine = Machine::with_gatepass();
    expect(machine.report(&[EXIT]), 1, &format!("{version}: no policy"));
    machine.policy(&policy);
    let fine = format!("{version}: ok, policy {digest}");
    expect(machine.report(&[]), 0, &format!("<result>{fine}</result>"));
    expect(machine.report(&[LINE]), 0, &fine);
    let meant = format!("digest={digest}");
    let oldest = format!("oldest={version}-rc.1");
    expect(
        machine.report(&[
            EXIT,
            ("digest=\n", &format!("{meant}\n")),
            ("oldest=", &oldest),
        ]),
        0,
        &fine,
    );
    expect(
        machine.report(&[EXIT, ("oldest=", "oldest=0.10.0")]),
        1,
        &format!("{version}: older than 0.10.0"),
    );
    expect(
        machine.report(&[EXIT, ("digest=\n", "digest=00\n")]),
        1,
        &format!("{version}: another policy, {digest}"),
    );
    expect(
        machine.report(&[EXIT, ("profile=default", "profile=lab")]),
        1,
        &format!("{version}: failed: configuration"),
    );
    expect(
        machine.report(&[LINE, ("profile=default", "profile=lab")]),
        0,
        &format!("{version}: failed: configuration"),
    );
    expect(
        machine.report(&[
            EXIT,
            ("profile=default", "profile=lab"),
            ("checks=yes", "checks=no"),
        ]),
        0,
        &fine,
    );
    machine.policy("[locked]\nisuer = '<x>'\n");
    expect(
        machine.report(&[EXIT]),
        1,
        &format!("{version}: the policy must not be followed"),
    );
    machine.policy(&policy.replace("http://127.0.0.1:", "http://127.0.0.1:9/"));
    let (code, line) = machine.report(&[EXIT]);
    assert!(
        code == 1 && line.starts_with(&format!("{version}: failed: ")),
        "{line}"
    );

    // What others could have put there is not run as root.
    set_mode(&machine.program(), 0o775);
    expect(
        machine.report(&[EXIT]),
        1,
        "not safe to run: others than root may write /usr/bin/gatepass",
    );
}

#[test]
fn the_role_delivers_a_policy_and_takes_a_bad_one_back() {
    let provider = Provider::start(Settings::default());
    let machine = Machine::with_gatepass();
    machine.folder("etc/gatepass");
    let play = machine.path("play.yml");
    fs::write(
        &play,
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  roles: [gatepass]\n",
    )
    .unwrap();
    let values = machine.path("values.json");
    fs::write(
        &values,
        serde_json::json!({
            "gatepass_locked": {
                "issuer": provider.issuer(),
                "client_id": "gatepass",
                "display_name": "M\u{fc}ller \u{1f600} \"x\"",
                "redirect_ports": [8400, 8401],
                "headers": {"X-Meta": "{\"team\":\"{sub}\"}"},
                "exchange": {
                    "kind": "http", "url": "https://gateway.example/k", "token_pointer": "/key", "lifetime": 600,
                    "headers": {"Authorization": "Bearer {token}"}, "body": {"a": [1, true, {"b": "c"}]},
                },
                "profile": {"lab": {"audience": "x"}},
            },
            "gatepass_default": {"min_validity": 420},
        })
        .to_string(),
    )
    .unwrap();
    let run = |more: &[&str]| {
        let values = format!("@{}", values.display());
        let roles = repository("packaging/mdm/ansible");
        let roles = format!("ANSIBLE_ROLES_PATH={}", roles.display());
        let words = [
            "env",
            &roles,
            "ANSIBLE_NOCOLOR=1",
            "ansible-playbook",
            "-i",
            "localhost,",
        ];
        let output = machine.run(
            &[
                &words[..],
                &["-e", &values],
                more,
                &[play.to_str().unwrap()],
            ]
            .concat(),
        );
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let installed = || fs::read_to_string(machine.path("etc/gatepass/policy.toml")).unwrap();

    let (fine, told) = run(&[]);
    assert!(fine && told.contains("changed=1"), "{told}");
    let policy = installed();
    let shown = machine.run(&["gatepass", "config", "show", "--profile", "lab"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for line in [
        "display_name = \"Müller 😀 \\\"x\\\"\"  # policy (locked)",
        "audience = \"x\"  # policy (locked)",
        "redirect_ports = [8400,8401]  # policy (locked)",
        "headers = {\"X-Meta\":\"{\\\"team\\\":\\\"{sub}\\\"}\"}  # policy (locked)",
        "min_validity = 420  # policy (default)",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let meant = format!("gatepass_policy_digest={}", digest(&policy));
    let (fine, told) = run(&["-e", &meant]);
    assert!(fine && told.contains("changed=0"), "{told}");

    let bad = machine.path("bad.toml");
    fs::write(&bad, "[locked]\nisuer = 'x'\n").unwrap();
    let (fine, told) = run(&["-e", &format!("gatepass_policy_file={}", bad.display())]);
    assert!(!fine && told.contains("unknown key `isuer`"), "{told}");
    assert_eq!(installed(), policy);

    // A machine that cannot reach the provider is not right.
    drop(provider);
    let (fine, told) = run(&[]);
    assert!(!fine && told.contains("\"msg\": [\"tls\"]"), "{told}");
    let (fine, told) = run(&["-e", "gatepass_strict=false"]);
    assert!(fine, "{told}");
}

#[test]
fn independent_readers_find_the_same_policy_in_every_form() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("config.toml");
    fs::copy(repository("tests/golden/config.toml"), &config).unwrap();
    set_mode(&config, 0o600);
    let made = Command::new(GATEPASS)
        .arg("--config")
        .arg(&config)
        .args([
            "export",
            "claude-desktop",
            "--format",
            "linux",
            "--with-policy",
        ])
        .args(["--token-lifetime", "3600", "--output"])
        .arg(place.path().join("managed-settings.json"))
        .env_clear()
        .env("HOME", place.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = Command::new("python3")
        .arg(repository("tests/golden/readers.py"))
        .arg(repository("tests/golden"))
        .arg(repository("packaging"))
        .arg(place.path().join("policy.toml"))
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    for example in ["macos/example.mobileconfig", "windows/example.reg"] {
        let checked = Command::new(GATEPASS)
            .args(["export", "--check"])
            .arg(repository("packaging").join(example))
            .env_clear()
            .env("HOME", place.path())
            .output()
            .unwrap();
        let report = String::from_utf8(checked.stdout).unwrap();
        assert!(
            checked.status.success() && report.ends_with("no problem found\n"),
            "{report}"
        );
    }
    let mut files = vec![
        repository("packaging/macos/example.mobileconfig"),
        repository("packaging/windows/gatepass.admx"),
        repository("packaging/windows/en-US/gatepass.adml"),
        repository("packaging/macos/io.gatepass.helper.plist"),
    ];
    for entry in fs::read_dir(repository("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "mobileconfig") {
            files.push(path);
        }
    }
    let read = Command::new("xmllint")
        .args(["--noout", "--nonet"])
        .args(&files)
        .output()
        .unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
}
