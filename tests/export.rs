//! Configurations of the hosts: exactly these files come out, each is read back by a library that did not write it,
//! gatepass itself finds nothing wrong with them, and files that are there are merged or left alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const COMMON: [&str; 8] = [
    "--model",
    "claude-sonnet-4-5",
    "--model",
    "claude-haiku-4-5",
    "--header",
    "X-Archestra-Agent-Id=claude",
    "--token-lifetime",
    "3600",
];

/// Golden file, arguments.
const CASES: [(&str, &str); 22] = [
    (
        "desktop.mobileconfig",
        "claude-desktop --format mobileconfig",
    ),
    (
        "desktop-policy.mobileconfig",
        "claude-desktop --format mobileconfig --with-policy",
    ),
    (
        "desktop-lab-policy.mobileconfig",
        "claude-desktop --format mobileconfig --with-policy --profile lab",
    ),
    (
        "desktop.reg",
        "claude-desktop --format reg --set disableAutoUpdates=true",
    ),
    (
        "desktop-policy.reg",
        "claude-desktop --format reg --with-policy",
    ),
    (
        "desktop-lab-policy.reg",
        "claude-desktop --format reg --with-policy --profile lab",
    ),
    (
        "desktop-policy.intune.json",
        "claude-desktop --format intune --with-policy",
    ),
    (
        "desktop-lab-policy.intune.json",
        "claude-desktop --format intune --with-policy --profile lab",
    ),
    (
        "desktop.json",
        "claude-desktop --format json --for windows --profile lab",
    ),
    (
        "desktop-library.json",
        "claude-desktop --format config-library --for macos --profile lab --use-args",
    ),
    (
        "desktop-linux.json",
        "claude-desktop --format linux --mcp tools=https://mcp.example/mcp --send-token-to mcp.example --set coworkEgressAllowedHosts=[\"*\"]",
    ),
    (
        "desktop-enterprise.json",
        "claude-desktop --format enterprise-config --for linux --helper-path /opt/gatepass/gatepass",
    ),
    ("code.json", "claude-code --for linux --profile lab"),
    ("code.reg", "claude-code --format reg"),
    ("code.mobileconfig", "claude-code --format mobileconfig"),
    (
        "code-mcp.json",
        "claude-code --format managed-mcp --for linux --mcp tools=https://gateway.example/mcp",
    ),
    (
        "code-telemetry.json",
        "claude-code --format managed --for windows --otel-endpoint https://gateway.example/otlp",
    ),
    (
        "desktop-lock-all.reg",
        "claude-desktop --format reg --with-policy --lock-all --profile lab",
    ),
    ("codex.toml", "codex --for macos --profile lab"),
    (
        "codex-requirements.toml",
        "codex --format requirements --for linux",
    ),
    ("codex.mobileconfig", "codex --format mobileconfig"),
    (
        "desktop-telemetry.json",
        "claude-desktop --format json --for linux --otel-endpoint https://gateway.example/otlp",
    ),
];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, config: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gatepass"))
            .arg("--config")
            .arg(config)
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .output()
            .unwrap()
    }

    /// Runs with the configuration of the golden files.
    fn gatepass(&self, args: &[&str]) -> Output {
        // Configurations with a secret must be their owner's alone, which a checkout does not promise.
        let config = self.path("gatepass.toml");
        if !config.exists() {
            fs::copy(golden("config.toml"), &config).unwrap();
            private(&config);
        }
        self.run(&config, args)
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ok(output: &Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout.clone()
}

fn refused(output: &Output, code: i32, what: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.contains(what), "{stderr}");
}

fn export(place: &Place, arguments: &str) -> Vec<u8> {
    let mut args = vec!["export"];
    args.extend(arguments.split(' '));
    args.extend(COMMON);
    ok(&place.gatepass(&args))
}

