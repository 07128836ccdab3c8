//! Corporate networks: proxies that are named here and there, that ask who comes, that look into TLS; portals and
//! broken ways. With a real proxy through which the provider's name is reached.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use gatepass_testkit::lab::{
    ClientKey, Gatepass, Guard, Network, Outcome, Person, Scene, needs_mounts,
};
use gatepass_testkit::provider::{Fault, Hook, Provider, Response, Settings};

use crate::GATEPASS;

const HOST: &str = "idp.corp.example";

/// A provider of another machine's name, reached through the network's proxy alone.
struct Office {
    scene: Scene<Provider>,
    network: Network,
    certificate: ClientKey,
}

fn office(guard: Guard) -> Office {
    let certificate = ClientKey::new("P-256", &[HOST]);
    let provider = Provider::start(Settings {
        base: Some(format!("https://{HOST}")),
        device_interval_seconds: 1,
        ..Settings::default()
    });
    let network = Network::start(provider.port(), &certificate, guard);
    let scene = Scene::around(GATEPASS, provider, Person::without_browser());
    let office = Office {
        scene,
        network,
        certificate,
    };
    office.configure("");
    office
}

impl Office {
    fn configure(&self, more: &str) {
        self.scene.configure(&format!(
            "ca_file = '{}'\n{more}",
            self.certificate.certificate().display()
        ));
    }

    fn login(&self) -> Gatepass {
        self.scene.gatepass(["login", "--device"])
    }

    /// Signs in; the person confirms on a telephone.
    fn signed_in(&self, login: Gatepass) -> Outcome {
        let login = login.spawn();
        let provider = &self.scene.provider;
        assert!(
            gatepass_testkit::lab::wait_until(Duration::from_secs(20), || {
                let codes = provider.pending_user_codes();
                codes.iter().any(|code| provider.confirm_device(code))
            }),
            "{:?}",
            login.wait()
        );
        login.wait()
    }
}

#[test]
fn every_request_goes_through_the_proxy_that_somebody_named() {
    let open = Guard::default;
    let closed = || Guard {
        password: Some("ann:pass word+1"),
        ..Guard::default()
    };
    let secure = || Guard {
        secure: true,
        ..Guard::default()
    };
    for (guard, variable, credentials) in [
        (open(), Some("HTTPS_PROXY"), ""),
        (open(), Some("https_proxy"), ""),
        (open(), Some("all_proxy"), ""),
        (open(), None, ""),
        (closed(), Some("HTTPS_PROXY"), "ann:pass%20word+1@"),
        (closed(), None, "ann:pass%20word+1@"),
        (secure(), None, ""),
    ] {
        let name = format!("{guard:?} {variable:?}");
        let office = office(guard);
        let proxy = office.network.proxy(credentials);
        let mut said = String::new();
        let run = |run: Gatepass| match variable {
            // The configuration stands over the environment.
            None => run.env("HTTPS_PROXY", "http://127.0.0.1:1"),
            Some(variable) => run.env(variable, &proxy),
        };
        if variable.is_none() {
            office.configure(&format!("proxy = '{proxy}'"));
        }
        let login = office.signed_in(run(office
            .login()
            .args(["-v"])
            .env("GATEPASS_LOG", "debug")));
        assert_eq!(login.code, 0, "{name}: {}", login.stderr);
        said += &login.stderr;
        let scene = &office.scene;
        let before = run(scene.gatepass([]).context("background")).run().token();
        let refresh = run(scene.gatepass(["token", "--force-refresh", "-v"]))
            .env("GATEPASS_LOG", "debug")
            .run();
        assert_eq!(refresh.code, 0, "{name}: {}", refresh.stderr);
        assert_ne!(refresh.stdout.trim(), before, "{name}");
        said += &refresh.stderr;
        run(scene.gatepass(["logout"])).run().expect(0);
        assert_eq!(scene.provider.count("/revoke"), 1, "{name}");
        let tunnels = office.network.tunnels();
        assert!(!tunnels.is_empty(), "{name}");
        assert!(
            tunnels.iter().all(|to| to == &format!("{HOST}:443")),
            "{tunnels:?}"
        );

        // The password is nowhere to be seen.
        let shown = run(scene.gatepass(["config", "show"])).run();
        for text in [&said, &shown.stdout, &shown.stderr] {
            assert!(
                !text.contains("pass%20word") && !text.contains("pass word"),
                "{text}"
            );
        }
    }
}

#[test]
fn exceptions_are_reached_without_the_proxy() {
    let office = office(Guard::default());
    let proxy = office.network.proxy("");
    for except in [
        "corp.example",
        ".corp.example",
        "*",
        "a.example, *.corp.example",
        "idp.corp.example:443",
    ] {
        let run = office
            .login()
            .env("HTTPS_PROXY", &proxy)
            .env("no_proxy", except)
            .limit(Duration::from_secs(60))
            .run();
        // The name means nothing outside the network.
        run.expect(6);
        assert!(
            run.stderr.contains(HOST) && !run.stderr.contains("proxy http"),
            "{except}: {run:?}"
        );
    }
    assert_eq!(office.network.tunnels(), [""; 0]);
}

