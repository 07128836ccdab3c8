//! An administrator's policy: what it locks, what it proposes, what it ends, and that it is never skipped.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepass_testkit::lab::{
    Gatepass, Home, Keyring, Outcome, Person, PolicyFolder, Scene, Stdout, wait_until,
};
use gatepass_testkit::provider::{self, Fault, Hook};
use serde_json::json;

use crate::GATEPASS;

/// A run in a home with this configuration, on a machine with this policy.
fn run(config: &str, policy: &PolicyFolder, arguments: &[&str]) -> Outcome {
    let home = Home::new();
    home.config(config);
    Gatepass::new(GATEPASS, &home)
        .args(arguments.iter().copied())
        .policy(policy)
        .run()
}

const USER: &str = "issuer = 'https://user.example'\nclient_id = 'user'\nmin_validity = 60\n";

#[test]
fn locked_values_stand_and_what_they_override_is_shown() {
    let policy = PolicyFolder::new(
        "locked_keys = ['browser']\n[locked]\nissuer = 'https://idp.example'\nflow = 'browser'\n\
         [default]\ndisplay_name = 'Example'\nmin_validity = 90\n",
    );
    let config = format!("{USER}ca_file = '/tmp/mine.pem'\nbrowser = ['evil']\nflow = 'device'\n");
    let shown = run(&config, &policy, &["config", "show"]);
    shown.expect(0);
    for line in [
        "issuer = \"https://idp.example\"  # policy (locked)",
        "display_name = \"Example\"  # policy (default)",
        "client_id = \"user\"  # user file line 2",
        "min_validity = 60  # user file line 3",
        "flow = \"browser\"  # policy (locked)",
        "# user file line 1: issuer = \"https://user.example\" is not used: the policy decides",
        "# user file line 4: ca_file = \"/tmp/mine.pem\" is not used: the policy decides",
        "# user file line 5: browser = [\"evil\"] is not used: the policy decides",
    ] {
        assert!(shown.stdout.contains(line), "{line}\n{}", shown.stdout);
    }
    assert!(!shown.stdout.contains("\nca_file ="), "{}", shown.stdout);
    run(&config, &policy, &["login", "--device"]).expect(3);
    run(&config, &policy, &["config", "check"]).expect(0);
}

#[test]
fn the_environment_and_other_files_change_nothing() {
    let policy = PolicyFolder::new("[locked]\nissuer = 'https://idp.example'\n");
    let home = Home::new();
    home.config(USER);
    let other = home.path().join("other.toml");
    fs::write(&other, "issuer = 'https://evil.example'\nclient_id = 'x'\n").unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
    let shown = Gatepass::new(GATEPASS, &home)
        .args(["--config", other.to_str().unwrap(), "config", "show"])
        .env("GATEPASS_POLICY", "/dev/null")
        .env("XDG_CONFIG_DIRS", "/nowhere")
        .policy(&policy)
        .run();
    shown.expect(0);
    let line = "issuer = \"https://idp.example\"  # policy (locked)";
    assert!(shown.stdout.contains(line), "{}", shown.stdout);
}

