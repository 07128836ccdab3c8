//! Many hosts, and many helpers of one host, at the same moment. None of that says that a gateway refused anything.

use std::collections::BTreeSet;

use gatepass_testkit::lab::{Gatepass, Outcome, Running};
use serde_json::{Value, json};

use crate::desk::{Desk, GREETING};

#[test]
#[ignore = "needs Claude Code and Codex: cargo xtask test --hosts"]
fn thirty_hosts_that_start_together_share_one_token() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    desk.follow("Codex");
    let starts = (0..30).map(|n| {
        if n % 2 == 0 {
            desk.claude("Say hello")
        } else {
            desk.codex("Say hello")
        }
    });
    let running: Vec<Running> = starts.map(Gatepass::spawn).collect();
    let ends: Vec<Outcome> = running.into_iter().map(Running::wait).collect();
    for end in &ends {
        assert!(end.stdout.contains(GREETING), "{end:?}");
    }
    assert_eq!(desk.statuses(), [200; 30]);
    let token = desk.token();
    for one in desk.gateway.answered() {
        assert_eq!(one.token.as_ref(), Some(&token), "{}", one.path);
    }
    assert_eq!(desk.refreshes(), 0);
}

/// `apiKeyHelper`, `otelHeadersHelper` and the `headersHelper` of five MCP servers, in one start of Claude Code.
#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn seven_helpers_of_one_start_are_no_refusal() {
    let desk = Desk::new();
    let recipe = desk.follow("Claude Code");
    let settings = std::fs::read_to_string(desk.home(".claude/settings.json")).unwrap();
    let mut settings: Value = serde_json::from_str(&settings).unwrap();
    let telemetry: Value = serde_json::from_str(&desk.fitted(recipe.block("json"))).unwrap();
    settings["otelHeadersHelper"] = telemetry["otelHeadersHelper"].clone();
    for (name, value) in telemetry["env"].as_object().unwrap() {
        settings["env"][name] = value.clone();
    }
    desk.write(".claude/settings.json", &settings.to_string());

    let one = std::fs::read_to_string(desk.home("mcp.json")).unwrap();
    let one: Value = serde_json::from_str(&one).unwrap();
    let mut five = json!({});
    for name in ["search", "mail", "files", "tickets", "wiki"] {
        let mut server = one["mcpServers"]["search"].clone();
        server["url"] = format!("{}/mcp/{name}", desk.gateway.url()).into();
        five["mcpServers"][name] = server;
    }
    desk.write("five.json", &five.to_string());
    let file = desk.home("five.json").display().to_string();
    let with = ["--mcp-config", &file, "--strict-mcp-config"];
    let done = desk.claude("Say hello").args(with).run();
    assert!(done.stdout.contains(GREETING), "{done:?}");

    let token = desk.token();
    let mut asked = BTreeSet::new();
    for one in desk.gateway.answered() {
        assert_ne!(one.status, 401, "{}", one.path);
        assert_eq!(one.token.as_ref(), Some(&token), "{}", one.path);
        asked.insert(one.path);
    }
    for path in [
        "/mcp/search",
        "/mcp/mail",
        "/mcp/files",
        "/mcp/tickets",
        "/mcp/wiki",
        "/v1/messages",
        "/v1/metrics",
    ] {
        assert!(asked.contains(path), "{path}: {asked:?}");
    }
    assert_eq!(desk.refreshes(), 0);
}
