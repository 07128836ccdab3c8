//! `gatepass doctor`: each link broken in turn, with real parts, and what is said about it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatepass::usecase::doctor::IDS;
use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::lab::{Outcome, Person, Scene, Settings, wait_until};
use serde_json::Value;

use crate::GATEPASS;

const AUDIENCE: &str = "https://gateway.example.test/";
const ANYTHING: [&str; 0] = [];

/// A signed-in person in front of a gateway.
fn with_gateway(more: &str) -> (Scene, Gateway) {
    let scene = Scene::new(GATEPASS);
    let gateway = Gateway::start(scene.provider.issuer(), AUDIENCE);
    let url = gateway.url();
    scene.configure(&format!(
        "gateway_url = \"{url}\"\nresource = [\"{AUDIENCE}\"]\n{more}"
    ));
    (scene.signed_in(), gateway)
}

fn doctor<'a>(scene: &Scene, arguments: impl IntoIterator<Item = &'a str>) -> Outcome {
    let all: Vec<&str> = ["doctor", "--json"].into_iter().chain(arguments).collect();
    scene.gatepass(all).run()
}

#[track_caller]
fn check(outcome: &Outcome, id: &str) -> Value {
    let report = outcome.json();
    let checks = report["checks"].as_array().expect("checks");
    let found: Vec<&Value> = checks.iter().filter(|check| check["id"] == id).collect();
    assert_eq!(found.len(), 1, "{id} once in {report}");
    found[0].clone()
}

#[track_caller]
fn expect(outcome: &Outcome, id: &str, result: &str, says: &str) {
    let check = check(outcome, id);
    assert_eq!(check["outcome"], result, "{check}");
    let text = format!("{} {}", check["what"], check["remedy"]);
    assert!(text.contains(says), "{id} does not say {says:?}: {text}");
    let has_remedy = check["remedy"].is_string();
    assert_eq!(
        has_remedy,
        result == "warning" || result == "failed" || has_remedy
    );
}

#[test]
fn everything_is_well_and_nothing_changes() {
    let (scene, gateway) = with_gateway("");
    let before = scene.keyring.items_snapshot();
    scene.person.forget();
    let outcome = doctor(&scene, ["--model", "demo-small"]);
    outcome.expect(0);
    let report = outcome.json();
    assert_eq!(
        (&report["format"], &report["exit_code"]),
        (&1.into(), &0.into())
    );
    // Those two are about services of the machine and other programs' files.
    let elsewhere = ["system-log", "host-configuration"];
    for id in IDS.into_iter().filter(|id| !elsewhere.contains(id)) {
        expect(&outcome, id, "ok", "");
    }
    expect(&outcome, "gateway", "ok", "demo-large");
    assert_eq!(gateway.requests().len(), 2);
    assert_eq!(scene.keyring.items_snapshot(), before, "the probe is gone");
    let sent = scene.provider.requests();
    assert!(
        sent.iter().all(|request| request.starts_with("GET ")),
        "{sent:?}"
    );
    assert!(scene.person.saw().is_none(), "no browser was opened");
    let words = scene.gatepass(["doctor"]).run();
    words.expect(0);
    assert!(
        words.stdout.contains("\nok       gateway "),
        "{}",
        words.stdout
    );
    assert_eq!(words.stderr, "");
}

#[test]
fn nobody_is_signed_in_and_nothing_is_left_behind() {
    let scene = Scene::new(GATEPASS);
    let outcome = doctor(&scene, ANYTHING);
    outcome.expect(4);
    expect(&outcome, "session", "failed", "gatepass login");
    expect(&outcome, "discovery", "ok", "device code");
    expect(&outcome, "gateway", "skipped", "gateway_url");
    assert!(
        !scene.home.path().join(".local").exists(),
        "no folder was made"
    );
    assert_eq!(scene.keyring.items_snapshot().len(), 0);
}

#[test]
fn what_a_gateway_can_refuse_is_explained() {
    let (scene, gateway) = with_gateway("");
    let url = gateway.url();
    let with = |lines: &str| {
        scene.configure(&format!("resource = [\"{AUDIENCE}\"]\n{lines}"));
        doctor(&scene, ["--model", "demo-smal"])
    };
    let twice = with(&format!("gateway_url = \"{url}/v1\""));
    twice.expect(3);
    expect(&twice, "configuration", "failed", "must not end in /v1");
    expect(&twice, "gateway", "failed", "/v1 is in the address");

    let elsewhere = Gateway::start(scene.provider.issuer(), "https://other.example.test/");
    let refused = with(&format!("gateway_url = \"{}\"", elsewhere.url()));
    refused.expect(3);
    expect(&refused, "gateway", "failed", "(401)");
    expect(&refused, "gateway", "failed", AUDIENCE);

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gone = with(&format!("gateway_url = \"http://127.0.0.1:{port}\""));
    gone.expect(6);
    expect(&gone, "gateway", "failed", "cannot connect");
}

