//! The lab's own parts: they have to be right before what they show about gatepass means anything.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption should stop the test at once"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gatepass_testkit::lab::{
    Gatepass, Home, Keyring, NodeProvider, Person, Settings, Stdout, Walk, scan_for_secrets,
};
use serde_json::Value;
use url::Url;

const ENTRY: [(&str, &str); 2] = [("service", "gatepass"), ("username", "default")];

#[test]
fn the_keyring_keeps_locks_and_falls_silent() {
    let mut keyring = Keyring::start();
    assert_eq!(keyring.lookup("default"), None);
    assert!(keyring.items_snapshot().is_empty());

    keyring.store(&ENTRY, "refresh-token-1");
    assert_eq!(
        keyring.lookup("default").as_deref(),
        Some("refresh-token-1")
    );
    assert_eq!(keyring.lookup("other"), None);
    let before = keyring.items_snapshot();
    let item = before.values().next().expect("one item");
    assert_eq!(before.len(), 1);
    assert_eq!(
        (item.label.as_str(), item.secret.as_slice()),
        ("lab", &b"refresh-token-1"[..])
    );
    assert_eq!(item.attributes["username"], "default");
    assert_eq!(keyring.items_snapshot(), before);
    keyring.store(&ENTRY, "refresh-token-2");
    assert_ne!(keyring.items_snapshot(), before);

    keyring.lock();
    assert_eq!(
        keyring.lookup("default"),
        None,
        "a locked keyring gives nothing away"
    );
    keyring.unlock();
    assert_eq!(
        keyring.lookup("default").as_deref(),
        Some("refresh-token-2")
    );

    keyring.stop_answering();
    assert_eq!(keyring.locked(), None);
    keyring.resume();
    assert_eq!(keyring.locked(), Some(false));

    keyring.kill_daemon();
    assert_eq!(
        keyring.lookup("default"),
        None,
        "the one that the bus starts is locked"
    );
    keyring.unlock();
    keyring.remove("default");
    assert_eq!(keyring.lookup("default"), None);
}

