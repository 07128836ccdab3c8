//! Tabs, terminals and people who take their time: no storm and no dead end.

use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::lab::{NodeProvider, Person, Scene, Settings, wait_until};
use gatepass_testkit::provider::{self, Provider};

use crate::GATEPASS;

fn with_chromium(person: Person) -> Scene<NodeProvider> {
    Scene::with(GATEPASS, &Settings::default(), person)
}

/// Tabs that reached the provider.
fn tabs(scene: &Scene<NodeProvider>) -> usize {
    let requests = scene.provider.requests();
    requests
        .iter()
        .filter(|line| line.starts_with("GET /auth "))
        .count()
}

/// The person closes the tab. A call soon after opens none; a call 45 seconds later opens the same request again,
/// and the person finishes it.
#[test]
fn a_closed_tab_is_opened_again_after_a_while() {
    let mut scene = with_chromium(Person::with_chromium().who_walks_away());
    // A pushed request is good for one visit, so it would be pushed anew, with the same content.
    scene.configure("interactive_timeout = 8\npar = \"never\"");
    scene.gatepass([]).context("interactive").run().expect(4);
    let walked = scene
        .person
        .saw_within(Duration::from_secs(20))
        .expect("the tab was opened");
    let first = walked.opened().to_owned();
    scene.gatepass([]).context("interactive").run().expect(4);
    assert_eq!(tabs(&scene), 1);
    thread::sleep(Duration::from_secs(30));
    // The worker keeps the browser command it was started with, so the person must be the one who walks away,
    // and then somebody finishes by hand in the same tab.
    scene.person.forget();
    let late = scene
        .gatepass(["token", "--timeout", "50"])
        .context("interactive")
        .spawn();
    let again = scene
        .person
        .saw_within(Duration::from_secs(20))
        .expect("the tab was opened again");
    assert_eq!(again.opened(), first, "the same request");
    scene.enters(Person::with_chromium());
    let finished = scene.person.opens(&first);
    assert!(
        finished.text().contains("You are signed in"),
        "{finished:?}"
    );
    late.wait().expect(0);
    scene.background().expect(0);
}

/// A second factor that takes longer than the host waits: the host's calls end in time, the tab stays good.
#[test]
fn a_person_who_takes_their_time_is_signed_in_all_the_same() {
    let scene = with_chromium(Person::with_chromium().who_waits(Duration::from_secs(14)));
    scene.configure("interactive_timeout = 5");
    let started = Instant::now();
    let first = scene.gatepass([]).context("interactive").run();
    first.expect(4);
    first.within(Duration::from_secs(6));
    let second = scene.gatepass([]).context("interactive").run();
    second.expect(4);
    assert!(started.elapsed() < gatepass_testkit::lab::on_this_machine(Duration::from_secs(12)));
    let walk = scene
        .person
        .saw_within(Duration::from_secs(40))
        .expect("the person finished");
    assert!(walk.text().contains("You are signed in"), "{walk:?}");
    assert_eq!(tabs(&scene), 1);
    scene.background().expect(0);
}

/// A scene in which the tab that is opened leads nowhere, so that the test answers itself or nobody does.
fn with_a_browser_that_does_nothing() -> Scene<Provider> {
    let provider = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, provider, Person::without_browser());
    scene.home.config(&format!(
        "issuer = \"{}\"\nclient_id = \"gatepass\"\nbrowser = [\"true\"]\n",
        scene.provider.issuer()
    ));
    scene
}