#[test]
fn a_provider_on_this_machine_is_never_asked_for_through_a_proxy() {
    let network = Network::start(1, &ClientKey::new("P-256", &[]), Guard::default());
    let scene = Scene::scripted(GATEPASS, Settings::default());
    scene.configure(&format!("proxy = '{}'", network.proxy("")));
    let proxy = network.proxy("");
    let login = scene.gatepass(["login", "--browser"]);
    let login = login.env("HTTP_PROXY", &proxy).env("ALL_PROXY", &proxy);
    login.run().expect(0);
    assert_eq!(network.tunnels(), [""; 0]);
}

#[test]
fn what_is_in_the_way_is_named_and_so_is_the_way_out() {
    let asks = |schemes: &[&'static str]| Guard {
        password: Some("ann:right"),
        schemes: schemes.to_vec(),
        ..Guard::default()
    };
    let refuses = |status| Guard {
        refuses: Some(status),
        ..Guard::default()
    };
    for (guard, credentials, said) in [
        (
            asks(&[]),
            "",
            &[
                "sign-in by Basic (407)",
                "put name and password into `proxy`",
            ][..],
        ),
        (
            asks(&[]),
            "ann:wrong@",
            &["does not take the given name", "correct name and password"],
        ),
        (
            asks(&["Negotiate", "NTLM"]),
            "",
            &[
                "sign-in by Negotiate, NTLM (407), which gatepass cannot do",
                "exempted",
            ],
        ),
        (
            asks(&["Negotiate"]),
            "ann:right2@",
            &["Negotiate", "cannot do"],
        ),
        (
            asks(&["NTLM", "Basic realm=\"x\""]),
            "",
            &["NTLM, Basic", "put name and password"],
        ),
        (
            refuses(403),
            "",
            &["it answers 403", "allow the provider's host"],
        ),
        (refuses(502), "", &["it answers 502"]),
    ] {
        let office = office(guard);
        let proxy = office.network.proxy(credentials);
        let run = office.login().env("HTTPS_PROXY", &proxy).run();
        run.expect(6);
        for words in said {
            assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
        }
        assert!(
            run.stderr.contains(&office.network.proxy("")),
            "{}",
            run.stderr
        );
        assert!(!run.stderr.contains("wrong@") && !run.stderr.contains("right2"));
    }
}

#[test]
fn a_proxy_that_is_not_there_or_of_another_kind_is_named() {
    let office = office(Guard::default());
    let dead = office
        .login()
        .env("HTTPS_PROXY", "http://ann:s3cret@127.0.0.1:1");
    let dead = dead.limit(Duration::from_secs(60)).run();
    dead.expect(6);
    assert!(
        dead.stderr.contains("through the proxy http://127.0.0.1:1")
            && !dead.stderr.contains("s3cret"),
        "{dead:?}"
    );
    let socks = office
        .login()
        .env("ALL_PROXY", "socks5://127.0.0.1:1")
        .run();
    socks.expect(3);
    assert!(socks.stderr.contains("socks5"), "{socks:?}");
}

#[test]
fn a_proxy_that_cannot_be_understood_is_told_without_its_password() {
    let office = office(Guard::default());
    for proxy in [
        "http://xaver:4711/s3cret@127.0.0.1:1",
        "http://xaver:s3cret@127.0.0.1:port",
    ] {
        let login = office.login().env("HTTPS_PROXY", proxy).run();
        login.expect(3);
        let doctor = office.scene.gatepass(["doctor"]);
        let doctor = doctor.env("HTTPS_PROXY", proxy).run();
        doctor.expect(3);
        for text in [&login.stderr, &doctor.stdout] {
            assert!(
                text.contains("the proxy from the environment has an address"),
                "{text}"
            );
        }
        for text in [&login.stderr, &doctor.stdout, &doctor.stderr] {
            assert!(!text.contains("4711") && !text.contains("s3cret"), "{text}");
        }
    }
    // Nobody was asked, not even without the proxy.
    assert_eq!(office.scene.provider.requests().len(), 0);
}