#[test]
fn a_provider_that_is_away_and_a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let scene = Scene::new(GATEPASS);
    let issuer = format!("http://127.0.0.1:{}", {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    });
    scene.home.config(&format!(
        "issuer = \"{issuer}\"\nclient_id = \"gatepass\"\nredirect_ports = [{port}]\nbrowser = [\"/no/such/browser\"]\n"
    ));
    let outcome = doctor(&scene, ANYTHING);
    outcome.expect(6);
    expect(&outcome, "tls", "failed", "cannot connect");
    expect(&outcome, "discovery", "skipped", "cannot be reached");
    expect(&outcome, "redirect-port", "failed", &port.to_string());
    expect(&outcome, "browser", "failed", "/no/such/browser");
    expect(&outcome, "session", "failed", "nobody");
}

#[test]
fn a_wrong_issuer_a_loose_file_and_no_configuration() {
    let scene = Scene::new(GATEPASS).signed_in();
    let state = scene.home.path().join(".local/state/gatepass");
    let file = fs::read_dir(&state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    expect(
        &doctor(&scene, ANYTHING),
        "permissions",
        "failed",
        "chmod 600",
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    let issuer = scene.provider.issuer();
    scene.home.config(&format!(
        "issuer = \"{issuer}/\"\nclient_id = \"gatepass\"\n"
    ));
    let slash = doctor(&scene, ANYTHING);
    slash.expect(8);
    expect(&slash, "discovery", "failed", "slash at the end");

    scene.home.config("isuer = \"x\"\n");
    let wrong = doctor(&scene, ANYTHING);
    wrong.expect(3);
    expect(&wrong, "configuration", "failed", "did you mean `issuer`?");
    expect(&wrong, "gateway", "skipped", "configuration");
}

#[test]
fn a_short_lived_token_and_a_locked_keychain() {
    let scene = Scene::with(
        GATEPASS,
        &Settings {
            access_token: 300,
            ..Settings::default()
        },
        Person::without_browser(),
    )
    .signed_in();
    let outcome = doctor(&scene, ANYTHING);
    outcome.expect(0);
    expect(
        &outcome,
        "token-lifetime",
        "warning",
        "`min_validity` to 270",
    );
    scene.keyring.lock();
    let locked = doctor(&scene, ANYTHING);
    locked.expect(7);
    expect(&locked, "keychain", "failed", "locked");
    expect(&locked, "session", "skipped", "");
}

#[test]
fn a_pasted_key_has_no_provider_and_the_gateway_is_asked() {
    let scene = Scene::new(GATEPASS);
    let gateway = Gateway::start(scene.provider.issuer(), AUDIENCE);
    scene.home.config(&format!(
        "kind = \"key\"\ngateway_url = \"{}\"\nauth_scheme = \"x-api-key\"\n",
        gateway.url()
    ));
    let login = scene.gatepass(["login"]).input("sk-pasted\n").run();
    assert_eq!(login.code, 0, "{login:?}");
    let outcome = doctor(&scene, ANYTHING);
    for id in ["discovery", "redirect-port", "browser", "refresh-token"] {
        expect(&outcome, id, "skipped", "");
    }
    expect(&outcome, "session", "ok", "");
    expect(&outcome, "gateway", "failed", "(401)");
    assert!(!outcome.stdout.contains("sk-pasted"), "{outcome:?}");
}

#[test]
fn a_machine_is_looked_at_without_a_session() {
    let (scene, gateway) = with_gateway("");
    let outcome = scene
        .gatepass(["doctor", "--machine", "--json"])
        .without_env("DBUS_SESSION_BUS_ADDRESS")
        .run();
    outcome.expect(0);
    expect(&outcome, "gateway", "ok", "401 without a token");
    for id in ["keychain", "session", "browser", "token"] {
        expect(&outcome, id, "skipped", "");
    }
    let shown = gateway.requests();
    assert!(
        shown
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn a_bundle_holds_no_secret_and_no_name_and_replaces_nothing() {
    let (scene, _gateway) = with_gateway(
        "log_level = \"debug\"\nlogin_hint = \"ann@corp.example\"\n\
         headers = { X-Team = \"sk-hush-1\", X-Route = \"research\" }\n\
         token_params = { api_key = \"hush-2\" }\nauthorize_params = { partner-secret = \"hush-3\" }\n",
    );
    scene.gatepass(["token", "--force-refresh"]).run().token();
    let path = scene.home.path().join("bundle.json");
    let name = path.to_str().unwrap();
    let outcome = scene.gatepass(["doctor", "--bundle", name]).run();
    outcome.expect(0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bundle: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(bundle["format"], 1);
    assert!(!bundle["log"].as_array().unwrap().is_empty(), "{text}");
    assert!(bundle["state"]["session"]["generation"].is_number());
    assert!(text.contains("client_id = "), "the configuration");
    assert!(text.contains("X-Team") && text.contains("research"));
    assert!(!text.contains("hush"), "what looks like a secret: {text}");
    for kind in ["refresh_token", "access_token", "id_token"] {
        for secret in scene.provider.secrets_of(kind) {
            assert!(!text.contains(&secret), "a {kind}");
        }
    }
    let status = scene.gatepass(["status", "--json"]).run().json();
    for who in [&status["account"], &status["subject"], &"ann@corp".into()] {
        assert!(!text.contains(who.as_str().unwrap()), "{who} in {text}");
    }
    let home = scene.home.path().to_str().unwrap();
    assert!(!text.contains(home), "the home folder in {text}");

    scene.gatepass(["doctor", "--bundle", name]).run().expect(3);
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "untouched");
}

#[test]
fn what_is_secret_stays_hidden_while_the_keychain_is_locked() {
    const SECRET: &str = "hush-of-the-person";
    let (scene, _gateway) = with_gateway("");
    // A gateway that says what it was sent.
    let echoing = echoing();
    scene.configure(&format!(
        "gateway_url = \"{echoing}\"\nlog_level = \"debug\"\nsecret_headers = [\"X-Key\"]"
    ));
    let login = scene
        .gatepass(["login"])
        .input(&format!("{SECRET}\n"))
        .run();
    login.expect(0);
    assert!(scene.background().stdout.contains(SECRET));
    // Something of the session has got into the log.
    let log = scene.home.path().join(".local/state/gatepass/gatepass.log");
    let written = fs::read_to_string(&log).unwrap();
    fs::write(&log, format!("{written}{SECRET} of-another-time\n")).unwrap();
    let bundle = |name: &str| {
        let path = scene.home.path().join(name);
        let doctor = scene.gatepass(["doctor", "--bundle", path.to_str().unwrap()]);
        let outcome = doctor.run();
        (outcome, fs::read_to_string(&path).unwrap())
    };
    let (outcome, text) = bundle("open.json");
    assert!(outcome.stdout.contains("no x-key: …"), "{outcome:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("of-another-time"), "{text}");
    scene.keyring.lock();
    let (outcome, text) = bundle("locked.json");
    outcome.expect(7);
    assert!(!outcome.stdout.contains(SECRET), "{outcome:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains("of-another-time"), "{text}");
    assert!(text.contains("left out: the keychain"), "{text}");
}

/// A gateway whose refusals repeat the head of the request.
fn echoing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 8192];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let key = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("x-key"));
            let said = format!(
                "{{\"error\":{{\"message\":\"no {}\"}}}}",
                key.unwrap_or_default()
            );
            let _ = write!(
                stream,
                "HTTP/1.1 403 No\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
                said.len()
            );
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// A TLS server whose certificate an inspecting proxy might have made, and the file of its authority.
struct Inspected {
    server: Child,
    port: u16,
    authority: PathBuf,
    _folder: tempfile::TempDir,
}

impl Inspected {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let openssl = |line: &str| {
            let made = Command::new("openssl")
                .args(line.split(' '))
                .output()
                .expect("openssl");
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            assert!(made.status.success(), "{line}: {said}");
        };
        let new = "req -x509 -nodes -days 90 -newkey ec -pkeyopt ec_paramgen_curve:P-256";
        let (ca, ca_key) = (at("ca.pem"), at("ca.key"));
        openssl(&format!(
            "{new} -keyout {ca_key} -out {ca} -subj /O=Example/CN=Interception"
        ));
        let (leaf, leaf_key) = (at("leaf.pem"), at("leaf.key"));
        openssl(&format!(
            "{new} -CA {ca} -CAkey {ca_key} -keyout {leaf_key} -out {leaf} -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
        ));
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &port.to_string()])
            .args(["-cert", &leaf, "-key", &leaf_key])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let up = wait_until(Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(up, "the server comes up");
        Self {
            server,
            port,
            authority: ca.into(),
            _folder: folder,
        }
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn whoever_signs_certificates_on_the_way_is_named() {
    let proxy = Inspected::start();
    let scene = Scene::new(GATEPASS);
    let with = |more: &str| {
        scene.home.config(&format!(
            "issuer = \"https://localhost:{}\"\nclient_id = \"gatepass\"\n{more}",
            proxy.port
        ));
        doctor(&scene, ANYTHING)
    };
    let distrusted = with("");
    distrusted.expect(6);
    expect(&distrusted, "tls", "failed", "`ca_file`");
    expect(&distrusted, "tls", "failed", "Interception (Example)");
    let authority = format!("ca_file = \"{}\"\n", proxy.authority.display());
    let trusted = with(&authority);
    expect(
        &trusted,
        "tls",
        "ok",
        "Interception (Example), trusted because of",
    );
    expect(&trusted, "discovery", "failed", "not JSON");
    expect(&trusted, "clock", "skipped", "no date");
}

#[test]
fn a_host_that_is_configured_wrongly_is_told() {
    let (scene, _gateway) = with_gateway("");
    let folder = scene.home.path().join(".claude");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("settings.json"),
        r#"{"apiKeyHelper":"/no/such/gatepass token --caller claude-code"}"#,
    )
    .unwrap();
    let outcome = doctor(&scene, ANYTHING);
    outcome.expect(3);
    expect(&outcome, "host-configuration", "failed", "settings.json");
    expect(&outcome, "gateway", "ok", "");
}
