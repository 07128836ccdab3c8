//! What is put on record: the log in the state folder, lines in the system's log, and what `status` tells.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepass_testkit::lab::{Gatepass, Outcome, Person, Scene};
use gatepass_testkit::provider::{self, Fault, Hook, Provider};
use tempfile::TempDir;

use crate::GATEPASS;

#[test]
fn the_log_has_the_background_work_and_no_secret() {
    let scene = Scene::new(GATEPASS);
    scene.configure("log_level = \"debug\"");
    let scene = scene.signed_in();
    scene.gatepass(["token", "--force-refresh"]).run().token();
    scene.background().token();
    let path = scene.home.log_file();
    let text = fs::read_to_string(&path).expect("a log");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let processes: std::collections::BTreeSet<&str> = text
        .lines()
        .map(|line| line.split(['[', ']']).nth(1).expect("a process"))
        .collect();
    assert!(processes.len() >= 3, "sign-in, worker, calls: {text}");
    assert!(text.contains("refreshed"), "the worker's own line: {text}");
    for secret in scene.provider.secrets() {
        assert!(!text.contains(&secret), "a secret in the log");
    }
    scene.provider.down();
    scene.gatepass(["token", "--force-refresh"]).run().expect(6);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("[unavailable]"), "how it failed: {text}");
}

#[test]
fn without_being_asked_nothing_is_logged() {
    let scene = Scene::new(GATEPASS).signed_in();
    scene.gatepass(["token", "--force-refresh"]).run().token();
    assert!(!scene.home.log_file().exists());
}

/// A program that runs gatepass where `/dev/log` is this socket and nothing else of the machine has changed.
fn with_system_log(folder: &Path, socket: &Path) -> PathBuf {
    let script = folder.join("gatepass-in-private-dev");
    let text = format!(
        r#"#!/bin/sh
exec /usr/bin/unshare --mount /bin/sh -c '
  set -e
  mount -t tmpfs none "{folder}/dev"
  for node in null zero full random urandom tty; do
    touch "{folder}/dev/$node"
    mount --bind "/dev/$node" "{folder}/dev/$node"
  done
  ln -s /proc/self/fd "{folder}/dev/fd"
  ln -s "{socket}" "{folder}/dev/log"
  mount --rbind "{folder}/dev" /dev
  exec "$0" "$@"
' "{GATEPASS}" "$@"
"#,
        folder = folder.display(),
        socket = socket.display(),
    );
    fs::create_dir(folder.join("dev")).unwrap();
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A system's log that is a socket of the test's, and a program that runs gatepass where it is `/dev/log` and nothing
/// else of the machine has changed.
struct SystemLog {
    daemon: UnixDatagram,
    program: PathBuf,
    _folder: TempDir,
}

impl SystemLog {
    /// Nothing where this machine does not allow it.
    fn start() -> Option<Self> {
        // Elsewhere `audit.rs` and `system_log` test the parts.
        if !is_root() {
            gatepass_testkit::skip("only root can give a program a /dev/log of its own");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("log.socket");
        let daemon = UnixDatagram::bind(&socket).unwrap();
        daemon
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        Some(Self {
            daemon,
            program: with_system_log(folder.path(), &socket),
            _folder: folder,
        })
    }

    fn gatepass<P>(&self, scene: &Scene<P>, arguments: &[&str]) -> Gatepass {
        Gatepass::new(&self.program, &scene.home)
            .keyring(&scene.keyring)
            .args(arguments.iter().copied())
    }

    /// The lines that have come since the last question.
    fn lines(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = self.daemon.recv(&mut bytes) {
            all.push(String::from_utf8(bytes[..length].to_vec()).expect("text"));
        }
        all
    }
}

/// One of the lines has all of these parts.
#[track_caller]
fn told(lines: &[String], parts: &[&str]) {
    let found = lines
        .iter()
        .any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "{parts:?} in {lines:#?}");
}

#[test]
fn the_system_log_tells_who_was_let_in_and_what_was_handed_out() {
    let Some(log) = SystemLog::start() else {
        return;
    };
    let mut scene = Scene::new(GATEPASS);
    let run = |scene: &Scene, arguments: &[&str], context: Option<&str>| -> Outcome {
        let run = log.gatepass(scene, arguments);
        match context {
            Some(context) => run.context(context).run(),
            None => run.run(),
        }
    };
    let lines = || log.lines();

    run(&scene, &["login", "--browser"], None).expect(0);
    run(&scene, &[], Some("background")).expect(0);
    assert_eq!(lines(), Vec::<String>::new(), "nobody asked for it");

    scene.configure("audit = \"changes\"");
    run(&scene, &["login", "--browser"], None).expect(0);
    run(&scene, &[], Some("background")).expect(0);
    let changes = lines();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    told(
        &changes,
        &[
            "<85>",
            " gatepass[",
            "event=sign-in",
            "alice",
            "by=\"browser\"",
        ],
    );

    scene.configure("audit = \"all\"");
    let token = run(&scene, &[], Some("mid-session-refresh")).token();
    run(
        &scene,
        &["token", "--force-refresh", "--caller", "codex"],
        None,
    )
    .expect(0);
    let all = lines();
    let desktop = [
        "event=token",
        "caller=\"claude-desktop\"",
        "context=\"mid-session-refresh\"",
    ];
    told(&all, &desktop);
    told(
        &all,
        &["event=token", "caller=\"codex\"", "reason=\"refreshed\""],
    );
    assert!(all.iter().all(|line| !line.contains(&token)), "{all:#?}");
    assert!(all.iter().all(|line| line.lines().count() == 1), "{all:#?}");
    for secret in scene.provider.secrets() {
        assert!(all.iter().all(|line| !line.contains(&secret)));
    }

    let doctor = run(&scene, &["doctor"], None);
    assert!(doctor.stdout.contains("ok       system-log"), "{doctor:?}");
    run(&scene, &["logout"], None).expect(0);
    told(&lines(), &["event=sign-out", "provider=\"revoked\""]);

    scene.enters(Person::without_browser().who_refuses());
    scene.configure("audit = \"changes\"");
    run(&scene, &["login", "--browser"], None).expect(5);
    told(
        &lines(),
        &["<84>", "event=refused", "id=\"sign-in-failed\""],
    );
}

/// A session that is kept although nothing of it can be renewed: what was wrong, since when, and when it is tried again.
#[test]
fn the_system_log_tells_of_a_session_that_is_kept_and_not_renewed() {
    let Some(log) = SystemLog::start() else {
        return;
    };
    let provider = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, provider, Person::without_browser()).signed_in();
    scene.configure("audit = \"changes\"");
    let insists = || log.gatepass(&scene, &["token", "--force-refresh"]).run();

    scene.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::claims(|claims| claims["iss"] = "https://evil.example".into()),
    );
    insists().expect(8);
    let unproven = log.lines();
    assert_eq!(unproven.len(), 1, "{unproven:#?}");
    let wrong = [
        "<84>",
        "event=session-unproven",
        "id=\"untrusted-response\"",
    ];
    told(&unproven, &wrong);
    told(&unproven, &["another issuer", " since=\"20", " next=\"20"]);

    // A change of the configuration ends the pause.
    scene.configure("notify = false\naudit = \"changes\"");
    let code = Fault::oauth_error("invalid_target");
    scene.provider.script_times(Hook::RefreshGrant, ..1, code);
    insists().expect(3);
    let refused = log.lines();
    assert_eq!(refused.len(), 1, "{refused:#?}");
    let wrong = ["<84>", "event=session-not-renewed", "id=\"config\""];
    told(&refused, &wrong);
    told(&refused, &["invalid_target", " since=\"20", " next=\"20"]);
    // It is not asked again meanwhile, and nothing more is told.
    insists().expect(3);
    assert_eq!(log.lines(), [""; 0]);

    let status = scene.gatepass(["status"]).run();
    status.expect(0);
    assert!(status.stdout.contains("invalid_target"), "{status:?}");
    scene.configure("notify = true\naudit = \"changes\"");
    insists().expect(0);
}

