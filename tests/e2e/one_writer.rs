//! One writer: callers at once, callers that are killed, workers that are killed.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::lab::{NodeProvider, Outcome, Person, Scene, Settings, wait_until};
use gatepass_testkit::provider::{self, Fault, Hook, Provider, When};

use crate::GATEPASS;

/// Rounds and repetitions: what the name says in a long run, fewer in everybody's.
fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("GATEPASS_LONG_TESTS").is_some() {
        long
    } else {
        short
    }
}

fn scripted(settings: provider::Settings) -> Scene<Provider> {
    Scene::around(
        GATEPASS,
        Provider::start(settings),
        Person::without_browser(),
    )
}

/// Runs many at once and waits for all of them.
fn at_once(count: usize, run: impl Fn() -> Outcome + Sync) -> Vec<Outcome> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|_| scope.spawn(&run)).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

/// Pseudo-random milliseconds, the same in every run of the test.
fn moments(count: usize, below: u64) -> impl Iterator<Item = Duration> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    (0..count).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((state >> 33) % (below * 1000))
    })
}

/// Processes of this scene's gatepass that do a worker's task.
pub(crate) fn workers(home: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        if line.starts_with("gatepass\0detached-worker\0") && environment.contains(home) {
            found.push(id);
        }
    }
    found
}

pub(crate) fn kill(id: u32) {
    let _ = std::process::Command::new("kill")
        .args(["-KILL", &id.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
}

/// Fifty processes find a token that is too short: one refresh, fifty equal tokens, no family revoked.
#[test]
fn fifty_callers_cause_one_refresh() {
    let scene = Scene::<NodeProvider>::with(
        GATEPASS,
        &Settings {
            access_token: 3600,
            ..Settings::default()
        },
        Person::without_browser(),
    )
    .signed_in();
    // Good for twenty seconds after it was issued: fifty processes take some on a busy machine.
    scene.configure("min_validity = 3580\nlog_level = \"debug\"");
    for round in 1..=times(2, 20) {
        thread::sleep(Duration::from_secs(21));
        let answers = at_once(50, || scene.gatepass(["token", "--timeout", "60"]).run());
        let tokens: BTreeSet<String> = answers
            .iter()
            .map(|answer| answer.expect(0).token())
            .collect();
        assert_eq!(tokens.len(), 1, "round {round}");
        assert_eq!(
            scene.provider.count("refresh_token.consumed"),
            round,
            "{}",
            scene.home.log().unwrap_or_default()
        );
    }
    assert_eq!(scene.provider.count("grant.revoked"), 0);
}

/// Forced refreshes at once share one as well.
#[test]
fn forced_refreshes_at_once_are_one() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene.provider.script(
        Hook::RefreshGrant,
        Fault::Delay(Duration::from_millis(1500)),
    );
    let answers = at_once(20, || scene.gatepass(["token", "--force-refresh"]).run());
    let tokens: BTreeSet<String> = answers
        .iter()
        .map(|answer| answer.expect(0).token())
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
}

/// If the one attempt fails at the provider, everybody who waited reports its answer; nobody tries again.
#[test]
fn the_providers_refusal_is_everybodys_answer() {
    let scene = scripted(provider::Settings::default()).signed_in();
    let answer = provider::Response::new(503);
    let slow = Fault::Delay(Duration::from_millis(1500));
    scene.provider.script(Hook::RefreshGrant, slow);
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Reply(When::Before, answer));
    let answers = at_once(20, || scene.gatepass(["token", "--force-refresh"]).run());
    for answer in &answers {
        answer.expect(6);
    }
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    scene.provider.clear_script();
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
}

/// The visible process is killed at random moments of a refresh: the session is never lost.
#[test]
fn a_killed_caller_loses_no_session() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Delay(Duration::from_millis(30)));
    for moment in moments(times(40, 200), 120) {
        let run = scene.gatepass(["token", "--force-refresh"]).spawn();
        thread::sleep(moment);
        run.kill();
    }
    scene.background().expect(0);
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

/// The worker is killed at random moments: the session is the old one or the new one, except where the provider
/// had used up the old token and its answer was lost; then the message says so.
#[test]
fn a_killed_worker_leaves_the_old_session_or_the_new_one() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Delay(Duration::from_millis(20)));
    let home = scene.home.path().display().to_string();
    let (mut killed, mut lost) = (0, 0);
    for moment in moments(times(30, 200), 120) {
        let before = scene.provider.token_grants("refresh_token");
        let run = scene.gatepass(["token", "--force-refresh"]).spawn();
        thread::sleep(moment);
        for id in workers(&home) {
            kill(id);
            killed += 1;
        }
        let _ = run.wait();
        wait_until(Duration::from_secs(5), || workers(&home).is_empty());
        let consumed = scene.provider.token_grants("refresh_token") > before;
        let after = scene.gatepass(["token", "--force-refresh"]).run();
        if after.code == 4 {
            assert!(
                consumed,
                "a session was lost that no refresh had touched: {after:?}"
            );
            assert!(after.stderr.contains("its answer was lost"), "{after:?}");
            lost += 1;
            scene.login();
        } else {
            after.expect(0);
        }
    }
    println!("workers killed: {killed}, answers lost with them: {lost}");
    assert!(killed > 0, "no worker was met at work");
}

