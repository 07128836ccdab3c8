//! The lab's own parts: they have to be right before what they show about gatepass means anything.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

use std::fs;
use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{Gatepass, Home, Keyring, scan_for_secrets};

#[test]
fn nothing_is_left_running() {
    let keyring = Keyring::start();
    let home = Home::new();
    let run = Gatepass::new("/bin/sh", &home)
        .args(["-c", "setsid sleep 600 & echo started"])
        .run();
    assert_eq!(run.stdout, "started\n");
    assert!(run.held_open, "the sleeping process holds the output");
    let marks = [
        keyring.runtime_folder().display().to_string(),
        home.path().display().to_string(),
    ];
    assert!(marks.iter().all(|mark| mentioned_by_a_process(mark)));
    drop((keyring, home));
    thread::sleep(Duration::from_millis(100));
    assert!(!marks.iter().any(|mark| mentioned_by_a_process(mark)));
}

fn mentioned_by_a_process(mark: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment
            .windows(mark.len())
            .any(|window| window == mark.as_bytes())
    })
}

#[test]
fn a_run_has_only_the_environment_it_is_given() {
    let (home, keyring) = (Home::new(), Keyring::missing());
    let env = Gatepass::new("/usr/bin/env", &home)
        .keyring(&keyring)
        .context("background")
        .run();
    let mut names: Vec<&str> = env
        .stdout
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "CLAUDE_HELPER_CONTEXT",
            "DBUS_SESSION_BUS_ADDRESS",
            "HOME",
            "PATH",
            "XDG_RUNTIME_DIR"
        ]
    );
}

#[test]
fn a_leaked_secret_is_found_also_when_it_was_shortened() {
    let home = Home::new();
    let jwt = format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.{}",
        "payload-of-the-token".repeat(3),
        "SIGNATURE9876543210".repeat(3)
    );
    let secrets = [jwt.clone(), "refresh-token-of-some-length".to_owned()];
    fs::create_dir_all(home.state()).unwrap();
    fs::write(
        home.state().join("harmless"),
        "eyJhbGciOiJSUzI1NiJ9 and refresh-token",
    )
    .unwrap();
    assert_eq!(scan_for_secrets(home.path(), &secrets), []);
    for leak in [
        &jwt[..60],
        &jwt[70..],
        "token=refresh-token-of-some-length;",
    ] {
        fs::write(home.state().join("log"), leak).unwrap();
        let found = scan_for_secrets(home.path(), &secrets);
        assert!(
            found.iter().all(|one| one.file.ends_with("log")) && !found.is_empty(),
            "{leak}: {found:?}"
        );
    }
}
