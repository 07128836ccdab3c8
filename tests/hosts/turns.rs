//! Each host answers a turn with the recipe of the page.

use gatepass_testkit::lab::{Gatepass, Outcome};

use crate::desk::{Desk, GREETING};

/// The host showed what the model said, each of its requests carried gatepass's token, and nothing was refreshed for it.
#[track_caller]
pub(crate) fn answered(desk: &Desk, done: &Outcome) {
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

/// Who runs gatepass for each request shows nothing by running it once more: a refused token stays, and the turn fails,
/// until a person asks for another token.
#[track_caller]
fn fails_until_a_person_asks(desk: &Desk, turn: impl Fn() -> Gatepass) {
    let refused = desk.token();
    desk.gateway.revoke(&refused);
    let failed = turn().run();
    assert!(!failed.stdout.contains(GREETING), "{failed:?}");
    assert_eq!(desk.refreshes(), 0);
    desk.scene
        .gatepass(["token", "--force-refresh"])
        .run()
        .expect(0);
    let done = turn().run();
    assert!(done.stdout.contains(GREETING), "{done:?}");
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
    let turn = || {
        let script = ". ~/.profile; exec copilot --prompt 'Say hello'";
        desk.run("/bin/sh", ["-c", script])
    };
    answered(&desk, &turn().run());
    fails_until_a_person_asks(&desk, turn);
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
    let turn = || {
        let chosen = ["--provider", "corp", "--model", "claude-sonnet-4-5"];
        desk.run("pi", ["-p"].into_iter().chain(chosen).chain(["Say hello"]))
    };
    answered(&desk, &turn().run());
    fails_until_a_person_asks(&desk, turn);
}

#[test]
#[ignore = "needs opencode: cargo xtask test --hosts"]
fn opencode_answers_a_turn() {
    let desk = Desk::new();
    desk.follow("opencode");
    let turn = || desk.run("opencode", ["run", "Say hello"]);
    answered(&desk, &turn().run());
    fails_until_a_person_asks(&desk, turn);
}
