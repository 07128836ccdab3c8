//! What other programs and users of this machine can see of a run, and what its environment can make it do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gatepass_testkit::lab::{Gatepass, Scene, wait_until};
use gatepass_testkit::provider::{self, Fault, Hook, Provider};

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(20);

fn scene() -> Scene<Provider> {
    Scene::scripted(GATEPASS, provider::Settings::default())
}

/// gatepass, started by a shell that does something first.
fn after(scene: &Scene<Provider>, first: &str, arguments: &[&str]) -> Gatepass {
    let script = format!("{first}; exec \"$0\" \"$@\"");
    Gatepass::new("/bin/sh", &scene.home)
        .keyring(&scene.keyring)
        .args(["-c", &script, GATEPASS])
        .args(arguments.iter().copied())
}

/// A configuration whose browser is this shell script; it gets the address as `$1`.
fn with_browser(scene: &Scene<Provider>, script: &str, more: &str) {
    let path = scene.home.path().join("browser.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    scene.home.config(&format!(
        "issuer = '{}'\nclient_id = 'gatepass'\nbrowser = ['{}']\n{more}\n",
        scene.provider.issuer(),
        path.display()
    ));
}

fn everything_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            everything_below(&entry.path(), found);
        }
    }
}

#[test]
fn with_umask_0_everything_is_the_owners_alone() {
    let scene = scene();
    scene.configure("cache = 'file'");
    after(&scene, "umask 0", &["login", "--browser"])
        .run()
        .expect(0);
    after(&scene, "umask 0", &["token", "--force-refresh"])
        .run()
        .expect(0);
    let mut found = Vec::new();
    everything_below(&scene.home.state(), &mut found);
    assert!(found.len() > 3, "{found:?}");
    found.push(scene.home.state());
    for path in found {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
    }
}

/// A host's forgotten descriptor reaches neither the worker nor the browser, and ours don't either.
#[test]
fn what_the_caller_left_open_is_not_passed_on() {
    let scene = scene();
    let seen = scene.home.path().join("seen");
    let script = format!(
        "ls -l /proc/self/fd > {0}.own; ls -l /proc/$PPID/fd > {0}.worker; mv {0}.worker {0}; exit 0",
        seen.display()
    );
    with_browser(&scene, &script, "sign_in_timeout = 30");
    let canary = scene.home.path().join("canary");
    let first = format!("exec 9>'{}'", canary.display());
    let call = after(&scene, &first, &["token", "--timeout", "10"])
        .context("interactive")
        .spawn();
    let given = format!("/proc/{}/fd/9", call.id());
    assert!(wait_until(SOON, || fs::read_link(&given).is_ok_and(|to| to == canary)));
    assert!(wait_until(SOON, || seen.exists()));
    for file in [seen.clone(), seen.with_extension("own")] {
        let open = fs::read_to_string(&file).unwrap();
        assert!(open.contains("/dev/null"), "{open}");
        assert!(!open.contains("canary"), "{}: {open}", file.display());
    }
    let browsers = fs::read_to_string(seen.with_extension("own")).unwrap();
    assert!(!browsers.contains("socket:"), "{browsers}");
    assert!(!browsers.contains("lock"), "{browsers}");
    call.kill();
}

/// Another program of the same user can read neither the visible process nor the worker, and neither leaves a core.
#[test]
fn a_run_cannot_be_looked_into_and_leaves_no_core() {
    let scene = scene();
    let told = scene.home.path().join("told");
    with_browser(
        &scene,
        &format!("echo $PPID > {0}.new; mv {0}.new {0}", told.display()),
        "sign_in_timeout = 30",
    );
    // Root without its powers is a user like any other.
    let plain = ["--bounding-set=-all", "--inh-caps=-all"];
    let readable = |id: u32| {
        Command::new("setpriv")
            .args(plain)
            .args(["head", "-c", "1"])
            .arg(format!("/proc/{id}/environ"))
            .stderr(Stdio::null())
            .output()
            .unwrap()
            .status
            .success()
    };
    let mut control = Command::new("setpriv")
        .args(plain)
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    assert!(
        wait_until(SOON, || readable(control.id())),
        "the control can be read"
    );
    let script = "ulimit -c unlimited 2>/dev/null; exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";
    let environment = scene.keyring.env();
    let mut call = Command::new("/bin/sh")
        .args(["-c", script, GATEPASS, "token", "--timeout", "20"])
        .env_clear()
        .envs(environment)
        .env("HOME", scene.home.path())
        .env("CLAUDE_HELPER_CONTEXT", "interactive")
        .current_dir(scene.home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_until(SOON, || told.exists()), "the browser was opened");
    let worker: u32 = fs::read_to_string(&told).unwrap().trim().parse().unwrap();
    assert_ne!(worker, call.id());
    for (who, id) in [("visible process", call.id()), ("worker", worker)] {
        assert!(!readable(id), "the {who} can be read");
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .unwrap();
        let cores: Vec<&str> = cores.split_whitespace().collect();
        assert_eq!(cores[4..6], ["0", "0"], "the {who}");
    }
    for id in [worker, call.id()] {
        let killed = Command::new("kill")
            .args(["-SEGV", &id.to_string()])
            .status();
        assert!(killed.unwrap().success());
    }
    assert!(!call.wait().unwrap().core_dumped());
    control.kill().unwrap();
    control.wait().unwrap();
    let mut found = Vec::new();
    everything_below(scene.home.path(), &mut found);
    let is_core = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("core"))
    };
    assert!(!found.iter().any(is_core));
}

