//! Names of people and folders in any script, and paths longer than 260 characters.

use std::fs;
use std::process::Command;

use crate::{Settings, Windows, anywhere, drive_c, end, gatepass, run, scratch};

/// An account whose name needs everything: a space, letters beyond any one code page.
const ACCOUNT: &str = "Zoë Ünï 東京";

fn as_her(arguments: &[&str]) -> Command {
    let mut command = gatepass(arguments);
    command.env("GATEPASS_WINE_USER", ACCOUNT);
    command
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn an_account_may_have_any_name() {
    let windows = Windows::new(Settings::default());
    let profile = drive_c().join("users").join(ACCOUNT);
    let _ = fs::remove_dir_all(&profile);
    for folder in ["AppData/Roaming", "AppData/Local"] {
        fs::create_dir_all(profile.join(folder)).unwrap();
    }
    // Where she has none, nobody else's counts.
    let path = run(as_her(&["config", "path"])).expect(0).stdout;
    assert_eq!(
        path.trim_end(),
        format!(r"C:\users\{ACCOUNT}\AppData\Roaming\gatepass\config.toml")
    );
    run(as_her(&["config", "check"])).expect(3);
    let config = profile.join("AppData/Roaming/gatepass/config.toml");
    windows.configure_at(&config, "min_validity = 60\n");
    let login = as_her(&["login", "--browser"]).spawn().unwrap();
    windows.visit();
    end(login).expect(0);
    let token = run(as_her(&[])).token();
    // Through a worker, with its locks and files.
    windows.provider.clear_requests();
    let next = run(as_her(&["token", "--force-refresh"])).token();
    assert_ne!(next, token);
    assert_eq!(run(as_her(&[])).token(), next);
    run(as_her(&["status"])).expect(0);
    let state = profile.join(".gatepass");
    assert!(state.is_dir());
    assert!(!anywhere(&state, next.as_bytes()));
    run(as_her(&["logout"])).expect(0);
    fs::remove_dir_all(&profile).unwrap();
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_path_may_be_long_and_have_any_letters() {
    let windows = Windows::new(Settings::default());
    let (folder, there) = scratch();
    let parts = [
        "Ä".repeat(60),
        "with space ".repeat(12) + "x",
        "東".repeat(60),
    ];
    let config = parts
        .iter()
        .fold(folder, |path, part| path.join(part))
        .join("config.toml");
    let path = format!(r"{there}\{}\config.toml", parts.join(r"\"));
    assert!(path.chars().count() > 260);
    windows.configure_at(&config, "min_validity = 60\n");
    run(gatepass(&["--config", &path, "config", "check"])).expect(0);
    let login = gatepass(&["--config", &path, "login", "--browser"])
        .spawn()
        .unwrap();
    windows.visit();
    end(login).expect(0);
    // The worker is told the path as well.
    let call = ["--config", &path, "token", "--force-refresh"];
    run(gatepass(&call)).token();
    let export = format!(r"{there}\{}\export.reg", parts.join(r"\"));
    windows.configure_at(&config, "gateway_url = \"https://gateway.example\"\n");
    run(gatepass(&[
        "--config",
        &path,
        "export",
        "claude-desktop",
        "--format",
        "reg",
        "--model",
        "m",
        "--output",
        &export,
    ]))
    .expect(0);
    assert!(config.with_file_name("export.reg").is_file());
    run(gatepass(&["--config", &path, "logout"])).expect(0);
}
