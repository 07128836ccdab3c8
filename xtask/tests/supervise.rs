//! The parent of one test: it keeps the limit, says what is waited for, and leaves nothing behind.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed assumption should stop the test at once"
)]

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Runs a script with a limit in seconds.
fn supervised(limit: &str, script: &str) -> Output {
    let mut command = Command::new(XTASK);
    command.args(["supervise", limit, "/bin/sh", "-c", script]);
    command.stdin(Stdio::null()).output().unwrap()
}

fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.map(|one| fs::read(one.path().join("cmdline")).unwrap_or_default());
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.any(|line| line.trim() == words)
}

#[test]
fn what_is_over_its_limit_is_described_and_ended_with_all_that_it_started() {
    let ended = supervised(
        "1",
        "(setsid sleep 86391 &); echo from the test >&2; sleep 86392",
    );
    assert_eq!(ended.status.code(), Some(124), "{ended:?}");
    let told = String::from_utf8(ended.stdout).unwrap();
    for words in [
        "still running after 1 s",
        ": sleep 86391",
        ": sleep 86392",
        "waits in system call",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!runs("sleep 86391") && !runs("sleep 86392"));
}

#[test]
fn a_test_ends_as_it_does_and_leaves_nothing_behind() {
    let ended = supervised("60", "setsid sleep 86393 & exit 3");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let told = String::from_utf8(ended.stdout).unwrap();
    assert!(told.contains("left behind: sleep 86393"), "{told}");
    assert!(!runs("sleep 86393"));
    let killed = supervised("60", "kill -KILL $$");
    assert_eq!(killed.status.code(), Some(1), "{killed:?}");
}

#[test]
fn a_run_that_is_broken_off_leaves_nothing_behind() {
    let script =
        format!("'{XTASK}' supervise 60 /bin/sh -c 'sleep 86394 & sleep 86395' & echo; wait");
    let mut run = Command::new("/bin/sh")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    let until = |wanted: bool| {
        let started = Instant::now();
        while runs("sleep 86394") != wanted {
            assert!(started.elapsed() < Duration::from_secs(30), "{wanted}");
            thread::sleep(Duration::from_millis(20));
        }
    };
    until(true);
    run.kill().unwrap();
    run.wait().unwrap();
    until(false);
    assert!(!runs("sleep 86395"));
}
