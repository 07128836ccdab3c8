//! Signing in at a terminal: the way that suits the session, the reason for it, and a terminal that stays in order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gatepass_testkit::lab::{Gatepass, Keyring, Person, Running, Scene};
use gatepass_testkit::provider::{Provider, Settings};

use crate::GATEPASS;

const SOON: Duration = Duration::from_secs(20);
const SSH: (&str, &str) = ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");

/// A provider that approves at once, and no browser on this machine.
fn scene(settings: Settings) -> Scene<Provider> {
    let scene = Scene::around(
        GATEPASS,
        Provider::start(settings),
        Person::without_browser(),
    );
    without_browser(&scene, "");
    scene
}

fn without_browser(scene: &Scene<Provider>, more: &str) {
    scene.home.config(&format!(
        "issuer = \"{}\"\nclient_id = \"gatepass\"\ndisplay_name = \"Example Corp\"\ngateway_url = \"https://gateway.example.test\"\n{more}\n",
        scene.provider.issuer()
    ));
}

fn approving() -> Settings {
    Settings {
        auto_approve: true,
        device_flow: false,
        ..Settings::default()
    }
}

/// The address on the screen that begins like this.
fn address(screen: &str, issuer: &str) -> Option<String> {
    let word = screen
        .split(|c: char| c.is_whitespace() || c.is_control())
        .find(|word| word.starts_with(issuer) && word.contains("redirect_uri="))?;
    // All of it: the next line has begun.
    (screen.split(word).nth(1)?.len() > 4).then(|| word.to_owned())
}

/// What a browser on another machine would show in its address bar at the end.
fn redirected_to(address: &str) -> String {
    let rest = address.strip_prefix("http://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let location = answer.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .starts_with("location: ")
            .then(|| &line[10..])
    });
    location.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn shown(login: &mut Running, scene: &Scene<Provider>) -> String {
    let issuer = scene.provider.issuer();
    login.wait_for(SOON, |screen| address(screen, &issuer))
}

/// A run in a shell in a terminal window, so that the terminal can be looked at afterwards.
fn in_a_shell(scene: &Scene<Provider>, script: &str) -> Gatepass {
    Gatepass::new("/bin/sh", &scene.home)
        .keyring(&scene.keyring)
        .args(["-c", script, GATEPASS])
}

#[test]
fn over_ssh_the_address_of_another_machines_browser_is_taken() {
    let scene = scene(approving());
    let mut login = scene
        .gatepass(["login"])
        .env(SSH.0, SSH.1)
        .env("GATEPASS_LOG", "debug")
        .spawn_on_terminal();
    let address = shown(&mut login, &scene);
    login.wait_for(SOON, |screen| {
        screen.contains("paste it here").then_some(())
    });
    let redirect = redirected_to(&address);

    // What does not belong to this sign-in changes nothing.
    let forged = redirect.replace("state=", "state=x");
    for wrong in [
        "hello",
        &forged,
        "http://127.0.0.1/callback?error=access_denied",
    ] {
        login.types(&format!("{wrong}\n"));
    }
    login.wait_for(SOON, |screen| {
        screen.contains("not the address").then_some(())
    });
    assert!(login.runs());

    login.types(&format!("{redirect}\n"));
    let done = login.wait();
    assert_eq!(done.code, 0, "{}", done.stderr);
    for words in [
        "Signing in at",
        "Example Corp",
        "https://gateway.example.test",
        "since this is an SSH session",
        "Signed in as",
        "alex@example.test",
    ] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    let code = redirect
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    assert!(
        !done.stderr.contains(code),
        "neither echoed nor logged: {}",
        done.stderr
    );
    scene.background().token();
}

#[test]
fn a_paste_longer_than_a_terminals_own_line_arrives() {
    let scene = scene(approving());
    let mut login = scene.gatepass(["login"]).spawn_on_terminal();
    let address = shown(&mut login, &scene);
    login.wait_for(SOON, |screen| {
        screen.contains("paste it here").then_some(())
    });
    let redirect = redirected_to(&address);
    login.types(&format!("{redirect}&session_state={}\n", "x".repeat(9000)));
    let done = login.wait();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("No browser is opened here, since this"),
        "{}",
        done.stderr
    );
}

#[test]
fn over_ssh_a_device_code_is_shown_with_the_reason() {
    let scene = scene(Settings {
        device_interval_seconds: 1,
        ..Settings::default()
    });
    let mut login = scene
        .gatepass(["login"])
        .env(SSH.0, SSH.1)
        .spawn_on_terminal();
    let screen = login.wait_for(SOON, |screen| {
        screen
            .contains("waiting for you")
            .then(|| screen.to_owned())
    });
    let lines: Vec<&str> = screen.lines().collect();
    let prose = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |words: &str| prose.contains(words);
    assert!(
        has("code on any device, since this is an SSH session"),
        "{screen}"
    );
    assert!(has("Enter "), "{screen}");
    let drawn = lines
        .iter()
        .filter(|line| line.contains('▀') || line.contains('▄'));
    assert!(drawn.count() > 10, "a QR code: {screen}");
    assert!(has("only if you started this sign-in yourself"), "{screen}");
    login.types("\u{3}");
    let done = login.wait();
    assert_eq!(done.code, 5, "{}", done.stderr);
}

