//! A gateway that refuses a token that is good by its date. Hosts show it by asking again: each here is a process that
//! runs gatepass as the real ones were seen to do, Claude Code by `/bin/sh -c`, Codex by itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command};
use std::time::Duration;

use gatepass_testkit::lab::{Part, Scene};
use gatepass_testkit::provider::{self, Fault, Hook, Provider};
use serde_json::{Value, json};

use crate::GATEPASS;

const CLAUDE_CODE: &str = "token --caller claude-code";
const CODEX: [&str; 4] = [GATEPASS, "token", "--caller", "codex"];
const MCP_SERVER: &str = "CLAUDE_CODE_MCP_SERVER_URL";
const KEPT_FOR: &str = "CLAUDE_CODE_API_KEY_HELPER_TTL_MS";

/// Runs what it is told, one command for each line, and says how each ended.
const HOST: &str = r#"
import json, os, pty, subprocess, sys
for line in sys.stdin:
    ask = json.loads(line)
    stderr = subprocess.PIPE
    if ask["terminal"]:
        _, stderr = pty.openpty()
    ran = subprocess.run(ask["command"], env=os.environ | ask["environment"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=stderr, text=True)
    print(json.dumps({"code": ran.returncode, "stdout": ran.stdout, "stderr": ran.stderr}), flush=True)
"#;

/// A host application: a process that runs its helper again and again.
struct Host {
    _process: Part,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Host {
    fn start(scene: &Scene<Provider>) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command
            .args(["-c", HOST])
            .env_clear()
            .envs(scene.keyring.env())
            .env("HOME", scene.home.path())
            .env("PATH", "/usr/bin:/bin");
        let mut process = Part::start(&command);
        Self {
            to: process.stdin(),
            from: BufReader::new(process.stdout()),
            _process: process,
        }
    }

    fn begin(&mut self, command: &[&str], environment: &[(&str, &str)], terminal: bool) {
        let environment: serde_json::Map<String, Value> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let ask = json!({ "command": command, "environment": environment, "terminal": terminal });
        writeln!(self.to, "{ask}").unwrap();
    }

    fn end(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        let ran = self.end();
        assert_eq!(ran["code"], 0, "{ran}");
        assert!(ran["stderr"].is_null() || ran["stderr"] == "", "{ran}");
        ran["stdout"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn ask(&mut self, command: &[&str]) -> String {
        self.begin(command, &[], false);
        self.answer()
    }

    #[track_caller]
    fn ask_with(&mut self, command: &[&str], environment: &[(&str, &str)]) -> String {
        self.begin(command, environment, false);
        self.answer()
    }
}

/// As Claude Code runs its helpers.
fn shell(line: &str) -> [String; 3] {
    ["/bin/sh", "-c", line].map(str::to_owned)
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn claude_code(arguments: &str) -> [String; 3] {
    shell(&format!("'{GATEPASS}' {arguments}"))
}

fn scene() -> Scene<Provider> {
    Scene::scripted(GATEPASS, provider::Settings::default()).signed_in()
}

fn refreshes(scene: &Scene<Provider>) -> usize {
    scene.provider.token_grants("refresh_token")
}

#[test]
fn a_host_that_asks_again_gets_another_token() {
    let hosts: [(&str, Vec<String>); 4] = [
        ("Codex, by itself", CODEX.map(str::to_owned).to_vec()),
        ("Claude Code, by a shell", claude_code(CLAUDE_CODE).to_vec()),
        (
            "by a shell that stays",
            shell(&format!("'{GATEPASS}' {CLAUDE_CODE}; exit $?")).to_vec(),
        ),
        (
            "by launchers in shells",
            shell(&format!(
                "nice timeout 20 env A=b sh -c \"flock '$HOME' '{GATEPASS}' {CLAUDE_CODE}; exit \\$?\"; exit $?"
            ))
            .to_vec(),
        ),
    ];
    for (who, command) in hosts {
        let scene = scene();
        let mut host = Host::start(&scene);
        let command = words(&command);
        let first = host.ask(&command);
        assert_eq!(refreshes(&scene), 0, "{who}");
        let second = host.ask(&command);
        assert_ne!(first, second, "{who}");
        assert_eq!(refreshes(&scene), 1, "{who}");
    }
}

#[test]
fn a_gateway_that_refuses_everything_costs_one_refresh_and_status_says_so() {
    let scene = scene();
    let told = || {
        let status = scene.gatepass(["status", "--json"]).run();
        let warnings = status.expect(0).json()["warnings"].to_string();
        let doctor = scene.gatepass(["doctor"]).run().stdout;
        let what = "the gateway refuses fresh tokens";
        (warnings.contains(what), doctor.contains(what))
    };
    let mut host = Host::start(&scene);
    let claude_code = claude_code(CLAUDE_CODE);
    let command = words(&claude_code);
    let first = host.ask(&command);
    let second = host.ask(&command);
    assert_ne!(first, second);
    assert_eq!(told(), (false, false), "a refresh may have helped");
    for _ in 0..6 {
        assert_eq!(host.ask(&command), second);
    }
    assert_eq!(refreshes(&scene), 1);
    // Another host of another kind, and Claude Desktop: the pause is the profile's.
    let mut codex = Host::start(&scene);
    assert_eq!(codex.ask(&CODEX), second);
    assert_eq!(codex.ask(&CODEX), second);
    let desktop = |context| scene.gatepass([]).context(context).run().token() + "\n";
    assert_eq!(desktop("interactive"), second);
    assert_eq!(desktop("mid-session-refresh"), second);
    assert_eq!(refreshes(&scene), 1);
    assert_eq!(told(), (true, true));
}

#[test]
fn thirty_hosts_at_once_are_no_refusal_and_one_refresh_serves_them_all() {
    let scene = scene();
    let mut hosts: Vec<Host> = (0..30).map(|_| Host::start(&scene)).collect();
    let ask_all = |hosts: &mut Vec<Host>| -> Vec<String> {
        for host in &mut *hosts {
            host.begin(&CODEX, &[], false);
        }
        hosts.iter_mut().map(Host::answer).collect()
    };
    let first = ask_all(&mut hosts);
    assert!(first.iter().all(|token| *token == first[0]), "{first:?}");
    assert_eq!(refreshes(&scene), 0);
    // Now the gateway refuses that one: after two tries at most everybody has the same new one.
    ask_all(&mut hosts);
    let third = ask_all(&mut hosts);
    assert!(third.iter().all(|token| *token == third[0]), "{third:?}");
    assert_ne!(first[0], third[0]);
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn one_start_with_all_its_helpers_is_no_refusal() {
    let scene = scene();
    let mut host = Host::start(&scene);
    let token = claude_code(CLAUDE_CODE);
    let headers = claude_code("token --caller claude-code --output headers");
    let servers: Vec<String> = (1..=5).map(|n| format!("https://mcp{n}.example")).collect();
    let mut printed = vec![host.ask(&words(&headers))];
    printed.extend(
        servers
            .iter()
            .map(|url| host.ask_with(&words(&headers), &[(MCP_SERVER, url)])),
    );
    host.ask(&words(&token));
    assert!(printed.iter().all(|headers| *headers == printed[0]));
    assert_eq!(refreshes(&scene), 0);
    // The third server says 401: its helper runs again, and Claude Code tries again only with other headers.
    let again = host.ask_with(&words(&headers), &[(MCP_SERVER, &servers[2])]);
    assert_ne!(again, printed[0]);
    assert_eq!(refreshes(&scene), 1);
    // The other ones' next call finds the new one.
    let other = host.ask_with(&words(&headers), &[(MCP_SERVER, &servers[3])]);
    assert_eq!(other, again);
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn who_asks_for_every_request_gets_the_same_token() {
    let scene = scene();
    let mut host = Host::start(&scene);
    let script = [GATEPASS, "token"];
    let first = host.ask(&script);
    for _ in 0..3 {
        assert_eq!(host.ask(&script), first, "a script");
    }
    for _ in 0..3 {
        host.begin(&CODEX, &[], true);
        assert_eq!(host.answer(), first, "a person behind a terminal");
    }
    // Each is a host of its own.
    for _ in 0..3 {
        assert_eq!(Host::start(&scene).ask(&CODEX), first, "another host");
    }
    assert_eq!(refreshes(&scene), 0);
}

/// As the Windows binary is called from WSL: the other side has found out who asks, and what this side sees says nothing.
#[test]
fn an_asker_that_was_handed_over_counts_and_not_the_parent() {
    let scene = scene();
    let ask = |asker: &str| {
        let call = ["token", "--caller", "codex", "--asker", asker];
        scene.gatepass(call).run().token()
    };
    let first = ask("100-5-7");
    for other in ["101-5-7", "100-6-7", "100-5-8", "none", "none"] {
        assert_eq!(ask(other), first, "{other}");
    }
    assert_eq!(refreshes(&scene), 0);
    assert_ne!(ask("100-5-7"), first);
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn claude_code_asks_again_when_the_time_that_it_keeps_a_token_is_over() {
    let scene = scene();
    let mut host = Host::start(&scene);
    let command = claude_code(CLAUDE_CODE);
    let kept = [(KEPT_FOR, "1000")];
    let first = host.ask_with(&words(&command), &kept);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(host.ask_with(&words(&command), &kept), first);
    assert_eq!(refreshes(&scene), 0);
    // In the middle of it, it has no other reason.
    let kept = [(KEPT_FOR, "300000")];
    assert_ne!(host.ask_with(&words(&command), &kept), first);
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn where_a_refresh_brings_nothing_the_token_in_hand_is_printed() {
    let faults = [
        ("invalid_grant", Fault::oauth_error("invalid_grant")),
        ("a fault of the provider", Fault::status(500)),
        (
            "a client that is known no more",
            Fault::oauth_error("invalid_client"),
        ),
    ];
    for (what, fault) in faults {
        let scene = scene();
        let mut host = Host::start(&scene);
        let first = host.ask(&CODEX);
        scene.provider.script(Hook::RefreshGrant, fault);
        assert_eq!(host.ask(&CODEX), first, "{what}");
        assert_eq!(refreshes(&scene), 1, "{what}");
        assert_eq!(host.ask(&CODEX), first, "{what}");
        assert_eq!(refreshes(&scene), 1, "{what}");
        // Until when it lasts is said as it is: what the provider has ended, it does not end some day.
        let due = &scene.gatepass(["status", "--json"]).run().json()["next_sign_in"];
        let ended = due["why"]
            .as_str()
            .unwrap()
            .contains("has ended the session");
        assert_eq!(ended, what == "invalid_grant", "{due}");
        assert_eq!(due["at"].is_string(), what == "invalid_grant", "{due}");
    }
}

#[test]
fn without_a_refresh_token_there_is_nothing_to_try() {
    let settings = provider::Settings {
        issue_refresh_token: false,
        ..provider::Settings::default()
    };
    let scene = Scene::scripted(GATEPASS, settings).signed_in();
    let mut host = Host::start(&scene);
    let first = host.ask(&CODEX);
    assert_eq!(host.ask(&CODEX), first);
    for _ in 0..3 {
        let again = scene.gatepass([]).context("mid-session-refresh").run();
        assert_eq!(again.token() + "\n", first);
    }
    assert_eq!(refreshes(&scene), 0);
}

#[test]
fn after_a_sign_out_nothing_is_printed_again() {
    let scene = scene();
    let mut host = Host::start(&scene);
    host.ask(&CODEX);
    scene.gatepass(["logout"]).run().expect(0);
    host.begin(&CODEX, &[], false);
    let refused = host.end();
    assert_eq!(
        (&refused["code"], &refused["stdout"]),
        (&json!(4), &json!(""))
    );
    assert_eq!(refreshes(&scene), 0);
}

#[test]
fn scripts_keep_short_lived_tokens_for_half_of_their_life() {
    let settings = provider::Settings {
        access_token_seconds: 20,
        ..provider::Settings::default()
    };
    let scene = Scene::scripted(GATEPASS, settings);
    scene.login();
    let script = || {
        scene
            .gatepass(["token", "--caller", "script"])
            .run()
            .token()
    };
    let first = script();
    scene.provider.clear_requests();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(script(), first, "younger than half of its life");
    assert_eq!(refreshes(&scene), 0);
    assert_ne!(scene.background().token(), first, "older than a tenth");
    assert_eq!(refreshes(&scene), 1);
}

#[test]
fn sdks_that_plan_by_expiry_are_told_what_is_left() {
    let settings = provider::Settings {
        access_token_seconds: 3600,
        ..provider::Settings::default()
    };
    let scene = Scene::scripted(GATEPASS, settings).signed_in();
    let run = || scene.gatepass(["token", "--output", "oauth"]).run();
    let printed = run();
    let response = printed.expect(0).json();
    assert_eq!(printed.stdout.lines().count(), 1);
    assert_eq!(response["access_token"], scene.gatepass([]).run().token());
    assert_eq!(response["token_type"], "Bearer");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let left = response["expires_in"].as_u64().unwrap();
    let end = response["expires_at"].as_u64().unwrap();
    assert!((3400..=3600).contains(&left), "{response}");
    assert!((now + left..=now + left + 2).contains(&end), "{response}");
    assert_eq!(response.as_object().unwrap().len(), 4, "{response}");
    scene.configure("[headers]\nX-Route = \"research\"");
    let refused = run();
    refused.expect(3);
    assert_eq!(refused.stdout, "");
    assert!(refused.stderr.contains("--output headers"), "{refused:?}");
}