#[test]
fn exactly_these_files_come_out_and_nothing_is_wrong_with_them() {
    let place = Place::new();
    for (name, arguments) in CASES {
        let made = export(&place, arguments);
        assert_eq!(
            made,
            export(&place, arguments),
            "{name} is not reproducible"
        );
        let path = golden(name);
        if std::env::var_os("GOLDEN").is_some_and(|mode| mode == "overwrite") {
            fs::write(&path, &made).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_default();
        assert!(
            made == kept,
            "{name} is not what it was; GOLDEN=overwrite rewrites it:\n{}",
            text(&made)
        );
        let secrets = ["not-for-a-policy", "inferenceGatewayApiKey", "/v1\""];
        let clear = secrets.iter().all(|secret| !text(&made).contains(secret));
        assert!(clear || name.starts_with("codex"), "{name}");
        if name.ends_with(".intune.json") {
            // The check reads what hosts read; this one is compared with the registration file in tests/mdm.rs.
            continue;
        }
        // The helper is looked for where a file is for this system; elsewhere that cannot be.
        let found = place.gatepass(&["export", "--check", path.to_str().unwrap()]);
        let report = text(&found.stdout);
        let missing = report
            .lines()
            .all(|line| !line.starts_with("error") || line.contains("there is no program"));
        assert!(missing, "{name}: {report}");
    }
}

#[test]
fn profiles_are_property_lists_of_strings_and_stay_the_same_profile() {
    let place = Place::new();
    let read = |arguments: &str| {
        plist::Value::from_reader(std::io::Cursor::new(export(&place, arguments)))
            .unwrap()
            .into_dictionary()
            .unwrap()
    };
    let root = read("claude-desktop --format mobileconfig --with-policy");
    let payloads: Vec<_> = root["PayloadContent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|payload| payload.as_dictionary().unwrap())
        .collect();
    assert_eq!(
        payloads[0]["PayloadType"].as_string(),
        Some("com.anthropic.claudefordesktop")
    );
    assert_eq!(
        payloads[1]["PayloadType"].as_string(),
        Some("io.gatepass.helper")
    );
    for (name, value) in payloads[0] {
        assert!(
            value.as_string().is_some() || name == "PayloadVersion",
            "{name}"
        );
    }
    assert_eq!(
        payloads[0]["inferenceCredentialHelperTimeoutSec"].as_string(),
        Some("300")
    );
    assert_eq!(
        payloads[1]["interactiveTimeout"].as_unsigned_integer(),
        Some(295)
    );
    assert_eq!(payloads[1]["clientId"].as_string(), Some("desktop"));
    assert!(!payloads[1].contains_key("clientSecret"));
    assert!(!payloads[1].contains_key("loginHint"));
    // A later profile takes the place of an earlier one, and two profiles stand side by side.
    let later = read("claude-desktop --format mobileconfig --set disableAutoUpdates=true");
    assert_eq!(root["PayloadUUID"], later["PayloadUUID"]);
    assert_eq!(root["PayloadIdentifier"], later["PayloadIdentifier"]);
    let other = read("claude-desktop --format mobileconfig --profile lab");
    assert_ne!(root["PayloadUUID"], other["PayloadUUID"]);
    assert_ne!(root["PayloadIdentifier"], other["PayloadIdentifier"]);
}

/// The policy that an export writes is one that gatepass follows; unknown keys in it would stop gatepass.
#[test]
fn the_policy_of_an_export_is_a_policy() {
    let place = Place::new();
    for (form, name) in [("mobileconfig", "a.mobileconfig"), ("reg", "a.reg")] {
        let path = place.path(name);
        let output = path.to_str().unwrap();
        ok(&place.gatepass(&[
            "export",
            "claude-desktop",
            "--format",
            form,
            "--with-policy",
            "--output",
            output,
        ]));
        let report = text(&ok(&place.gatepass(&["export", "--check", output])));
        assert!(!report.contains("gatepass policy"), "{report}");
    }
    let path = place.path("managed-settings.json");
    ok(&place.gatepass(&[
        "export",
        "claude-desktop",
        "--format",
        "linux",
        "--with-policy",
        "--output",
        path.to_str().unwrap(),
    ]));
    let policy = fs::read_to_string(place.path("policy.toml")).unwrap();
    assert!(
        gatepass::config::policy::Policy::parse(policy.as_bytes()).is_ok(),
        "{policy}"
    );
    assert!(policy.contains("\n[locked]\n") && !policy.contains("not-for-a-policy"));
}

#[test]
fn no_secret_goes_into_a_policy_and_what_is_left_runs() {
    let place = Place::new();
    let config = place.path("secret.toml");
    fs::write(
        &config,
        r#"
issuer = "https://idp.example"
client_id = "desktop"
gateway_url = "https://gateway.example"
proxy = "http://ann:hush@proxy.example:8080"
no_proxy = ["corp.example"]
client_auth = "client_secret_basic"
client_secret = "hush"
token_params = { tenant = "a", api_key = "hush" }
authorize_params = { partner_secret = "hush" }

[headers]
X-Route = "research"
X-Team = "sk-hush"

[exchange]
kind = "http"
url = "https://gateway.example/keys"
headers = { Authorization = "Bearer {token}", X-Org-Secret = "hush" }
token_pointer = "/key"
lifetime = 600

[profile.open]
proxy = "http://proxy.example:8080"
token_params = { tenant = "a" }
authorize_params = {}
headers = { X-Route = "research", X-User = "{email}" }

[profile.open.exchange]
kind = "http"
url = "https://gateway.example/keys"
headers = { Authorization = "Bearer {token}" }
token_pointer = "/key"
lifetime = 600
"#,
    )
    .unwrap();
    private(&config);
    let plain = |bytes: &[u8]| text(bytes).replace('\0', "");
    for format in ["mobileconfig", "reg", "intune", "linux"] {
        let args = [
            "export",
            "claude-desktop",
            "--with-policy",
            "--format",
            format,
        ];
        let output = place.run(&config, &args);
        let made = plain(&ok(&output)) + &text(&output.stderr);
        assert!(!made.contains("hush"), "{format}: {made}");
        for key in [
            "proxy",
            "no_proxy",
            "client_secret",
            "token_params",
            "authorize_params",
            "headers",
            "exchange",
        ] {
            let told = format!("the policy does not hold `{key}`");
            assert!(made.contains(&told), "{format}, {key}: {made}");
        }
        // A client that must show a secret cannot work without one.
        let told = "with this policy alone gatepass would not run: policy (locked): `client_auth`";
        assert!(made.contains(told), "{format}: {made}");
        assert!(!made.contains("corp.example"), "{format}: {made}");

        let with_profile = [&args[..], &["--profile", "open", "--use-args"]].concat();
        let output = place.run(&config, &with_profile);
        let made = plain(&ok(&output)) + &text(&output.stderr);
        assert!(!made.contains("hush"), "{format}: {made}");
        let told = "the policy holds the profile open and not default";
        assert!(made.contains(told), "{format}: {made}");
        for kept in [
            "proxy.example",
            "corp.example",
            "Bearer {token}",
            "{email}",
            "tenant",
        ] {
            assert!(made.contains(kept), "{format}, {kept}: {made}");
        }
    }
}

#[test]
fn no_secret_goes_into_a_further_key() {
    let place = Place::new();
    for (host, set) in [
        (
            "claude-desktop",
            r#"otlpHeaders={"Authorization":"Bearer hush"}"#,
        ),
        (
            "claude-desktop",
            r#"managedMcpServers=[{"name":"a","transport":"http","url":"https://a.example","headers":{"X-Api-Key":"hush"}}]"#,
        ),
        (
            "claude-code",
            "env.ANTHROPIC_CUSTOM_HEADERS=X-A: b\nX-Api-Key: hush",
        ),
        ("codex", r#"http_headers={"X-Team":"sk-hush"}"#),
    ] {
        let output = place.gatepass(&["export", host, "--set", set]);
        refused(&output, 2, "looks like a credential");
        assert!(!text(&output.stderr).contains("hush"), "{set}");
    }
}

/// Whoever runs another host could use the gateway with each person's token.
#[test]
fn the_token_goes_to_another_host_only_by_an_explicit_word() {
    let place = Place::new();
    for (option, value, host) in [
        ("--mcp", "tools=https://mcp.example/mcp", "claude-desktop"),
        (
            "--mcp",
            "tools=https://gateway.example:8443/",
            "claude-desktop",
        ),
        ("--otel-endpoint", "https://otel.example", "claude-code"),
        ("--otel-endpoint", "https://otel.example", "claude-desktop"),
    ] {
        let args = ["export", host, "--format", "json", option, value];
        let args = if host == "claude-code" {
            [&args[..2], &args[4..]].concat()
        } else {
            args.to_vec()
        };
        refused(&place.gatepass(&args), 2, "another host than the gateway");
        let asked = value.rsplit("//").next().unwrap();
        let named = asked.split([':', '/']).next().unwrap();
        ok(&place.gatepass(&[&args[..], &["--send-token-to", named]].concat()));
    }
    // Nor by a key of the host's that is passed on, as `config import` proposes it for a gateway's download.
    let servers = r#"managedMcpServers=[{"name":"a","transport":"http","url":"https://mcp.example","headersHelper":"/usr/bin/gatepass.headers"}]"#;
    let args = [
        "export",
        "claude-desktop",
        "--format",
        "json",
        "--set",
        servers,
    ];
    refused(&place.gatepass(&args), 3, "another host than the gateway");
    ok(&place.gatepass(&[&args[..], &["--send-token-to", "mcp.example"]].concat()));
    // What was allowed is still remarked where the file is looked at.
    let path = place.path("managed.json");
    let args = "claude-desktop --format json --for linux --mcp a=https://mcp.example --send-token-to mcp.example --output";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.insert(0, "export");
    args.push(path.to_str().unwrap());
    ok(&place.gatepass(&args));
    let check = place.gatepass(&["export", "--check", path.to_str().unwrap()]);
    let report = text(&check.stdout);
    assert!(
        report.contains("is on another host than the gateway"),
        "{report}"
    );
    let servers = r#"{"mcpServers":{"a":{"type":"http","url":"https://mcp.example","headersHelper":"/usr/bin/gatepass token"}}}"#;
    fs::write(&path, servers).unwrap();
    let check = place.gatepass(&["export", "--check", path.to_str().unwrap()]);
    let report = text(&check.stdout);
    for said in ["another host than the gateway", "--output headers"] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn everything_is_locked_only_together_with_a_policy() {
    let place = Place::new();
    let args = [
        "export",
        "claude-desktop",
        "--format",
        "linux",
        "--lock-all",
    ];
    refused(&place.gatepass(&args), 2, "--with-policy");
    let output = place.gatepass(&[&args[..], &["--with-policy"]].concat());
    ok(&output);
    let told = text(&output.stderr);
    assert!(told.contains("\nlocked_keys = [\"*\"]\n"), "{told}");
    for key in ["proxy", "no_proxy", "ca_file", "browser"] {
        assert!(told.contains(key), "{key}: {told}");
    }
    let profile = place.gatepass(&[
        "export",
        "claude-desktop",
        "--format",
        "mobileconfig",
        "--with-policy",
        "--lock-all",
    ]);
    let root = plist::Value::from_reader(std::io::Cursor::new(ok(&profile))).unwrap();
    let root = root.into_dictionary().unwrap();
    let own = root["PayloadContent"].as_array().unwrap()[1].clone();
    let own = own.into_dictionary().unwrap();
    assert_eq!(
        own["lockedKeys"].as_array().unwrap()[0].as_string(),
        Some("*")
    );
}

#[test]
fn a_secret_that_is_none_goes_into_a_policy_by_an_explicit_word_alone() {
    let place = Place::new();
    let config = place.path("google.toml");
    let text_of = "issuer = 'https://accounts.google.com'\nclient_id = 'a'\nclient_secret = 'GOCSPX-x'\n\
                   store = 'file'\ngateway_url = 'https://gateway.example'\n";
    fs::write(&config, text_of).unwrap();
    private(&config);
    let args = [
        "export",
        "claude-desktop",
        "--format",
        "linux",
        "--with-policy",
    ];
    let output = place.run(&config, &args);
    ok(&output);
    let told = text(&output.stderr);
    assert!(
        !told.contains("GOCSPX-x") && told.contains("--with-client-secret"),
        "{told}"
    );
    assert!(told.contains("sessions lie in a file"), "{told}");
    let output = place.run(&config, &[&args[..], &["--with-client-secret"]].concat());
    ok(&output);
    let told = text(&output.stderr);
    assert!(
        told.contains("GOCSPX-x") && told.contains("every user of the machine can read"),
        "{told}"
    );
    refused(
        &place.run(
            &config,
            &["export", "claude-desktop", "--with-client-secret"],
        ),
        2,
        "--with-policy",
    );
}

#[test]
fn a_helper_that_is_not_there_and_a_lonely_model_are_remarked() {
    let place = Place::new();
    let absent = place.path("gatepass");
    let args = [
        "export",
        "claude-desktop",
        "--model",
        "claude-haiku-4-5",
        "--helper-path",
    ];
    let args = [&args[..], &[absent.to_str().unwrap()]].concat();
    let output = place.gatepass(&args);
    ok(&output);
    let told = text(&output.stderr);
    let here = env!("CARGO_BIN_EXE_gatepass");
    for said in ["on this system", "--helper-path", here, "is the only one"] {
        assert!(told.contains(said), "{said}: {told}");
    }
    fs::write(&absent, "").unwrap();
    let told = text(&place.gatepass(&args).stderr);
    assert!(!told.contains("on this system"), "{told}");
}

/// Whatever has no end would hold the check for ever.
#[cfg(unix)]
#[test]
fn only_plain_files_are_checked() {
    let place = Place::new();
    let pipe = place.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let large = place.path("large.json");
    fs::File::create(&large).unwrap().set_len(5 << 20).unwrap();
    for (path, why) in [
        (pipe.as_path(), "not a plain file"),
        (Path::new("/dev/zero"), "not a plain file"),
        (place.0.path(), "not a plain file"),
        (&large, "too large"),
        (Path::new("/nowhere/at/all"), "cannot be read"),
    ] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_gatepass"))
            .args(["export", "--check"])
            .arg(path)
            .env_clear()
            .env("HOME", place.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while check.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                check.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        refused(&check.wait_with_output().unwrap(), 3, why);
    }
}

#[test]
fn a_settings_file_is_merged_and_keeps_what_is_the_persons() {
    let place = Place::new();
    let path = place.path("settings.json");
    let before = r#"{
  "zeta": 1,
  "env": {
    "MINE": "x",
    "ANTHROPIC_BASE_URL": "https://old.example",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Mine: stays\nx-team: of-old"
  },
  "apiKeyHelper": "echo of-old",
  "permissions": {"allow": ["a"]}
}"#;
    fs::write(&path, before).unwrap();
    private(&path);
    let args = [
        "export",
        "claude-code",
        "--for",
        "linux",
        "--header",
        "X-Team=research",
        "--output",
        path.to_str().unwrap(),
    ];
    let output = place.gatepass(&args);
    ok(&output);
    // What changed is named; what was there may have been a secret.
    let told = text(&output.stderr);
    for name in [
        "env.ANTHROPIC_BASE_URL had another value and is \"https://gateway.example\" now",
        "env.ANTHROPIC_CUSTOM_HEADERS, X-Team, had another value",
        "apiKeyHelper had another value",
    ] {
        assert!(told.contains(name), "{name}: {told}");
    }
    assert!(
        !told.contains("old.example") && !told.contains("of-old"),
        "{told}"
    );
    let after = fs::read_to_string(&path).unwrap();
    let value: Value = serde_json::from_str(&after).unwrap();
    assert_eq!(value["env"]["MINE"], "x");
    assert_eq!(
        value["env"]["ANTHROPIC_BASE_URL"],
        "https://gateway.example"
    );
    assert_eq!(
        value["env"]["ANTHROPIC_CUSTOM_HEADERS"],
        "X-Mine: stays\nx-team: research\nX-Route: research"
    );
    assert_eq!(value["permissions"], json!({"allow": ["a"]}));
    assert_eq!(
        value["apiKeyHelper"],
        "/usr/bin/gatepass token --caller claude-code"
    );
    assert!(
        after.find("zeta") < after.find("env")
            && after.find("apiKeyHelper") < after.find("permissions")
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    // The second time there is nothing to change.
    ok(&place.gatepass(&args));
    assert_eq!(fs::read_to_string(&path).unwrap(), after);
}

#[test]
fn a_library_gets_an_entry_beside_those_that_are_there() {
    let place = Place::new();
    let folder = place.path("configLibrary");
    let args = [
        "export",
        "claude-desktop",
        "--format",
        "config-library",
        "--model",
        "claude-haiku-4-5",
        "--output",
        folder.to_str().unwrap(),
    ];
    ok(&place.gatepass(&args));
    let meta: Value =
        serde_json::from_slice(&fs::read(folder.join("_meta.json")).unwrap()).unwrap();
    let id = meta["appliedId"].as_str().unwrap().to_owned();
    assert_eq!(meta["entries"].as_array().unwrap().len(), 1);
    let entry: Value =
        serde_json::from_slice(&fs::read(folder.join(format!("{id}.json"))).unwrap()).unwrap();
    assert_eq!(entry["inferenceCredentialKind"], "helper-script");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for name in ["_meta.json".to_owned(), format!("{id}.json")] {
            let mode = fs::metadata(folder.join(&name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
    // Somebody else's entry stays the one that is applied.
    let other = "11111111-2222-4333-8444-555555555555";
    fs::write(
        folder.join("_meta.json"),
        json!({"appliedId": other, "entries": [{"id": other, "name": "B"}]}).to_string(),
    )
    .unwrap();
    let output = place.gatepass(&args);
    ok(&output);
    assert!(text(&output.stderr).contains("another entry is applied"));
    let meta: Value =
        serde_json::from_slice(&fs::read(folder.join("_meta.json")).unwrap()).unwrap();
    assert_eq!(meta["appliedId"], other);
    assert_eq!(meta["entries"].as_array().unwrap().len(), 2);
}

#[test]
fn what_cannot_be_merged_is_left_as_it_is() {
    let place = Place::new();
    let cases = [
        (
            "a.mobileconfig",
            "anything",
            "claude-desktop --format mobileconfig",
            "never overwritten",
        ),
        (
            "a.reg",
            "anything",
            "claude-desktop --format reg",
            "never overwritten",
        ),
        (
            "a.json",
            "{ // mine\n}",
            "claude-desktop --format json",
            "no valid JSON",
        ),
        ("b.json", "[]", "claude-code", "no JSON object"),
        (
            "c.json",
            r#"{"inferenceGatewayApiKey":"k"}"#,
            "claude-desktop --format json",
            "inferenceGatewayApiKey",
        ),
        (
            "d.json",
            r#"{"env":{"ANTHROPIC_AUTH_TOKEN":"k"}}"#,
            "claude-code",
            "ANTHROPIC_AUTH_TOKEN",
        ),
        ("e.toml", "a = ", "codex", "no valid TOML"),
        (
            "f.toml",
            "[model_providers.gatepass]\nname = 'x'\n",
            "codex",
            "another provider",
        ),
    ];
    for (name, content, arguments, what) in cases {
        let path = place.path(name);
        fs::write(&path, content).unwrap();
        let mut args = vec!["export"];
        args.extend(arguments.split(' '));
        args.extend(["--output", path.to_str().unwrap()]);
        refused(&place.gatepass(&args), 3, what);
        assert_eq!(fs::read_to_string(&path).unwrap(), content, "{name}");
    }
    let left: Vec<_> = fs::read_dir(place.0.path())
        .unwrap()
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(".gatepass-new")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_hosts_get_what_they_can_carry() {
    let place = Place::new();
    let config = place.path("secret.toml");
    let base = "issuer = 'https://idp.example'\nclient_id = 'a'\n";
    fs::write(&config, format!("{base}gateway_url = 'https://g.example'\nsecret_headers = ['X-Archestra-Virtual-Key']\n")).unwrap();
    for host in ["claude-code", "codex"] {
        refused(&place.run(&config, &["export", host]), 3, "secret_headers");
    }
    ok(&place.run(&config, &["export", "claude-desktop"]));
    fs::write(&config, base).unwrap();
    for host in ["claude-desktop", "claude-code", "codex"] {
        refused(&place.run(&config, &["export", host]), 3, "gateway_url");
    }
    for address in [
        "https://g.example/v1",
        "https://g.example/v1/",
        "https://g.example/v1/messages",
    ] {
        fs::write(&config, format!("{base}gateway_url = '{address}'\n")).unwrap();
        for host in ["claude-desktop", "claude-code", "codex"] {
            refused(
                &place.run(&config, &["export", host]),
                3,
                "must not end in /v1",
            );
        }
    }
    fs::write(&config, format!("{base}gateway_url = 'https://g.example'\ninteractive_timeout = 100\n[headers]\nX-Mail = '{{email}}'\n")).unwrap();
    let output = place.run(
        &config,
        &[
            "export",
            "claude-desktop",
            "--format",
            "json",
            "--token-lifetime",
            "300",
        ],
    );
    let value: Value = serde_json::from_slice(&ok(&output)).unwrap();
    assert_eq!(value["inferenceGatewayBaseUrl"], "https://g.example");
    assert_eq!(value["inferenceCredentialHelperTtlSec"], 150);
    assert_eq!(value["inferenceCredentialHelperTimeoutSec"], 105);
    let stderr = text(&output.stderr);
    for said in ["Haiku", "interactive_timeout = 100", "min_validity = 270"] {
        assert!(stderr.contains(said), "{said}: {stderr}");
    }
    for host in ["claude-code", "codex"] {
        let output = place.run(&config, &["export", host]);
        ok(&output);
        assert!(text(&output.stderr).contains("cannot carry the header X-Mail"));
    }
}

#[test]
fn the_link_for_headers_prints_headers() {
    #[cfg(unix)]
    {
        let place = Place::new();
        let link = place.path("gatepass-lab.headers");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gatepass"), &link).unwrap();
        // Nobody is signed in: what matters is which profile it looked for.
        let config = place.path(".config/gatepass/config.toml");
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(&config, "issuer = 'https://idp.example'\nclient_id = 'a'\n").unwrap();
        let output = Command::new(&link)
            .env_clear()
            .env("HOME", place.0.path())
            .output()
            .unwrap();
        refused(&output, 3, "no profile `lab`");
    }
}