#[test]
fn a_policy_that_must_not_be_followed_stops_everything() {
    let good = "[locked]\nissuer = 'https://idp.example'\n";
    let texts = [
        "[locked",
        "[locked]\nisuer = 'https://idp.example'",
        "[locked]\nmin_validity = 'long'",
        "min_version = '99.0'",
        "issuer = 'https://idp.example'",
        "\u{0}",
    ];
    for text in texts {
        let policy = PolicyFolder::new(text);
        for arguments in [
            &[][..],
            &["login"],
            &["logout"],
            &["status"],
            &["config", "show"],
        ] {
            let outcome = run(USER, &policy, arguments);
            outcome.expect(3);
            assert_eq!(outcome.stdout, "", "{text}");
            assert!(outcome.stderr.contains("policy"), "{}", outcome.stderr);
        }
        let version = run(USER, &policy, &["--version", "--json"]);
        version.expect(0);
        assert!(version.json()["policy_error"].is_string(), "{version:?}");
    }
    type Spoil = fn(&PolicyFolder);
    let spoils: [(&str, Spoil); 7] = [
        ("writable file", |policy| {
            fs::set_permissions(policy.file(), Permissions::from_mode(0o664)).unwrap();
        }),
        ("writable folder", |policy| {
            fs::set_permissions(policy.path(), Permissions::from_mode(0o777)).unwrap();
        }),
        ("foreign file", |policy| {
            std::os::unix::fs::chown(policy.file(), Some(1234), None).unwrap();
        }),
        ("foreign folder without a policy", |policy| {
            fs::remove_file(policy.file()).unwrap();
            std::os::unix::fs::chown(policy.path(), Some(1234), None).unwrap();
        }),
        ("link", |policy| {
            fs::rename(policy.file(), policy.path().join("other.toml")).unwrap();
            symlink("other.toml", policy.file()).unwrap();
        }),
        ("folder in its place", |policy| {
            fs::remove_file(policy.file()).unwrap();
            fs::create_dir(policy.file()).unwrap();
        }),
        ("too large", |policy| {
            fs::write(policy.file(), vec![b'#'; 3 << 20]).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let policy = PolicyFolder::new(good);
        spoil(&policy);
        let outcome = run(USER, &policy, &[]);
        outcome.expect(3);
        assert!(
            outcome.stderr.contains("policy"),
            "{what}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn profiles_come_from_the_policy_too_and_can_be_limited() {
    let policy = PolicyFolder::new(
        "allowed_profiles = ['default', 'work']\n\
         [locked.profile.work]\nissuer = 'https://work.example'\nclient_id = 'w'\n",
    );
    let shown = run(USER, &policy, &["--profile", "work", "config", "show"]);
    shown.expect(0);
    assert!(
        shown.stdout.contains("https://work.example"),
        "{}",
        shown.stdout
    );
    let config = format!("{USER}[profile.home]\naudience = 'x'\n");
    run(&config, &policy, &["--profile", "home", "config", "show"]).expect(3);
    run(&config, &policy, &["config", "show"]).expect(0);
}

#[test]
fn a_newer_schema_is_followed_as_far_as_it_is_known() {
    let text =
        "schema = 99\nfuture = true\n[locked]\nissuer = 'https://idp.example'\nnew_key = 1\n";
    let shown = run(USER, &PolicyFolder::new(text), &["config", "show"]);
    shown.expect(0);
    for key in ["`future`", "`new_key`"] {
        assert!(shown.stdout.contains(key), "{}", shown.stdout);
    }
}

#[test]
fn stores_can_be_limited() {
    let policy = PolicyFolder::new("allowed_stores = ['keychain']\n");
    for line in ["store = 'file'\n", "cache = 'file'\n"] {
        run(&format!("{USER}{line}"), &policy, &[]).expect(3);
    }
    run(USER, &policy, &["config", "check"]).expect(0);
}

#[test]
fn the_digest_tells_policies_apart() {
    let digest = |text: &str| {
        let outcome = run(USER, &PolicyFolder::new(text), &["--version", "--json"]);
        outcome.json()["policy_digest"].as_str().unwrap().to_owned()
    };
    let one = digest("[locked]\nflow = 'browser'\n");
    assert_eq!(one, digest("[locked]\nflow = 'browser'\n"));
    assert_ne!(one, digest("[locked]\nflow = 'device'\n"));
}

fn moment(seconds_from_now: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    gatepass::text::moment(now.checked_add_signed(seconds_from_now).unwrap())
}

#[test]
fn sessions_are_ended_from_afar() {
    let scene = Scene::new(GATEPASS).signed_in();
    let call = |policy: &PolicyFolder| {
        scene
            .gatepass([])
            .context("background")
            .policy(policy)
            .run()
    };
    // A session that is younger than the moment is none of the policy's business.
    let before = PolicyFolder::new(&format!("session_not_before = '{}'\n", moment(-3600)));
    call(&before).token();
    let after = PolicyFolder::new(&format!("session_not_before = '{}'\n", moment(3600)));
    let ended = call(&after);
    ended.expect(4);
    assert!(ended.stderr.contains("organisation"), "{}", ended.stderr);
    assert!(scene.keyring.items_snapshot().is_empty());
    // It does not come back with the policy gone.
    scene.background().expect(4);
}

#[test]
fn a_recalled_key_does_not_come_back_by_an_empty_line() {
    let (home, keyring) = (Home::new(), Keyring::start());
    home.config("kind = 'key'\n");
    let login = |input: &str| {
        Gatepass::new(GATEPASS, &home)
            .keyring(&keyring)
            .args(["login"])
            .input(input)
    };
    login("sk-old\n").run().expect(0);
    std::thread::sleep(Duration::from_millis(1100));
    let policy = PolicyFolder::new(&format!("session_not_before = '{}'\n", moment(0)));
    login("\n").policy(&policy).run().expect(4);
    login("sk-new\n").policy(&policy).run().expect(0);
}

#[test]
fn switched_off_means_for_everybody_and_at_once() {
    let scene = Scene::new(GATEPASS).signed_in();
    scene.background().token();
    let policy = PolicyFolder::new("disabled = 'maintenance until Monday'\n");
    for arguments in [&[][..], &["login"]] {
        let outcome = scene
            .gatepass(arguments.iter().copied())
            .policy(&policy)
            .run();
        outcome.expect(3);
        assert!(
            outcome.stderr.contains("maintenance until Monday"),
            "{}",
            outcome.stderr
        );
    }
    assert!(scene.keyring.items_snapshot().is_empty());
    // A sign-in would not help, so it is not proposed.
    let status = scene.gatepass(["status", "--json"]).policy(&policy).run();
    status.expect(3);
    assert!(!status.stderr.contains("gatepass login"), "{status:?}");
    assert_eq!(status.json()["signed_in"], false);
    scene
        .gatepass(["config", "show"])
        .policy(&policy)
        .run()
        .expect(0);
}

/// A process of the user's that changes the session, and does not come to an end: it holds the profile's lock.
fn another_writer(home: &Home) -> File {
    let locks: Vec<_> = fs::read_dir(home.state())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "lock"))
        .collect();
    let [path] = &locks[..] else {
        panic!("one profile, one lock: {locks:?}")
    };
    let file = File::open(path).unwrap();
    file.lock().unwrap();
    file
}

/// That gatepass is switched off is said within each caller's time, though what it would forget is in another process's
/// hands, or in those of a keychain that says nothing.
#[test]
fn switched_off_is_said_in_time_whoever_holds_the_session() {
    let scene = Scene::scripted(GATEPASS, provider::Settings::default()).signed_in();
    let policy = PolicyFolder::new("disabled = 'maintenance until Monday'\n");
    let says_so_in_time = || {
        for (caller, seconds) in [("codex", 4), ("claude-code", 9), ("script", 30)] {
            let call = ["token", "--caller", caller];
            let outcome = scene.gatepass(call).policy(&policy).run();
            outcome.expect(3);
            assert!(outcome.stderr.contains("until Monday"), "{outcome:?}");
            outcome.within(Duration::from_secs(seconds));
        }
    };
    let writer = another_writer(&scene.home);
    says_so_in_time();
    assert!(
        !scene.keyring.items_snapshot().is_empty(),
        "the other process had the session all the time"
    );
    drop(writer);
    scene.keyring.stop_answering();
    says_so_in_time();
    scene.keyring.resume();
    scene
        .gatepass(["token", "--caller", "codex"])
        .policy(&policy)
        .run()
        .expect(3);
    assert!(scene.keyring.items_snapshot().is_empty());
}

/// A tab that is open when gatepass is switched off ends without a session, whatever the person does in it.
#[test]
fn an_open_sign_in_ends_when_gatepass_is_switched_off() {
    for is_disabled in [false, true] {
        let scene = Scene::scripted(GATEPASS, provider::Settings::default()).signed_in();
        let before = scene.keyring.items_snapshot();
        let slow = ["sh", "-c", "sleep 6; exec \"$@\"", "sh"].map(str::to_owned);
        let browser = [&slow[..], &scene.person.command()[..]].concat();
        scene.home.config(&format!(
            "issuer = \"{}\"\nclient_id = \"gatepass\"\nbrowser = {}\n",
            scene.provider.issuer(),
            json!(browser)
        ));
        let login = scene.gatepass(["login", "--browser"]).spawn();
        let opened = wait_until(Duration::from_secs(10), || {
            fs::read_dir(scene.home.state())
                .unwrap()
                .flatten()
                .filter(|entry| {
                    entry
                        .path()
                        .extension()
                        .is_some_and(|kind| kind == "sign-in")
                })
                .filter_map(|entry| fs::read_to_string(entry.path()).ok())
                .any(|progress| progress.contains("\"tabs\":1,\"ended\":null"))
        });
        assert!(opened, "a tab is open");
        if !is_disabled {
            // What is kept out: without that policy the person finishes, and the session is another one.
            login.wait().expect(0);
            assert_ne!(scene.keyring.items_snapshot(), before);
            continue;
        }
        let policy = PolicyFolder::new("disabled = true\n");
        scene.gatepass([]).policy(&policy).run().expect(3);
        login.wait().expect(5);
        assert!(scene.keyring.items_snapshot().is_empty());
    }
}

/// A locked issuer's ID tokens are for its client alone, whatever the user's file trusts.
#[test]
fn what_the_user_trusts_does_not_weaken_a_locked_issuer() {
    let scene = Scene::scripted(GATEPASS, provider::Settings::default());
    scene.configure("trusted_audiences = ['other']");
    let more = Fault::claims(|claims| claims["aud"] = json!(["gatepass", "other"]));
    scene.provider.script(Hook::CodeGrant, more);
    let issuer = scene.provider.issuer();
    let login = |policy: &str| {
        let policy = PolicyFolder::new(policy);
        scene.gatepass(["login"]).policy(&policy).run()
    };
    for locked in [
        format!("[locked]\nissuer = '{issuer}'\n"),
        format!("[locked.profile.default]\nissuer = '{issuer}'\n"),
        "locked_keys = ['issuer']\n[default]\nissuer = '@'\n".replace('@', &issuer),
        "[locked]\ngateway_url = 'https://gateway.example'\n".to_owned(),
        "locked_keys = ['trusted_audiences']\n".to_owned(),
        "locked_keys = ['*']\n[default]\nissuer = '@'\nclient_id = 'gatepass'\n@browser"
            .replace("@browser", &scene.person.config())
            .replace('@', &issuer),
    ] {
        login(&locked).expect(8);
        assert!(scene.keyring.items_snapshot().is_empty(), "{locked}");
    }
    // The organisation itself may trust another audience; and so may a user whose issuer it has not locked.
    let theirs = format!("[locked]\nissuer = '{issuer}'\ntrusted_audiences = ['other']\n");
    login(&theirs).expect(0);
    login("[default]\nmin_validity = 60\n").expect(0);
}

/// The hidden command that other commands start, as any program of the user's could start it.
const WORKER: [&str; 10] = [
    "detached-worker",
    "sign-in",
    "--min-validity",
    "60",
    "--asked-at",
    "0",
    "--within",
    "20000",
    "--caller",
    "script",
];

#[test]
fn the_hidden_worker_obeys_the_policy_as_well() {
    for (policy, code) in [
        ("disabled = 'maintenance until Monday'\n", 3),
        ("[locked]\ninteractive = 'never'\n", 4),
        ("[locked]\nflow = 'device'\n", 4),
    ] {
        let scene = Scene::new(GATEPASS);
        let policy = PolicyFolder::new(policy);
        let refused = scene.gatepass(WORKER).policy(&policy).run();
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.stdout.starts_with("{\"failure\":"), "{refused:?}");
        assert!(
            scene.person.saw_within(Duration::ZERO).is_none(),
            "no tab was opened"
        );
        assert!(scene.keyring.items_snapshot().is_empty());
    }
    // Nor does it open what has just been refused.
    let mut scene = Scene::new(GATEPASS);
    scene.enters(Person::without_browser().who_refuses());
    scene.gatepass([]).context("interactive").run().expect(5);
    scene.enters(Person::without_browser());
    let refused = scene.gatepass(WORKER).run();
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(scene.person.saw_within(Duration::ZERO).is_none());
    // Without such a policy the same call signs in; but nothing is handed over to what is no pipe.
    let scene = Scene::new(GATEPASS);
    let elsewhere = scene.gatepass(WORKER).stdout(Stdout::Full).run();
    assert_eq!(elsewhere.code, 2, "{elsewhere:?}");
    assert!(scene.keyring.items_snapshot().is_empty());
    let handed = scene.gatepass(WORKER).run();
    assert_eq!(handed.code, 0, "{handed:?}");
    assert!(handed.stdout.contains(&scene.background().token()));
}