/// Ctrl-C ends a sign-in at a terminal: its port is closed, and the next call opens its own tab at once.
#[test]
fn ctrl_c_ends_a_sign_in() {
    let scene = with_a_browser_that_does_nothing();
    let mut login = scene.gatepass(["login"]).spawn_on_terminal();
    let port: u16 = login.wait_for(Duration::from_secs(20), |screen| {
        let rest = screen
            .split("redirect_uri=http%3A%2F%2F127.0.0.1%3A")
            .nth(1)?;
        rest.split('%').next()?.parse().ok()
    });
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    login.types("\u{3}");
    let closed = wait_until(Duration::from_secs(5), || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(closed, "the port stays open");
    let _ = login.wait();
    scene.configure("");
    scene.gatepass([]).context("interactive").run().expect(0);
}

/// Another user of the machine reads the address from the browser's command line and answers first: refused, and
/// the sign-in goes on.
#[test]
fn another_user_cannot_answer_the_sign_in() {
    let be_another = ["--reuid", "65534", "--clear-groups", "true"];
    let tried = Command::new("setpriv").args(be_another).status();
    if !tried.is_ok_and(|status| status.success()) {
        gatepass_testkit::skip("only root can be another user as well");
        return;
    }
    let scene = with_a_browser_that_does_nothing();
    let mut login = scene.gatepass(["login"]).spawn_on_terminal();
    let (port, state): (u16, String) = login.wait_for(Duration::from_secs(20), |screen| {
        let port = screen.split("127.0.0.1%3A").nth(1)?.split('%').next()?;
        let state = screen.split("state=").nth(1)?.split('&').next()?;
        Some((port.parse().ok()?, state.to_owned()))
    });
    let answer = |user: &str| {
        let request = format!(
            "GET /callback?code=x&state={state} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n"
        );
        let script =
            format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; head -1 <&3");
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--clear-groups", "bash", "-c", &script])
            .output()
            .expect("setpriv and bash");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(answer("65534").contains("403"));
    assert!(login.runs(), "the sign-in goes on");
    assert!(answer("0").contains("303"));
    assert_eq!(
        login.wait().code,
        8,
        "our own answer counts, and it names no issuer"
    );
}

/// A laptop that has just woken up: the provider cannot be reached yet, and a moment later it can.
#[test]
fn a_network_that_comes_back_is_waited_for() {
    let scene = with_chromium(Person::without_browser()).signed_in();
    scene.provider.down();
    let call = scene.gatepass(["token", "--force-refresh"]).spawn();
    thread::sleep(Duration::from_secs(3));
    scene.provider.up();
    let answer = call.wait();
    answer.expect(0);
    answer.within(Duration::from_secs(10));
    // Somebody who has less time is told in time.
    scene.provider.down();
    let short = scene
        .gatepass(["token", "--caller", "codex", "--force-refresh"])
        .run();
    short.expect(6);
    short.within(Duration::from_secs(4));
}

/// Another issuer in the configuration: the old session is not used and sent nowhere. A sign-in replaces it only by an
/// explicit word, and nothing is sent to the other issuer by settings that are not its own.
#[test]
fn a_session_is_never_taken_to_another_issuer() {
    let old = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, old, Person::without_browser()).signed_in();
    let new = Provider::start(provider::Settings::default());
    let person = scene.person.config();
    scene.home.config(&format!(
        "issuer = \"{}\"\nclient_id = \"gatepass\"\n{person}",
        new.issuer()
    ));
    scene.background().expect(4);
    assert_eq!(new.requests().len(), 0);
    scene.provider.clear_requests();
    let refused = scene.gatepass(["login"]).run();
    refused.expect(3);
    assert!(refused.stderr.contains("--replace"), "{refused:?}");
    assert_eq!(new.count("/authorize"), 0);
    let doctor = scene.gatepass(["doctor"]).run().stdout;
    let other = format!(
        "this profile holds a session of {}",
        scene.provider.issuer()
    );
    assert!(
        doctor.contains(&other) && doctor.contains("--replace"),
        "{doctor}"
    );
    scene.provider.clear_requests();
    let replaced = scene.gatepass(["login", "--replace"]).run();
    replaced.expect(0);
    assert!(replaced.stderr.contains("not revoked"), "{replaced:?}");
    scene.background().expect(0);
    assert_eq!(scene.provider.requests().len(), 0);
}

/// The kernel kills whichever process makes the n-th of the system calls that touch network, store or state
/// (strace's fault injection): the session is the old one or the new one.
#[test]
fn death_between_any_two_system_calls_loses_no_session() {
    let provider = Provider::start(provider::Settings::default());
    let scene = Scene::around(GATEPASS, provider, Person::without_browser()).signed_in();
    let long = std::env::var_os("GATEPASS_LONG_TESTS").is_some();
    let (last, step) = if long { (160, 1) } else { (150, 10) };
    let mut lost = 0;
    for n in (1..=last).step_by(step) {
        let before = scene.provider.token_grants("refresh_token");
        let mut environment: Vec<(String, String)> = scene.keyring.env();
        environment.push(("HOME".to_owned(), scene.home.path().display().to_string()));
        let calls =
            "sendto,sendmsg,recvfrom,recvmsg,connect,rename,renameat2,fdatasync,flock,write";
        let status = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={calls}"),
            ])
            .arg("-e")
            .arg(format!("inject={calls}:signal=KILL:when={n}"))
            .args([GATEPASS, "token", "--force-refresh"])
            .env_clear()
            .envs(environment)
            .env("PATH", "/usr/bin:/bin")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .expect("strace");
        let _ = status;
        let consumed = scene.provider.token_grants("refresh_token") > before;
        let after = scene.gatepass(["token", "--force-refresh"]).run();
        if after.code == 4 {
            assert!(
                consumed,
                "call {n}: lost although no refresh had touched it: {after:?}"
            );
            assert!(
                after.stderr.contains("its answer was lost"),
                "call {n}: {after:?}"
            );
            lost += 1;
            scene.login();
        } else {
            assert_eq!(after.code, 0, "call {n}: {after:?}");
        }
    }
    println!("answers lost with the process: {lost}");
}