#[test]
fn two_keyrings_know_nothing_of_each_other() {
    let (one, two) = (Keyring::start(), Keyring::start());
    one.store(&ENTRY, "of-the-first");
    assert_eq!(two.lookup("default"), None);
    assert_eq!(Keyring::missing().locked(), None);
}

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
fn standard_output_can_be_closed_full_or_a_terminal_away() {
    let home = Home::new();
    let shell = |script: &str| Gatepass::new("/bin/sh", &home).args(["-c", script]);
    assert_eq!(shell("echo x; exit $?").run().code, 0);
    assert_ne!(
        shell("echo x; exit $?").stdout(Stdout::Closed).run().code,
        0
    );
    assert_ne!(shell("echo x; exit $?").stdout(Stdout::Full).run().code, 0);
    assert_eq!(shell("cat").input("piped").run().stdout, "piped");

    let script = "test -t 0 && test -t 2 && ! test -t 1 || exit 9; printf 'name? ' >&2; read name; echo \"it's $name\"; exit 3";
    let mut window = shell(script).spawn_on_terminal();
    window.wait_for(Duration::from_secs(10), |said| {
        said.contains("name? ").then_some(())
    });
    window.types("bob\n");
    let done = window.wait();
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (3, "it's bob\n"),
        "{done:?}"
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

#[test]
fn a_code_flow_runs_through_chromium() {
    let provider = NodeProvider::start(&Settings {
        access_token: 60,
        ..Settings::default()
    });
    let (walk, code) = code_flow(&provider, &Person::with_chromium().named("bob"));
    assert_eq!(
        (walk.status(), walk.title(), walk.text()),
        (200, "arrived", "You are here."),
        "{walk:?}"
    );
    assert!(
        walk.profile_has_code() && walk.back().iter().any(|url| url.contains("code=")),
        "this page hid nothing"
    );
    assert_eq!(walk.complaints_but_from(provider.issuer()), [""; 0]);

    let tokens = tokens(&provider, &code.expect("a code"));
    let access_token = tokens["access_token"].as_str().unwrap();
    assert_eq!(access_token.split('.').count(), 3, "a JWT: {access_token}");
    assert_eq!(tokens["expires_in"], 60);
    for kind in ["access_token", "refresh_token", "id_token"] {
        assert_eq!(provider.secrets_of(kind), [tokens[kind].as_str().unwrap()]);
    }
    assert_eq!(
        (
            provider.count("authorization.success"),
            provider.count("grant.success")
        ),
        (1, 1)
    );
    assert_eq!(provider.requests().last().unwrap(), "POST /token 200");

    // A refresh token works once; its second use ends the family.
    provider.clear();
    let old = tokens["refresh_token"].as_str().unwrap();
    let new = refresh(&provider, old);
    assert!(
        new["refresh_token"].is_string() && new["refresh_token"] != old,
        "{new}"
    );
    assert_eq!(
        (
            provider.count("refresh_token.consumed"),
            provider.count("grant.revoked")
        ),
        (1, 0)
    );
    assert_eq!(refresh(&provider, old)["error"], "invalid_grant");
    assert_eq!(provider.count("grant.revoked"), 1);
    assert_eq!(
        refresh(&provider, new["refresh_token"].as_str().unwrap())["error"],
        "invalid_grant"
    );
}

#[test]
fn a_refusal_runs_through_chromium_and_without_it() {
    let provider = NodeProvider::start(&Settings::default());
    for person in [Person::with_chromium(), Person::without_browser()] {
        let (walk, code) = code_flow(&provider, &person.who_refuses());
        assert_eq!((walk.text(), code), ("You are here.", None));
        assert!(walk.url().contains("error=access_denied"), "{}", walk.url());
    }
}

#[test]
fn a_code_flow_runs_without_a_browser_and_without_rotation() {
    let provider = NodeProvider::start(&Settings {
        rotate: false,
        ..Settings::default()
    });
    let (walk, code) = code_flow(&provider, &Person::without_browser());
    assert_eq!(
        (walk.status(), walk.title(), walk.text()),
        (200, "arrived", "You are here.")
    );
    let tokens = tokens(&provider, &code.expect("a code"));
    let first = tokens["refresh_token"].as_str().unwrap();
    for _ in 0..2 {
        assert!(refresh(&provider, first)["access_token"].is_string());
    }
    assert_eq!(provider.count("refresh_token.consumed"), 0);
}

#[test]
fn a_device_is_confirmed_and_refused() {
    let provider = NodeProvider::start(&Settings::default());
    let people = [
        (
            Person::with_chromium(),
            Person::with_chromium().who_refuses(),
        ),
        (
            Person::without_browser(),
            Person::without_browser().who_refuses(),
        ),
    ];
    for (willing, unwilling) in people {
        let begin = || {
            post(
                &provider,
                "/device/auth",
                &[("scope", "openid offline_access")],
            )
        };
        let ask = |device: &Value| {
            let code = device["device_code"].as_str().unwrap();
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            post(
                &provider,
                "/token",
                &[("grant_type", grant), ("device_code", code)],
            )
        };
        let device = begin();
        assert_eq!(ask(&device)["error"], "authorization_pending");
        let walk = willing.opens(device["verification_uri_complete"].as_str().unwrap());
        assert!(walk.text().contains("Sign-in Success"), "{walk:?}");
        assert!(ask(&device)["access_token"].is_string());

        // Where the address lacks the code, it has to be typed.
        let device = begin();
        let typed = unwilling.with_code(device["user_code"].as_str().unwrap());
        let walk = typed.opens(device["verification_uri"].as_str().unwrap());
        assert!(walk.text().contains("interrupted"), "{walk:?}");
        assert_eq!(ask(&device)["error"], "access_denied");
    }
}

#[test]
fn the_provider_goes_and_comes_back_with_what_it_knew() {
    let provider = NodeProvider::start(&Settings::default());
    let (_, code) = code_flow(&provider, &Person::without_browser());
    let tokens = tokens(&provider, &code.unwrap());
    let address = provider.issuer().strip_prefix("http://").unwrap();
    provider.down();
    assert!(TcpStream::connect(address).is_err());
    provider.up();
    assert!(
        refresh(&provider, tokens["refresh_token"].as_str().unwrap())["access_token"].is_string()
    );
    post(
        &provider,
        "/token/revocation",
        &[("token", tokens["access_token"].as_str().unwrap())],
    );
    provider.pause();
    assert!(
        TcpStream::connect(address).is_ok(),
        "the kernel takes the connection"
    );
    provider.resume();
    assert!(provider.count("request") > 0);
}

// A client that knows no more than the protocol: RFC 7636's example pair, one request, one answer.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:{port}/callback";

fn code_flow(provider: &NodeProvider, person: &Person) -> (Walk, Option<(String, String)>) {
    let (target, redirect_uri) = redirect_target();
    let address = Url::parse_with_params(
        &format!("{}/auth", provider.issuer()),
        [
            ("client_id", "gatepass"),
            ("response_type", "code"),
            ("redirect_uri", &redirect_uri),
            ("scope", "openid email offline_access"),
            ("prompt", "consent"),
            ("state", "of-the-lab"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ],
    );
    let walk = person.opens(address.unwrap().as_str());
    assert_eq!(walk.error(), None);
    let arrived = Url::parse(&redirect_uri)
        .unwrap()
        .join(&target.join().unwrap())
        .unwrap();
    let code = arrived
        .query_pairs()
        .find(|(name, _)| name == "code")
        .map(|(_, value)| value.into_owned());
    (walk, code.map(|code| (code, redirect_uri)))
}

/// Waits for the browser at a free port and gives back the path and query with which it came.
fn redirect_target() -> (JoinHandle<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect_uri =
        REDIRECT.replace("{port}", &listener.local_addr().unwrap().port().to_string());
    let target = thread::spawn(move || {
        let mut arrived = None;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = head(&mut stream);
            let page = "<title>arrived</title><link rel=icon href=data:,><p>You are here.</p>";
            let length = page.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{page}").unwrap();
            if head.starts_with("GET /callback?") {
                arrived = head.split(' ').nth(1).map(str::to_owned);
                break;
            }
        }
        arrived.unwrap()
    });
    (target, redirect_uri)
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn tokens(provider: &NodeProvider, (code, redirect_uri): &(String, String)) -> Value {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    post(provider, "/token", &fields)
}

fn refresh(provider: &NodeProvider, refresh_token: &str) -> Value {
    post(
        provider,
        "/token",
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ],
    )
}

fn post(provider: &NodeProvider, path: &str, fields: &[(&str, &str)]) -> Value {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", "gatepass")
        .extend_pairs(fields);
    let body = form.finish();
    let host = provider.issuer().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or(Value::Null)
}
