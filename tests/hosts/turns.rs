//! Each host answers a turn with the recipe of the page.

use gatepass_testkit::lab::Outcome;

use crate::desk::{Desk, GREETING};

/// The host showed what the model said, each of its requests carried gatepass's token, and nothing was refreshed for it.
#[track_caller]
fn answered(desk: &Desk, done: &Outcome) {
    assert_eq!(done.code, 0, "{}\n{}", done.stdout, done.stderr);
    assert!(done.stdout.contains(GREETING), "{done:?}");
    let turns = desk.gateway.turns();
    assert!(!turns.is_empty());
    let token = desk.token();
    for turn in turns {
        assert_eq!((turn.status, turn.token.as_ref()), (200, Some(&token)));
    }
    assert_eq!(desk.refreshes(), 0);
}

#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn claude_code_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("Claude Code");
    answered(&desk, &desk.claude("Say hello").run());
}

#[test]
#[ignore = "needs Codex: cargo xtask test --hosts"]
fn codex_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("Codex");
    answered(&desk, &desk.codex("Say hello").run());
}

#[test]
#[ignore = "needs Copilot CLI: cargo xtask test --hosts"]
fn copilot_cli_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("Copilot CLI");
    let turn = ". ~/.profile; exec copilot --prompt 'Say hello'";
    answered(&desk, &desk.run("/bin/sh", ["-c", turn]).run());
}

/// What the page warns of: a command in this file is ignored, and the request goes out without a token.
#[test]
#[ignore = "needs Copilot CLI: cargo xtask test --hosts"]
fn copilot_clis_file_of_providers_runs_no_command() {
    let desk = Desk::new();
    let providers = r#"{
        "providers": [{
            "name": "corp", "type": "openai", "baseUrl": "https://gateway.example.com/v1",
            "apiKeyCommand": "/home/you/.local/bin/gatepass token --caller script"
        }],
        "models": [{"id": "demo-large", "provider": "corp"}]
    }"#;
    desk.write(".copilot/providers.json", &desk.fitted(providers));
    let turn = ["--model", "corp/demo-large", "--prompt", "Say hello"];
    let _ = desk.run("copilot", turn).run();
    let turns = desk.gateway.turns();
    assert!(!turns.is_empty());
    for turn in turns {
        assert_eq!(
            (turn.status, turn.token),
            (401, None),
            "the page is to be mended"
        );
    }
}

#[test]
#[ignore = "needs Pi: cargo xtask test --hosts"]
fn pi_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("Pi");
    let turn = [
        "-p",
        "--provider",
        "corp",
        "--model",
        "claude-sonnet-4-5",
        "Say hello",
    ];
    answered(&desk, &desk.run("pi", turn).run());
}

#[test]
#[ignore = "needs opencode: cargo xtask test --hosts"]
fn opencode_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("opencode");
    answered(&desk, &desk.run("opencode", ["run", "Say hello"]).run());
}