/// A refresh whose lock is taken from under it sends nothing: somebody else may be about to send the same token.
#[test]
fn a_refresh_without_its_lock_sends_nothing() {
    let scene = scene().signed_in();
    for entry in fs::read_dir(scene.home.state()).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|kind| kind == "provider")
        {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    scene
        .provider
        .script(Hook::Discovery, Fault::Delay(Duration::from_secs(2)));
    let call = scene.gatepass(["token", "--force-refresh"]).spawn();
    assert!(
        scene
            .provider
            .wait_for("/.well-known/openid-configuration", 1, SOON)
    );
    for entry in fs::read_dir(scene.home.state()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "lock") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    call.wait().expect(6);
    assert_eq!(scene.provider.token_grants("refresh_token"), 0);
    scene.provider.clear_script();
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
}

/// Security requirements, section on configuration and environment: none of these variables redirects trust, runs a
/// program, or makes anything be written where it says.
#[test]
fn variables_of_the_environment_redirect_nothing() {
    let scene = scene();
    let trap = scene.home.path().join("trap");
    fs::create_dir(&trap).unwrap();
    let sprung = trap.join("sprung");
    let programs = trap.join("bin");
    fs::create_dir(&programs).unwrap();
    for program in [
        "evil",
        "xdg-open",
        "x-www-browser",
        "sensible-browser",
        "firefox",
        "gio",
        "gnome-open",
        "kde-open",
        "sed",
        "grep",
        "which",
        "tr",
        "basename",
        "dbus-launch",
        "gatepass",
        "git",
        "sh",
        "env",
    ] {
        let path = programs.join(program);
        fs::write(
            &path,
            format!("#!/bin/sh\necho {program} >> {}\n", sprung.display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let folder = |name: &str| {
        let path = trap.join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    };
    let (temporary, state, cache) = (folder("tmp"), folder("state"), folder("cache"));
    let key_log = trap.join("keys.log").display().to_string();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let evil = programs.join("evil").display().to_string();
    let variables: Vec<(&str, &str)> = vec![
        ("BROWSER", &evil),
        ("PATH", &path),
        ("TMPDIR", &temporary),
        ("XDG_STATE_HOME", &state),
        ("XDG_CACHE_HOME", &cache),
        ("XDG_DATA_HOME", &cache),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSLKEYLOGFILE", &key_log),
        ("OPENSSL_CONF", "/nonexistent"),
        ("GCONV_PATH", &cache),
        ("LD_LIBRARY_PATH", &cache),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("ALL_PROXY", "http://127.0.0.1:9"),
        ("http_proxy", "http://127.0.0.1:9"),
        ("https_proxy", "http://127.0.0.1:9"),
        ("all_proxy", "http://127.0.0.1:9"),
        ("REQUEST_METHOD", "GET"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("HYPER_LOG", "trace"),
        ("GATEPASS_CONFIG", "/nonexistent"),
        ("GATEPASS_ISSUER", "https://evil.example"),
        ("GATEPASS_CLIENT_ID", "evil"),
        ("GATEPASS_TOKEN", "evil"),
        ("GATEPASS_BROWSER", &evil),
        ("GATEPASS_CA_FILE", "/dev/null"),
        ("OAUTH_CALLBACK_HOST", "0.0.0.0"),
        ("EDITOR", &evil),
        ("PAGER", &evil),
    ];
    let run = |arguments: &[&str]| {
        variables.iter().fold(
            scene.gatepass(arguments.iter().copied()),
            |run, (name, value)| run.env(name, value),
        )
    };
    run(&["login", "--browser"]).run().expect(0);
    scene.provider.clear_requests();
    let token = run(&[]).run().token();
    let renewed = run(&["token", "--force-refresh"]).run().token();
    assert_ne!(token, renewed);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    // Without a configured browser the system's own is looked for, where the system keeps its programs.
    scene.home.config(&format!(
        "issuer = '{}'\nclient_id = 'gatepass'\nsign_in_timeout = 30\n",
        scene.provider.issuer()
    ));
    let _ = run(&["logout"]).run();
    let call = run(&["token", "--timeout", "6"])
        .env("DISPLAY", ":77")
        .context("interactive")
        .run();
    assert!([4, 5, 6].contains(&call.code), "{call:?}");
    let ran = fs::read_to_string(&sprung).unwrap_or_default();
    assert_eq!(ran, "", "programs of PATH or BROWSER were run");
    for place in ["tmp", "state", "cache", "keys.log"] {
        let mut found = Vec::new();
        everything_below(&trap.join(place), &mut found);
        assert!(
            found.is_empty() && !trap.join("keys.log").exists(),
            "{found:?}"
        );
    }
}