#[test]
fn a_certificate_that_is_not_trusted_is_told_by_its_issuer() {
    let office = office(Guard::default());
    let proxy = office.network.proxy("");
    // The network looks into TLS, and nobody told this machine.
    office.scene.configure("");
    let run = office.login().env("HTTPS_PROXY", &proxy).run();
    run.expect(6);
    assert!(
        run.stderr.contains("issued by \"gatepass lab (Test lab)\"")
            && run.stderr.contains("`ca_file`"),
        "{run:?}"
    );
    // Somebody's environment does not decide whom gatepass trusts.
    let certificate = office.certificate.certificate().display().to_string();
    let run = office.login().env("HTTPS_PROXY", &proxy);
    run.env("SSL_CERT_FILE", &certificate).run().expect(6);
    assert_eq!(office.scene.provider.requests().len(), 0);

    // A portal's certificate is good for the portal.
    office.scene.home.config(&format!(
        "issuer = 'https://other.example'\nclient_id = 'gatepass'\nca_file = '{certificate}'\n"
    ));
    let run = office.login().env("HTTPS_PROXY", &proxy).run();
    run.expect(6);
    assert!(
        run.stderr.contains("for another host") && run.stderr.contains("network sign-in page"),
        "{run:?}"
    );
}

#[test]
fn a_portal_in_the_way_is_recognised_and_the_session_stays() {
    let scene = Scene::scripted(GATEPASS, Settings::default());
    scene.login();
    let token = scene.background().token();
    let faults: [fn() -> Fault; 5] = [
        || Fault::html("<h1>Welcome to the hotel"),
        || Fault::elsewhere(302, "http://portal.example/"),
        || Fault::elsewhere(307, "https://portal.example/"),
        || Fault::reply(Response::html(511, "<p>Sign in to this network")),
        || Fault::status(511),
    ];
    for fault in faults {
        for hook in [Hook::Discovery, Hook::RefreshGrant] {
            scene.provider.clear_script();
            scene.provider.script(hook, fault());
            let run = match hook {
                Hook::Discovery => scene.gatepass(["login", "--browser"]).run(),
                _ => scene.gatepass(["token", "--force-refresh"]).run(),
            };
            run.expect(6);
            assert!(
                run.stderr.contains("network sign-in page"),
                "{hook:?}, {:?}: {}",
                fault(),
                run.stderr
            );
        }
    }
    scene.provider.clear_script();
    assert_eq!(scene.background().token(), token);
    scene.gatepass(["token", "--force-refresh"]).run().token();
}

#[test]
fn a_slow_way_is_waited_for_as_long_as_the_caller_can() {
    let scene = Scene::scripted(GATEPASS, Settings::default());
    scene
        .provider
        .script(Hook::Token, Fault::Delay(Duration::from_secs(3)));
    scene.login();
    let before = scene.background().token();
    let after = scene.gatepass(["token", "--force-refresh"]).run();
    assert_ne!(after.token(), before);
    assert!(after.elapsed >= Duration::from_secs(3));
}

#[test]
fn a_provider_with_ipv6_alone_is_reached() {
    let front = TcpListener::bind("[::1]:0").unwrap();
    let port = front.local_addr().unwrap().port();
    let provider = Provider::start(Settings {
        base: Some(format!("http://[::1]:{port}")),
        auto_approve: true,
        ..Settings::default()
    });
    let behind = provider.port();
    thread::spawn(move || {
        for client in front.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", behind)) else {
                return;
            };
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    let scene = Scene::around(GATEPASS, provider, Person::without_browser());
    scene.configure("redirect_host = '[::1]'");
    scene.login();
    let before = scene.background().token();
    let after = scene.gatepass(["token", "--force-refresh"]).run().token();
    assert_ne!(before, after);
    let opened = scene.provider.requests();
    let opened = opened
        .iter()
        .find(|seen| seen.path == "/authorize")
        .unwrap();
    let redirect = opened.parameter("redirect_uri").unwrap();
    assert!(redirect.starts_with("http://[::1]:"), "{redirect}");
}

#[test]
fn a_bare_environment_finds_the_bus_and_the_keychain() {
    needs_mounts();
    let scene = Scene::scripted(GATEPASS, Settings::default());
    scene.configure("cache = 'none'");
    scene.login();
    // A folder of this name belongs to the session of the user who runs the tests: the run gets its own view of it.
    let script = format!(
        "user=/run/user/$(id -u) && mount -t tmpfs none /run/user && mkdir -m 700 $user \
         && mount --bind '{}' $user && exec env -i HOME=\"$HOME\" PATH=\"$PATH\" '{GATEPASS}' \"$@\"",
        scene.keyring.runtime_folder().display()
    );
    let bare = |arguments: &[&str]| {
        Gatepass::new("/usr/bin/unshare", &scene.home)
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .args(arguments.iter().copied())
            .run()
    };
    let token = bare(&["token", "--caller", "codex"]).token();
    let renewed = bare(&["token", "--caller", "codex", "--force-refresh"]).token();
    assert_ne!(token, renewed);
    // Without that folder there is no bus to be found.
    let lost = Gatepass::new("/usr/bin/unshare", &scene.home);
    let lost = lost.args(["--mount", "--propagation", "private", "sh", "-c"]);
    let script = format!("mount -t tmpfs none /run/user && exec '{GATEPASS}' token --caller codex");
    lost.args([script.as_str()]).run().expect(7);
}
