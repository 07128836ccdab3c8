//! The gateway refuses a token that is good by its date. Claude Code and Codex show it by running gatepass again.

use std::time::Duration;

use gatepass_testkit::gateway::{Step, ToolCall};
use gatepass_testkit::lab::{Gatepass, Outcome};
use serde_json::{Value, json};

use crate::desk::{Desk, GREETING};

/// The gateway refused something, and the turn succeeded after at most `retries` more requests for it, by one refresh.
#[track_caller]
fn recovered(desk: &Desk, done: &Outcome, retries: usize) {
    let statuses = desk.statuses();
    // Codex asks for the list of models first, and may recover there.
    let all = desk.gateway.answered();
    assert!(all.iter().any(|one| one.status == 401), "{all:?}");
    assert_eq!(
        done.code, 0,
        "{statuses:?} {}\n{}",
        done.stdout, done.stderr
    );
    assert!(done.stdout.contains(GREETING), "{done:?}");
    let refused = statuses.iter().filter(|status| **status == 401).count();
    assert!(refused <= retries, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&200));
    assert_eq!(desk.refreshes(), 1, "{statuses:?}");
}

/// The gateway takes the token no longer while a host is at work.
fn revoked_at_work(tool: &str, arguments: Value, after: Duration) -> Step {
    Step {
        call: ToolCall {
            name: tool.to_owned(),
            arguments,
        },
        after,
        then_revoked: true,
    }
}

/// Claude Code reads a file and is refused when it wants to tell the model what is in it.
fn claude_at_work(desk: &Desk, after: Duration) {
    desk.write("work/notes.txt", "nothing of importance\n");
    let file = json!({"file_path": desk.home("work/notes.txt")});
    desk.gateway.next_step(revoked_at_work("Read", file, after));
}

/// Codex looks at its goal and is refused when it wants to tell the model.
fn codex_at_work(desk: &Desk, after: Duration) {
    desk.gateway
        .next_step(revoked_at_work("get_goal", json!({}), after));
}

#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn claude_code_recovers_at_its_start() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    desk.gateway.revoke(&desk.token());
    recovered(&desk, &desk.claude("Say hello").run(), 2);
}

#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn claude_code_recovers_in_the_middle_of_a_run() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    claude_at_work(&desk, Duration::ZERO);
    recovered(&desk, &desk.claude("Read notes.txt").run(), 2);
    assert_eq!(desk.gateway.steps_left(), 0);
}

/// So long after it was given the token that its first run means nothing yet: the second one does.
#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn claude_code_recovers_later_in_a_run_at_its_second_retry() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    let settings = std::fs::read_to_string(desk.home(".claude/settings.json")).unwrap();
    let mut settings: Value = serde_json::from_str(&settings).unwrap();
    settings["env"]["CLAUDE_CODE_API_KEY_HELPER_TTL_MS"] = "16000".into();
    desk.write(".claude/settings.json", &settings.to_string());
    claude_at_work(&desk, Duration::from_secs(10));
    recovered(&desk, &desk.claude("Read notes.txt").run(), 2);
    assert_eq!(desk.gateway.steps_left(), 0);
}

#[test]
#[ignore = "needs Codex: cargo xtask test --hosts"]
fn codex_recovers_at_its_start() {
    let desk = Desk::new();
    desk.follow("Codex");
    desk.gateway.revoke(&desk.token());
    recovered(&desk, &desk.codex("Say hello").run(), 2);
}

#[test]
#[ignore = "needs Codex: cargo xtask test --hosts"]
fn codex_recovers_in_the_middle_of_a_run() {
    let desk = Desk::new();
    desk.follow("Codex");
    codex_at_work(&desk, Duration::ZERO);
    recovered(&desk, &desk.codex("What is the goal?").run(), 2);
    assert_eq!(desk.gateway.steps_left(), 0);
}

/// After more than a minute, as above. Codex asks twice in each of its tries: with the token that it holds, and with the one
/// that the helper then gives. So the second run of the helper comes after the third refusal.
#[test]
#[ignore = "needs Codex, takes more than a minute: cargo xtask test --hosts"]
fn codex_recovers_later_in_a_run_at_the_helpers_second_run() {
    let desk = Desk::new();
    desk.follow("Codex");
    codex_at_work(&desk, Duration::from_secs(65));
    recovered(&desk, &desk.codex("What is the goal?").run(), 3);
    assert_eq!(desk.gateway.steps_left(), 0);
}

/// An MCP server that refuses at its start: this version looks for a sign-in of the server's own in place of running the
/// helper again. The turn's own refusal brings another token, and the next start gives it to the server.
#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn an_mcp_server_that_refused_gets_another_token_at_the_next_start() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    let refused = desk.token();
    desk.gateway.revoke(&refused);
    let file = desk.home("mcp.json").display().to_string();
    let with = ["--mcp-config", &file, "--strict-mcp-config"];
    recovered(&desk, &desk.claude("Say hello").args(with).run(), 2);
    let of_server = || {
        let mut all = desk.gateway.answered();
        all.retain(|one| one.path == "/mcp/search" && one.status != 405);
        all
    };
    for one in of_server() {
        assert_eq!((one.status, one.token.as_ref()), (401, Some(&refused)));
    }
    let before = of_server().len();
    assert!(before > 0);

    let next = desk.claude("Say hello").args(with).run();
    assert!(next.stdout.contains(GREETING), "{next:?}");
    let fresh = desk.token();
    let after = of_server().split_off(before);
    assert!(!after.is_empty());
    for one in after {
        assert_ne!(one.status, 401);
        assert_eq!(one.token.as_ref(), Some(&fresh));
    }
    assert_eq!(desk.refreshes(), 1);
}

/// The hosts give up in the end, and the provider hardly notices.
#[test]
#[ignore = "needs Claude Code and Codex, takes minutes: cargo xtask test --hosts"]
fn a_gateway_that_refuses_everything_costs_one_refresh_in_two_minutes() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    desk.follow("Codex");
    desk.gateway.refuse_everything(true);
    let started = std::time::Instant::now();
    let hosts = [desk.claude("Say hello"), desk.codex("Say hello")];
    let ends: Vec<Outcome> = hosts.map(Gatepass::spawn).map(|run| run.wait()).into();
    let most = 1 + usize::try_from(started.elapsed().as_secs() / 120).unwrap();
    for end in &ends {
        assert!(!end.stdout.contains(GREETING), "{end:?}");
    }
    let statuses = desk.statuses();
    assert!(statuses.len() > 8, "{statuses:?}");
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert!(
        (1..=most).contains(&desk.refreshes()),
        "{}",
        desk.refreshes()
    );

    // The session is as it was, and people are told what happens.
    let status = desk.scene.gatepass(["status"]).run();
    assert!(
        format!("{}{}", status.stdout, status.stderr).contains("refuse"),
        "{status:?}"
    );
    desk.gateway.refuse_everything(false);
    let done = desk.codex("Say hello").run();
    assert!(done.stdout.contains(GREETING), "{done:?}");
}