#[test]
fn ctrl_c_leaves_the_terminal_and_the_session_as_they_were() {
    let scene = scene(approving());
    let mut first = scene.gatepass(["login"]).spawn_on_terminal();
    let address = shown(&mut first, &scene);
    first.types(&format!("{}\n", redirected_to(&address)));
    assert_eq!(first.wait().code, 0);
    let (entries, token) = (scene.keyring.items_snapshot(), scene.background().token());

    let script = "trap : INT; before=$(stty -g); \"$0\" login; echo \"code=$?\" >&2; \
                  test \"$before\" = \"$(stty -g)\" && echo restored >&2; \"$0\" status >/dev/null && echo signed-in >&2";
    let mut login = in_a_shell(&scene, script).spawn_on_terminal();
    shown(&mut login, &scene);
    login.wait_for(SOON, |screen| {
        screen.contains("waiting for you").then_some(())
    });
    login.types("\u{3}");
    let done = login.wait();
    for words in [
        "gatepass: you stopped the sign-in; nothing has changed [sign-in-failed]",
        "  try: gatepass login",
        "code=5",
        "restored",
        "signed-in",
    ] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    assert!(
        scene.keyring.items_snapshot() == entries,
        "the keychain was touched"
    );
    assert_eq!(scene.background().token(), token);
}

#[test]
fn a_job_in_the_background_is_not_stopped_by_the_terminal() {
    let scene = scene(approving());
    let script =
        "set -m; \"$0\" login & sleep 2; jobs >&2; kill -INT %1; wait %1; echo \"code=$?\" >&2";
    let done = in_a_shell(&scene, script).spawn_on_terminal().wait();
    assert!(done.stderr.contains("Running"), "{}", done.stderr);
    assert!(!done.stderr.contains("Stopped"), "{}", done.stderr);
    assert!(!done.stderr.contains("paste it here"), "{}", done.stderr);
    assert!(done.stderr.contains("code=5"), "{}", done.stderr);
}

#[test]
fn terminals_of_any_width_and_kind_are_served() {
    let settings = || Settings {
        device_interval_seconds: 1,
        device_expires_seconds: 2,
        ..Settings::default()
    };
    for (columns, variables, has_colours, has_blocks) in [
        (120, &[][..], true, true),
        (120, &[("NO_COLOR", "1")], false, true),
        (120, &[("TERM", "dumb")], false, false),
        (30, &[], true, false),
    ] {
        let scene = scene(settings());
        let exports: String = variables
            .iter()
            .map(|(name, value)| format!("export {name}={value}; "))
            .collect();
        let script = format!("{exports}stty cols {columns} rows 24; exec \"$0\" login --device");
        let done = in_a_shell(&scene, &script).spawn_on_terminal().wait();
        assert_eq!(done.code, 5, "the code expires: {}", done.stderr);
        let case = format!("{columns} {variables:?}: {}", done.stderr);
        assert_eq!(done.stderr.contains('\u{1b}'), has_colours, "{case}");
        assert_eq!(done.stderr.contains('▀'), has_blocks, "{case}");
        assert!(done.stderr.contains("waiting for you"), "{case}");
        let body = done.stderr.split("gatepass: ").next().unwrap();
        for line in body.split(['\r', '\n']) {
            // Colours take no room; addresses and what stands before them stay in one piece.
            let is_prose = !line.contains("http") && !line.contains('\u{1b}');
            assert!(
                !is_prose || line.chars().count() <= columns,
                "{line:?} in {case}"
            );
        }
    }
}

#[test]
fn a_call_at_a_terminal_says_why_a_sign_in_is_needed() {
    let scene = scene(approving());
    let mut call = scene.gatepass([]).spawn_on_terminal();
    let address = shown(&mut call, &scene);
    call.types(&format!("{}\n", redirected_to(&address)));
    let done = call.wait();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("needed because nobody is signed in"),
        "{}",
        done.stderr
    );
    assert_eq!(done.stdout.lines().count(), 1, "only the token");
}

#[test]
fn a_sign_in_that_cannot_be_kept_is_not_begun_and_the_fix_is_named() {
    let scene = scene(approving());
    let nobody = Keyring::missing();
    let ssh = |run: Gatepass| run.env(SSH.0, SSH.1);
    type Case<'a> = (&'a str, Box<dyn Fn(Gatepass) -> Gatepass + 'a>, &'a str);
    let cases: [Case<'_>; 3] = [
        (
            "SSH, no bus",
            Box::new(|run| ssh(run.keyring(&nobody))),
            "desktop once",
        ),
        (
            "SSH, locked",
            Box::new(|run| {
                scene.keyring.lock();
                ssh(run)
            }),
            "keychain from here",
        ),
        (
            "locked",
            Box::new(|run| run.env("DISPLAY", ":99")),
            "login keychain",
        ),
    ];
    for (name, session, fix) in cases {
        for way in ["--browser", "--device"] {
            let done = session(scene.gatepass(["login", way])).run();
            done.expect(7);
            assert!(
                done.stderr.contains("is not begun"),
                "{name}: {}",
                done.stderr
            );
            assert!(done.stderr.contains(fix), "{name}: {}", done.stderr);
        }
    }
    assert_eq!(
        scene.provider.requests().len(),
        0,
        "the provider was not asked"
    );
}