#[test]
fn status_tells_of_several_profiles_and_of_the_cache_in_use() {
    let scene = Scene::new(GATEPASS);
    scene.configure("cache = \"none\"\n[profile.research]\nmin_validity = 60\n");
    let scene = scene.signed_in();
    let words = scene.gatepass(["status"]).run();
    words.expect(0);
    assert!(words.stdout.contains("token cached in: none"), "{words:?}");
    assert!(words.stdout.contains("sign-in due"), "{words:?}");
    let row = |name: &str| {
        let line = words.stdout.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {words:?}"))
            .to_owned()
    };
    assert!(row("default ").contains("alice"));
    assert!(row("research ").contains("no: nobody is signed in"));

    let json = scene.gatepass(["status", "--json"]).run().json();
    assert_eq!(json["format"], 1);
    assert_eq!(json["cache"], "none");
    assert_eq!(json["store"], "keychain");
    assert_eq!(json["flow"], "auto");
    assert!(json["next_sign_in"]["why"].is_string());
    assert_eq!(json["profiles"][1]["profile"], "research");
    assert_eq!(json["profiles"][1]["signed_in"], false);

    let named = scene
        .gatepass(["status", "--json", "--profile", "research"])
        .run();
    named.expect(4);
    assert!(named.json()["profiles"].is_null(), "one was asked for");

    scene.gatepass(["token", "--force-refresh"]).run().token();
    scene.provider.down();
    let _ = scene.gatepass(["token", "--force-refresh"]).run();
    let json = scene.gatepass(["status", "--json"]).run().json();
    assert_eq!(json["last_refresh"]["error"], "unavailable", "{json}");
}