/// Twenty interactive calls open one tab and print one token.
#[test]
fn twenty_interactive_callers_open_one_tab() {
    let scene = scripted(provider::Settings::default());
    let answers = at_once(20, || scene.gatepass([]).context("interactive").run());
    let tokens: BTreeSet<String> = answers
        .iter()
        .map(|answer| answer.expect(0).token())
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(scene.provider.count("/authorize"), 1);
    for answer in &answers {
        assert_eq!(answer.stderr, "");
    }
}

/// A refused sign-in is not retried: eleven more calls open no further tab and say until when.
#[test]
fn a_refusal_closes_the_door_for_hosts_and_not_for_the_person() {
    let mut scene = scripted(provider::Settings::default());
    scene.enters(Person::without_browser().who_refuses());
    let refused = scene.gatepass([]).context("interactive").run();
    refused.expect(5);
    for _ in 0..11 {
        let again = scene.gatepass([]).context("interactive").run();
        again.expect(4);
        assert!(again.stderr.contains("none is opened until"), "{again:?}");
        again.within(Duration::from_secs(1));
    }
    assert_eq!(scene.provider.count("/authorize"), 1);
    scene.enters(Person::without_browser());
    scene.login();
    scene.background().expect(0);
}

/// The host kills its helper in the middle of a sign-in: the port stays open, the person finishes, the next call
/// finds the result and opens nothing.
#[test]
fn a_sign_in_survives_its_caller() {
    for moment in moments(times(4, 40), 1500) {
        let scene = scripted(provider::Settings::default());
        let mut browser: Vec<String> = ["sh", "-c", "sleep 1; exec \"$@\"", "sh"]
            .map(str::to_owned)
            .to_vec();
        browser.extend(scene.person.command());
        scene.home.config(&format!(
            "issuer = \"{}\"\nclient_id = \"gatepass\"\nbrowser = {}\n",
            scene.provider.issuer(),
            serde_json::Value::from(browser)
        ));
        let run = scene.gatepass([]).context("interactive").spawn();
        thread::sleep(Duration::from_millis(100) + moment);
        run.kill();
        let next = scene.gatepass([]).context("interactive").run();
        next.expect(0);
        assert!(
            scene.provider.count("/authorize") <= 1,
            "killed after {moment:?}"
        );
        assert_eq!(scene.background().expect(0).token(), next.token());
        let home = scene.home.path().display().to_string();
        assert!(wait_until(Duration::from_secs(5), || workers(&home).is_empty()));
    }
}

/// A silent call while a sign-in is open does not wait for the person.
#[test]
fn a_silent_caller_does_not_wait_for_an_open_sign_in() {
    let scene = scripted(provider::Settings::default());
    let nobody = "browser = [\"true\"]";
    scene.home.config(&format!(
        "issuer = \"{}\"\nclient_id = \"gatepass\"\n{nobody}\n",
        scene.provider.issuer()
    ));
    let waiting = scene
        .gatepass(["token", "--timeout", "3"])
        .context("interactive")
        .spawn();
    thread::sleep(Duration::from_millis(700));
    let silent = scene.background();
    silent.expect(4);
    silent.within(Duration::from_secs(1));
    let late = waiting.wait();
    late.expect(4);
    assert!(late.stderr.contains("open in the browser"), "{late:?}");
    late.within(Duration::from_secs(4));
    // A person's own sign-in takes the place of the one that nobody finishes.
    scene.configure("");
    scene.login();
    let home = scene.home.path().display().to_string();
    assert!(wait_until(Duration::from_secs(5), || workers(&home).is_empty()));
}

/// Each caller is answered within its time, whatever the provider does, and the work goes on.
#[test]
fn callers_are_answered_in_time_and_the_refresh_is_finished() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Delay(Duration::from_secs(6)));
    let started = Instant::now();
    let codex = scene
        .gatepass(["token", "--caller", "codex", "--force-refresh"])
        .run();
    codex.expect(6);
    assert!(started.elapsed() < gatepass_testkit::lab::on_this_machine(Duration::from_secs(5)));
    let home = scene.home.path().display().to_string();
    assert!(wait_until(Duration::from_secs(10), || workers(&home).is_empty()));
    scene.provider.clear_script();
    scene.background().expect(0);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

