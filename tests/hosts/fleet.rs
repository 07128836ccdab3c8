//! What an administrator installs: the exports for fleets, which a user's own files do not override. Each run sees them
//! in `/etc`, where its program looks for them on Linux.

use gatepass_testkit::lab::Etc;
use serde_json::{Value, json};

use crate::desk::{Desk, GREETING};
use crate::turns::answered;

/// What gatepass exports for this home.
fn export(desk: &Desk, arguments: &str) -> String {
    let helper = desk.home(".local/bin/gatepass").display().to_string();
    let arguments = desk.fitted(arguments);
    let all = ["export"].into_iter().chain(arguments.split(' '));
    let done = desk
        .scene
        .gatepass(all.chain(["--for", "linux", "--helper-path", &helper]))
        .run();
    done.expect(0);
    done.stdout
}

#[test]
#[ignore = "needs Codex: cargo xtask test --hosts"]
fn codex_takes_its_provider_from_the_administrator() {
    let desk = Desk::new();
    let requirements = export(&desk, "codex --format requirements");
    let etc = Etc::new().with("codex/requirements.toml", &requirements);
    answered(&desk, &desk.codex("Say hello").seeing(&etc).run());
}

/// A user's own choice of a provider does not count.
#[test]
#[ignore = "needs Codex: cargo xtask test --hosts"]
fn codex_lets_nobody_choose_another_provider() {
    let desk = Desk::new();
    let requirements = export(&desk, "codex --format requirements");
    let etc = Etc::new().with("codex/requirements.toml", &requirements);
    let own = "model_provider = 'own'\n[model_providers.own]\nname = 'Own'\nbase_url = 'http://127.0.0.1:9/v1'\nwire_api = 'responses'\n";
    desk.write(".codex/config.toml", own);
    answered(&desk, &desk.codex("Say hello").seeing(&etc).run());
}

#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn claude_code_takes_settings_and_servers_from_the_administrator() {
    let desk = Desk::new();
    let settings = export(&desk, "claude-code --format managed");
    let mcp = "--mcp search=https://gateway.example.com/mcp/search";
    let servers = export(&desk, &format!("claude-code --format managed-mcp {mcp}"));
    let etc = Etc::new()
        .with("claude-code/managed-settings.json", &settings)
        .with("claude-code/managed-mcp.json", &servers);
    // What the user has counts for less.
    let own = json!({"apiKeyHelper": "echo of-my-own", "env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}});
    desk.write(".claude/settings.json", &own.to_string());
    answered(&desk, &desk.claude("Say hello").seeing(&etc).run());
    let token = desk.token();
    let mut asked = desk.gateway.answered();
    asked.retain(|one| one.path == "/mcp/search" && one.status != 405);
    assert!(!asked.is_empty());
    for one in asked {
        assert!((200..300).contains(&one.status), "{}", one.status);
        assert_eq!(one.token.as_ref(), Some(&token));
    }
}

/// What the check of a file calls an error: it ends with a word about the sign-in that it was told to have, and no helper
/// is run. In a user's own settings it is passed over.
#[test]
#[ignore = "needs Claude Code: cargo xtask test --hosts"]
fn a_forced_sign_in_keeps_claude_code_from_the_helper() {
    for (key, value) in [
        ("forceLoginMethod", "claudeai"),
        ("forceLoginMethod", "console"),
        ("forceLoginMethod", "gateway"),
        ("forceLoginOrgUUID", "11111111-2222-4333-8444-555555555555"),
    ] {
        let desk = Desk::new();
        let settings = export(&desk, "claude-code --format managed");
        let mut settings: Value = serde_json::from_str(&settings).unwrap();
        settings[key] = value.into();
        let etc = Etc::new().with("claude-code/managed-settings.json", &settings.to_string());
        let done = desk.claude("Say hello").seeing(&etc).run();
        assert_eq!(done.code, 1, "{key} {value}: {done:?}");
        assert!(done.stderr.contains("apiKeyHelper"), "{done:?}");
        assert_eq!(desk.gateway.answered().len(), 0, "{key} {value}");

        desk.write(".claude/settings.json", &settings.to_string());
        let own = desk.claude("Say hello").run();
        assert!(own.stdout.contains(GREETING), "{key} {value}: {own:?}");
    }
}
