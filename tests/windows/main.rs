//! The Windows program, run by Wine: what a person and a host see, with the real Credential Manager, registry and
//! loopback of Wine, against a real provider. `cargo xtask test --windows` builds the program and runs these.
//!
//! Here are calls and sessions; one module per further idea.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

mod commands;
mod names;
mod native;
mod registry;
mod upgrade;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use gatepass_testkit::installed::{self, Outcome, VISITS, address_in, browser, eventually, visit};
use gatepass_testkit::provider::{Fault, Hook, Provider, Settings, When};

/// Where gatepass's own policy lies, and Claude Desktop's.
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Gatepass";
const HOST_POLICY: &str = r"HKLM\SOFTWARE\Policies\Claude";

/// A provider, and the Windows account with nothing of gatepass's in it.
struct Windows {
    provider: Provider,
}

fn wine() -> PathBuf {
    env::var_os("GATEPASS_WINE")
        .expect("run `cargo xtask test --windows`")
        .into()
}

/// The folder of Wine's `C:`.
fn drive_c() -> PathBuf {
    wine().with_file_name("windows").join("drive_c")
}

fn profile_folder() -> PathBuf {
    drive_c().join("users/root")
}

fn state_folder() -> PathBuf {
    profile_folder().join(".gatepass")
}

/// A folder for a test's own files: as this machine sees it, and as Windows does.
fn scratch() -> (PathBuf, &'static str) {
    let folder = drive_c().join("scratch");
    fs::create_dir_all(&folder).unwrap();
    (folder, r"C:\scratch")
}

fn gatepass_exe() -> String {
    env::var("GATEPASS_EXE").expect("run `cargo xtask test --windows`")
}

/// A Windows program to be run.
fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(wine());
    command
        .arg(name)
        .args(arguments)
        .env_remove("CLAUDE_HELPER_CONTEXT")
        .env_remove("GATEPASS_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn gatepass(arguments: &[&str]) -> Command {
    program(&gatepass_exe(), arguments)
}

fn end(child: Child) -> Outcome {
    Outcome::of_child(child)
}

fn run(mut command: Command) -> Outcome {
    Outcome::of(&mut command)
}

fn reg(arguments: &[&str]) -> Outcome {
    run(program("reg", arguments))
}

impl Windows {
    fn new(settings: Settings) -> Self {
        let windows = Self {
            provider: Provider::start(Settings {
                auto_approve: true,
                ..settings
            }),
        };
        for key in [POLICY, HOST_POLICY, VISITS] {
            reg(&["delete", key, "/f"]);
        }
        windows.configure("");
        run(gatepass(&["logout"]));
        let _ = fs::remove_dir_all(state_folder());
        let _ = fs::remove_dir_all(scratch().0);
        windows.provider.clear_requests();
        windows
    }

    fn config_file() -> PathBuf {
        profile_folder().join("AppData/Roaming/gatepass/config.toml")
    }

    fn configure(&self, more: &str) {
        self.configure_at(&Self::config_file(), more);
    }

    fn configure_at(&self, file: &Path, more: &str) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = format!(
            "issuer = \"{}\"\nclient_id = \"gatepass\"\n{}{more}",
            self.provider.issuer(),
            browser()
        );
        fs::write(file, text).unwrap();
    }

    /// Does what the browser would do with the address that gatepass opened.
    fn visit(&self) -> String {
        let address = eventually("a browser is opened", || {
            address_in(&reg(&["query", VISITS, "/v", "visit"]).stdout)
        });
        reg(&["delete", VISITS, "/f"]).expect(0);
        visit(&self.provider, &address)
    }

    fn signed_in(settings: Settings) -> Self {
        let windows = Self::new(settings);
        let login = gatepass(&["login", "--browser"]).spawn().unwrap();
        windows.visit();
        end(login).expect(0);
        windows
    }

    /// What a host runs.
    fn host(context: &str) -> Command {
        let mut command = gatepass(&[]);
        command.env("CLAUDE_HELPER_CONTEXT", context);
        command
    }
}

fn refreshes(windows: &Windows) -> usize {
    installed::refreshes(&windows.provider)
}