/// The program is replaced, and at last removed, while its worker waits for the provider: nothing is lost, the next
/// version joins, and a worker that dies is followed by one of the version that was started.
#[test]
fn an_upgrade_in_the_middle_of_a_refresh_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("gatepass");
    let install = || {
        let next = folder.path().join("next");
        fs::copy(GATEPASS, &next).unwrap();
        fs::rename(next, &installed).unwrap();
    };
    install();
    let provider = Provider::start(provider::Settings::default());
    let path = installed.to_str().unwrap();
    let scene = Scene::around(path, provider, Person::without_browser()).signed_in();
    scene
        .provider
        .script(Hook::RefreshGrant, Fault::Delay(Duration::from_secs(3)));
    let old = scene.gatepass(["token", "--force-refresh"]).spawn();
    assert!(
        scene
            .provider
            .wait_for("/token", 1, Duration::from_secs(20))
    );
    install();
    let new = scene.gatepass(["token", "--force-refresh"]).spawn();
    let token = old.wait().expect(0).token();
    assert_eq!(new.wait().expect(0).token(), token);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);

    // Removed, and its worker killed before the provider did anything: what runs still has itself.
    let home = scene.home.path().display().to_string();
    assert!(wait_until(Duration::from_secs(5), || workers(&home).is_empty()));
    scene.provider.clear_script();
    scene.provider.clear_requests();
    scene
        .provider
        .script_times(Hook::RefreshGrant, ..1, Fault::Stall(When::Before));
    let old = scene.gatepass(["token", "--force-refresh"]).spawn();
    assert!(
        scene
            .provider
            .wait_for("/token", 1, Duration::from_secs(20))
    );
    fs::remove_file(&installed).unwrap();
    for id in workers(&home) {
        kill(id);
    }
    assert_ne!(old.wait().expect(0).token(), token);
    install();
    scene.background().expect(0);
    assert_eq!(scene.provider.families_revoked(), 0);
}

/// The provider rotates, the connection drops, and the repeat is not forgiven: the call says what happened.
#[test]
fn an_answer_lost_on_the_way_is_told() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene
        .provider
        .script_times(Hook::RefreshGrant, ..1, Fault::Drop(When::After));
    let call = scene.gatepass(["token", "--force-refresh"]).run();
    call.expect(4);
    assert!(call.stderr.contains("its answer was lost"), "{call:?}");
    assert_eq!(scene.provider.token_grants("refresh_token"), 2);
    scene.login();
    scene.background().expect(0);
}

/// A sign-out is not undone by a refresh that was under way.
#[test]
fn a_sign_out_during_a_refresh_stays() {
    let scene = scripted(provider::Settings::default()).signed_in();
    scene.provider.script(
        Hook::RefreshGrant,
        Fault::Delay(Duration::from_millis(1000)),
    );
    let refresh = scene.gatepass(["token", "--force-refresh"]).spawn();
    thread::sleep(Duration::from_millis(300));
    scene.gatepass(["logout"]).run().expect(0);
    let _ = refresh.wait();
    scene.background().expect(4);
    assert_eq!(scene.keyring.lookup("default"), None);
}

/// A sign-out while the provider redeems the code of a sign-in: nobody is signed in afterwards, at the provider neither.
#[test]
fn a_sign_out_during_a_sign_in_stays() {
    let scene = scripted(provider::Settings::default());
    scene
        .provider
        .script(Hook::CodeGrant, Fault::Delay(Duration::from_millis(2500)));
    let login = scene.gatepass(["login"]).spawn();
    assert!(
        scene
            .provider
            .wait_for("/token", 1, Duration::from_secs(20))
    );
    scene.gatepass(["logout"]).run().expect(0);
    login.wait().expect(5);
    scene.background().expect(4);
    assert_eq!(scene.keyring.lookup("default"), None);
    assert_eq!(scene.provider.count("/revoke"), 1);
}

/// Claude Desktop asks again in the middle of a session just after it was given a token: the gateway has refused
/// that token, so one refresh is due, and only one.
#[test]
fn a_token_that_the_gateway_refused_is_refreshed_once() {
    let scene = scripted(provider::Settings::default()).signed_in();
    let call = |context: &str| scene.gatepass([]).context(context).run().expect(0).token();
    let first = call("interactive");
    assert_eq!(scene.provider.token_grants("refresh_token"), 0);
    let second = call("mid-session-refresh");
    assert_ne!(first, second);
    assert_eq!(call("mid-session-refresh"), second);
    assert_eq!(scene.provider.token_grants("refresh_token"), 1);
}

/// Two profiles at once do not wait for each other and do not mix.
#[test]
fn two_profiles_are_two_sessions() {
    let scene = scripted(provider::Settings::default());
    let other = Provider::start(provider::Settings {
        account: "bob".to_owned(),
        ..provider::Settings::default()
    });
    scene.configure(&format!("[profile.other]\nissuer = \"{}\"", other.issuer()));
    scene.gatepass(["login"]).run().expect(0);
    scene
        .gatepass(["login", "--profile", "other"])
        .run()
        .expect(0);
    let one = scene.background().expect(0).token();
    let two = scene
        .gatepass(["--profile", "other"])
        .run()
        .expect(0)
        .token();
    assert_ne!(one, two);
    scene
        .gatepass(["logout", "--profile", "other"])
        .run()
        .expect(0);
    scene.gatepass(["--profile", "other"]).run().expect(4);
    assert_eq!(scene.background().expect(0).token(), one);
}