/// Short-lived enough that each call wants a new one.
fn short_lived() -> Settings {
    Settings {
        access_token_seconds: 20,
        ..Settings::default()
    }
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_host_without_a_session_is_told_at_once_and_an_interactive_one_signs_in() {
    let windows = Windows::new(Settings::default());
    let silent = run(Windows::host("background")).expect(4);
    assert_eq!(silent.stdout, "");
    assert!(
        silent.stderr.ends_with("try: gatepass login\n"),
        "{}",
        silent.stderr
    );
    assert!(!silent.stderr.contains("chmod"));

    let interactive = Windows::host("interactive").spawn().unwrap();
    let page = windows.visit();
    assert!(page.contains("<html"), "{page}");
    let token = end(interactive).token();
    // And from then on without asking anybody.
    windows.provider.clear_requests();
    assert_eq!(run(Windows::host("background")).token(), token);
    assert_eq!(run(gatepass(&["token"])).token(), token);
    assert!(windows.provider.requests().is_empty());
    run(gatepass(&["status"])).expect(0);
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_device_code_signs_in() {
    let windows = Windows::new(Settings::default());
    let login = gatepass(&["login", "--device"]).spawn().unwrap();
    let code = eventually("a device code waits", || {
        windows.provider.pending_user_codes().pop()
    });
    assert!(windows.provider.confirm_device(&code));
    let ended = end(login).expect(0);
    assert!(ended.stderr.contains(&code), "{}", ended.stderr);
    run(Windows::host("background")).token();
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn several_at_once_cause_one_refresh() {
    let windows = Windows::signed_in(short_lived());
    let before = run(Windows::host("background")).token();
    thread::sleep(Duration::from_secs(4));
    windows.provider.clear_requests();
    let calls: Vec<Child> = (0..6)
        .map(|_| {
            let mut call = gatepass(&["token", "--force-refresh", "--caller", "script"]);
            call.spawn().unwrap()
        })
        .collect();
    let tokens: Vec<String> = calls.into_iter().map(|call| end(call).token()).collect();
    assert!(tokens.iter().all(|token| *token != before), "old token");
    // Under Wine six starts take seconds: a late one may find that everybody else has finished.
    assert!(
        refreshes(&windows) <= 2,
        "{} refreshes",
        refreshes(&windows)
    );
    assert_eq!(
        windows.provider.families_revoked(),
        0,
        "no refresh token was used twice"
    );
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_refresh_outlives_the_host_that_kills_its_helper() {
    let windows = Windows::signed_in(short_lived());
    thread::sleep(Duration::from_secs(4));
    windows.provider.clear_requests();
    windows.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::Delay(Duration::from_secs(4)),
    );
    let mut helper = Windows::host("background").spawn().unwrap();
    eventually("the refresh is sent", || {
        (refreshes(&windows) == 1).then_some(())
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
    thread::sleep(Duration::from_secs(6));
    run(Windows::host("background")).token();
    assert_eq!(windows.provider.families_revoked(), 0);
    run(gatepass(&["status"])).expect(0);
}

/// Runs a program under a Windows host that reads its pipes to their end: how long it ran, and how much longer the
/// pipes were open.
fn under_a_host(program_and_arguments: &[&str]) -> (Duration, Duration) {
    let host = env::var("GATEPASS_HOST_EXE").expect("run `cargo xtask test --windows`");
    let mut host = program(&host, program_and_arguments);
    // Wine hands this one on to every process.
    host.stderr(Stdio::null());
    let said = run(host).expect(0).stdout;
    let numbers: Vec<u64> = said
        .split_whitespace()
        .skip(1)
        .map(|number| number.parse().unwrap())
        .collect();
    let [ended, closed] = numbers[..] else {
        panic!("{said}")
    };
    (
        Duration::from_millis(ended),
        Duration::from_millis(closed - ended),
    )
}

/// The process that asks is found in Windows' list of processes, behind a shell as well: what Codex and Claude Code do
/// when the gateway refuses a token.
#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_host_that_asks_again_gets_another_token_and_other_hosts_say_nothing() {
    let host = env::var("GATEPASS_HOST_EXE").expect("run `cargo xtask test --windows`");
    let (folder, in_windows) = scratch();
    let by_path = format!(r"{in_windows}\gatepass.exe");
    let itself = gatepass_exe();
    let by_itself = [itself.as_str(), "token", "--caller", "codex"];
    let by_shell = ["cmd", "/c", &by_path, "token", "--caller", "claude-code"];
    for call in [&by_itself[..], &by_shell] {
        let windows = Windows::signed_in(Settings::default());
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&itself, folder.join("gatepass.exe")).unwrap();
        let run_by_host = |first: &[&str]| {
            let said = run(program(&host, &[first, call].concat()))
                .expect(0)
                .stdout;
            assert!(said.lines().all(|line| line.starts_with("0 ")), "{said}");
        };
        // Each is a host of its own.
        run_by_host(&[]);
        run_by_host(&[]);
        assert_eq!(refreshes(&windows), 0, "{call:?}");
        // The second time brings another token, and the third one that again.
        run_by_host(&["--three-times"]);
        assert_eq!(refreshes(&windows), 1, "{call:?}");
    }
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_host_that_reads_to_the_end_does_not_wait_for_the_worker() {
    // That this would show: a program that hands its streams on to one that lives for five seconds.
    let host = env::var("GATEPASS_HOST_EXE").expect("run `cargo xtask test --windows`");
    let (_, longer) = under_a_host(&[&host, "--hand-on"]);
    assert!(longer > Duration::from_secs(3), "{longer:?}");

    let windows = Windows::signed_in(short_lived());
    windows.provider.clear_requests();
    windows.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::Delay(Duration::from_secs(12)),
    );
    let gatepass = gatepass_exe();
    // With its log the worker has a pipe to the visible process instead of nothing.
    for more in [&[][..], &["-v"]] {
        let call = ["token", "--force-refresh", "--timeout", "2"];
        let (ran, longer) = under_a_host(&[&[gatepass.as_str()], &call[..], more].concat());
        assert_eq!(refreshes(&windows), 1, "the refresh is under way");
        assert!(ran < Duration::from_secs(8), "{ran:?}");
        assert!(longer < Duration::from_secs(1), "{longer:?}");
    }
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_worker_leaves_a_job_that_lets_it_go_and_one_that_does_not_is_told_of() {
    let call = gatepass_exe();
    let call = [&call, "token", "--force-refresh", "--timeout", "2"];
    for (job, fault, keeps) in [
        ("--job-lets-go", Fault::Delay(Duration::from_secs(8)), false),
        ("--job-keeps", Fault::Stall(When::Before), true),
    ] {
        let windows = Windows::signed_in(short_lived());
        windows.configure("log_level = \"warn\"\n");
        thread::sleep(Duration::from_secs(4));
        windows.provider.clear_requests();
        windows
            .provider
            .script_times(Hook::RefreshGrant, ..1, fault);
        under_a_host(&[&[job], &call[..]].concat());
        assert_eq!(refreshes(&windows), 1, "the refresh is under way");
        let log = fs::read_to_string(state_folder().join("gatepass.log")).unwrap_or_default();
        assert_eq!(
            log.contains("the caller's job lets no process go"),
            keeps,
            "{log}"
        );
        // Everything in the job has ended with the host.
        run(Windows::host("background")).token();
        assert_eq!(refreshes(&windows), if keeps { 2 } else { 1 });
        assert_eq!(windows.provider.families_revoked(), 0);
    }
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_lost_answer_is_asked_for_once_more() {
    let windows = Windows::signed_in(Settings {
        reuse_grace_seconds: 30,
        ..short_lived()
    });
    thread::sleep(Duration::from_secs(4));
    windows.provider.clear_requests();
    windows
        .provider
        .script_times(Hook::RefreshGrant, ..1, Fault::Drop(When::After));
    run(gatepass(&["token", "--force-refresh"])).token();
    assert_eq!(refreshes(&windows), 2);
    assert_eq!(windows.provider.families_revoked(), 0);
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_session_larger_than_one_entry_of_the_credential_manager_is_kept() {
    let windows = Windows::new(Settings {
        access_token_padding: 4500,
        refresh_token_padding: 1500,
        ..Settings::default()
    });
    windows.configure("cache = \"none\"\n");
    let login = gatepass(&["login", "--browser"]).spawn().unwrap();
    windows.visit();
    end(login).expect(0);
    let token = run(Windows::host("background")).token();
    assert!(token.len() > 4500);
    let next = run(gatepass(&["token", "--force-refresh"])).token();
    assert_ne!(next, token);
    assert_eq!(run(Windows::host("background")).token(), next);
    run(gatepass(&["logout"])).expect(0);
    run(Windows::host("background")).expect(4);
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn signing_out_revokes_and_forgets() {
    let windows = Windows::signed_in(Settings::default());
    let token = run(Windows::host("background")).token();
    windows.provider.clear_requests();
    run(gatepass(&["logout"])).expect(0);
    assert_eq!(windows.provider.count("/revoke"), 1);
    run(Windows::host("background")).expect(4);
    run(gatepass(&["status"])).expect(4);
    assert!(!anywhere(&drive_c().join("users"), token.as_bytes()));
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn no_token_lies_in_the_clear() {
    let windows = Windows::signed_in(Settings::default());
    run(Windows::host("background")).token();
    let sealed = fs::read_dir(state_folder())
        .unwrap()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().contains("sealed-token"))
        .count();
    assert_eq!(sealed, 1, "the cache is the file that Windows encrypts");
    for secret in windows.provider.issued_secrets() {
        assert!(
            !anywhere(&state_folder(), secret.as_bytes())
                && !anywhere(Windows::config_file().parent().unwrap(), secret.as_bytes())
        );
    }
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_taken_port_is_not_shared() {
    let windows = Windows::new(Settings::default());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    windows.configure(&format!("redirect_ports = [{port}]\n"));
    let ended = run(gatepass(&["login", "--browser"])).expect(3);
    assert!(ended.stderr.contains(&port.to_string()), "{}", ended.stderr);
}

/// Whether a text stands in any file of a folder.
fn anywhere(folder: &Path, text: &[u8]) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => anywhere(&path, text),
            Ok(kind) if kind.is_file() => fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text)),
            _ => false,
        }
    })
}
