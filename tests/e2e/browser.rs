//! Signing in through a browser, and what a host gets afterwards: with a certified provider, a real keychain and, where
//! the page matters, a real Chromium.

use std::net::TcpListener;
use std::time::Duration;

use gatepass_testkit::lab::{Leak, Person, Scene, Settings, scan_for_secrets};

use crate::GATEPASS;

const QUICK: Duration = Duration::from_secs(1);

fn with_chromium(person: Person) -> Scene {
    Scene::with(GATEPASS, &Settings::default(), person)
}

#[test]
fn a_person_signs_in_through_chromium() {
    let scene = with_chromium(Person::with_chromium());
    let page = scene.login();

    assert_eq!((page.error(), page.status()), (None, 200), "{page:?}");
    let words = format!("{} {}", page.title(), page.text()).to_lowercase();
    assert!(words.contains("signed in"), "{page:?}");
    assert!(page.url().starts_with("http://127.0.0.1:"), "{page:?}");
    assert_eq!(page.complaints_but_from(scene.provider.issuer()), [""; 0]);

    // Nothing of the sign-in stays where the next person at this screen could find it.
    assert!(
        !page.back().iter().any(|url| url.contains("code=")),
        "{:?}",
        page.back()
    );
    for secret in scene.provider.secrets() {
        assert!(
            !page.html().contains(&secret) && !page.url().contains(&secret),
            "{page:?}"
        );
    }
    assert!(
        page.header("cache-control").contains("no-store"),
        "{:?}",
        page.all["headers"]
    );
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(!page.html().contains("<script"));
}

#[test]
fn a_host_gets_the_token_without_a_word_and_without_a_request() {
    let scene = Scene::new(GATEPASS).signed_in();
    let issued = scene.provider.secrets_of("access_token");
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].split('.').count(), 3, "a JWT");

    for context in [
        None,
        Some("background"),
        Some("interactive"),
        Some("something-new"),
    ] {
        let run = scene.gatepass([]);
        let run = context
            .map_or(run.clone(), |context| run.context(context))
            .run();
        assert_eq!(run.token(), issued[0], "{context:?}");
        run.within(QUICK);
    }
    for caller in [
        "claude-desktop",
        "claude-code",
        "codex",
        "terminal",
        "script",
        "auto",
    ] {
        assert_eq!(
            scene.gatepass(["token", "--caller", caller]).run().token(),
            issued[0],
            "{caller}"
        );
    }
    assert_eq!(scene.provider.requests(), [""; 0], "the cache answers");
}

#[test]
fn every_form_of_output_carries_the_same_token() {
    let scene = Scene::new(GATEPASS).signed_in();
    let token = &scene.provider.secrets_of("access_token")[0];
    let printed = |form: &str| {
        let run = scene.gatepass(["token", "--output", form]).run();
        assert_eq!(run.expect(0).stderr, "");
        run
    };
    assert_eq!(printed("bare").stdout, format!("{token}\n"));
    assert_eq!(
        printed("header").stdout,
        format!("Authorization: Bearer {token}\n")
    );
    assert_eq!(
        printed("json").json(),
        serde_json::json!({"token": token, "headers": {}})
    );
    assert_eq!(printed("json").stdout.lines().count(), 1);
    assert_eq!(
        printed("headers").json(),
        serde_json::json!({"Authorization": format!("Bearer {token}")})
    );
}

#[test]
fn status_tells_who_and_never_a_secret() {
    let scene = Scene::new(GATEPASS);
    let before = scene.gatepass(["status", "--json"]).run();
    assert_eq!(before.code, 4);
    before.json();

    let scene = scene.signed_in();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let status = scene.gatepass(arguments.iter().copied()).run();
        status.expect(0);
        assert!(status.stdout.contains("alice"), "{status:?}");
        assert!(
            status
                .stdout
                .contains(scene.provider.issuer().strip_prefix("http://").unwrap()),
            "{status:?}"
        );
        for secret in scene.provider.secrets() {
            assert!(!status.stdout.contains(&secret) && !status.stderr.contains(&secret));
        }
    }
    scene.gatepass(["status", "--json"]).run().json();
    assert_eq!(scene.provider.requests(), [""; 0], "nobody is asked");
}

#[test]
fn no_secret_lies_in_a_file_or_in_what_is_said() {
    let scene = Scene::new(GATEPASS);
    let mut said = String::new();
    for arguments in [
        &["login", "--browser", "-v"][..],
        &["token", "-v"],
        &["token", "--force-refresh", "-v"],
        &["status", "-v"],
        &["config", "show"],
    ] {
        let run = scene
            .gatepass(arguments.iter().copied())
            .env("GATEPASS_LOG", "debug")
            .run();
        run.expect(0);
        said += &run.stderr;
    }
    let secrets = scene.provider.secrets();
    assert!(
        secrets.len() >= 7,
        "two of each kind and a code: {}",
        secrets.len()
    );
    for place in [scene.home.path(), &scene.keyring.runtime_folder()] {
        assert_eq!(scan_for_secrets(place, &secrets), [] as [Leak; 0]);
    }
    assert!(
        !secrets.iter().any(|secret| said.contains(secret)),
        "{said}"
    );

    // The search does find what is there: the keychain's entry holds the newest refresh token and no older one.
    let entry = scene
        .keyring
        .lookup("default")
        .expect("an entry of this name");
    let refresh_tokens = scene.provider.secrets_of("refresh_token");
    assert_eq!(
        refresh_tokens
            .iter()
            .map(|one| entry.contains(one))
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn a_refused_sign_in_says_so_on_both_sides() {
    let scene = with_chromium(Person::with_chromium().who_refuses());
    let login = scene.gatepass(["login", "--browser"]).run();
    login.expect(5);
    assert_eq!(login.stdout, "");

    let page = scene
        .person
        .saw_within(Duration::from_secs(30))
        .expect("the person saw the last page");
    assert_eq!(page.error(), None, "{page:?}");
    let words = format!("{} {}", page.title(), page.text()).to_lowercase();
    assert!(
        words.contains("not ") && !words.contains("you are signed in"),
        "{page:?}"
    );
    assert!(!page.url().contains("error="), "{page:?}");
    assert_eq!(page.complaints_but_from(scene.provider.issuer()), [""; 0]);

    assert!(scene.keyring.items_snapshot().is_empty());
    let host = scene.background();
    host.expect(4);
    host.within(QUICK);
}

#[test]
fn a_refused_new_sign_in_leaves_the_old_session_alone() {
    let mut scene = Scene::new(GATEPASS).signed_in();
    let (entries, token) = (scene.keyring.items_snapshot(), scene.background().token());
    scene.enters(Person::without_browser().who_refuses());
    scene.gatepass(["login", "--browser"]).run().expect(5);
    assert!(
        scene.keyring.items_snapshot() == entries,
        "the keychain was touched"
    );
    assert_eq!(scene.background().token(), token);
}

#[test]
fn another_person_replaces_the_session() {
    let mut scene = Scene::new(GATEPASS).signed_in();
    let of_alice = scene.background().token();
    scene.enters(Person::without_browser().named("bob"));
    scene.login();
    let of_bob = scene.background().token();
    assert_ne!(of_bob, of_alice);
    let status = scene.gatepass(["status", "--json"]).run();
    assert!(
        status.stdout.contains("bob") && !status.stdout.contains("alice"),
        "{}",
        status.stdout
    );
}

#[test]
fn without_a_session_a_silent_caller_is_told_at_once_and_nothing_opens() {
    let scene = Scene::new(GATEPASS);
    for run in [
        scene.gatepass([]).context("background"),
        scene.gatepass([]).context("mid-session-refresh"),
        scene.gatepass([]).context("something-new"),
        scene.gatepass(["token", "--caller", "claude-desktop"]),
        scene.gatepass(["token", "--caller", "claude-code"]),
        scene.gatepass(["token", "--caller", "codex"]),
        scene
            .gatepass(["token", "--interactive", "never"])
            .context("interactive"),
        scene.gatepass([]),
    ] {
        let done = run.run();
        done.expect(4);
        assert_eq!(done.stdout, "");
        done.within(QUICK);
        assert!(
            done.stderr.contains("[sign-in-required]") && done.stderr.contains("gatepass login"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(scene.provider.requests(), [""; 0]);
    assert!(scene.person.saw().is_none());
}

#[test]
fn an_interactive_call_signs_the_person_in() {
    let scene = with_chromium(Person::with_chromium());
    let token = scene.gatepass([]).context("interactive").run().token();
    assert_eq!(
        scene.provider.secrets_of("access_token").last(),
        Some(&token)
    );
    assert_eq!(scene.background().token(), token);
    // The page stays open a moment longer than the sign-in takes.
    let page = scene
        .person
        .saw_within(Duration::from_secs(30))
        .expect("the person saw the last page");
    assert!(page.text().contains("You are signed in"), "{page:?}");
}

#[test]
fn a_call_from_a_terminal_signs_the_person_in() {
    let scene = Scene::new(GATEPASS);
    let run = scene.gatepass([]).spawn_on_terminal().wait();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout,
        format!("{}\n", scene.provider.secrets_of("access_token")[0])
    );
}

#[test]
fn after_a_refusal_hosts_open_nothing_until_the_person_signs_in() {
    let mut scene = Scene::with(
        GATEPASS,
        &Settings::default(),
        Person::without_browser().who_refuses(),
    );
    scene.gatepass([]).context("interactive").run().expect(5);
    scene.provider.clear();
    scene.gatepass([]).context("interactive").run().expect(4);
    scene
        .gatepass(["token", "--interactive", "always"])
        .run()
        .expect(4);
    assert_eq!(
        scene.provider.count("authorization.error"),
        0,
        "nothing was opened"
    );
    scene.enters(Person::without_browser());
    scene.login();
    scene.background().token();
}

#[test]
fn interactive_calls_at_once_share_one_sign_in() {
    let scene = Scene::new(GATEPASS);
    let running: Vec<_> = (0..4)
        .map(|_| scene.gatepass([]).context("interactive").spawn())
        .collect();
    let tokens: Vec<String> = running.into_iter().map(|run| run.wait().token()).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(scene.provider.count("authorization.success"), 1);
    assert_eq!(scene.provider.count("grant.success"), 1);
}

#[test]
fn a_sign_in_outlives_the_impatient_host_that_started_it() {
    let scene = with_chromium(Person::with_chromium().who_waits(Duration::from_secs(3)));
    let host = scene.gatepass([]).context("interactive").spawn();
    assert!(
        scene.provider.wait_for("request", Duration::from_secs(30)),
        "the browser came"
    );
    host.kill();
    let page = scene
        .person
        .saw_within(Duration::from_secs(40))
        .expect("the person saw the last page");
    assert_eq!((page.error(), page.status()), (None, 200), "{page:?}");
    assert!(
        scene
            .provider
            .wait_for("grant.success", Duration::from_secs(10))
    );
    let next = scene.gatepass([]).context("interactive").run();
    assert_eq!(scene.provider.secrets_of("access_token"), [next.token()]);
}

#[test]
fn a_form_post_leaves_no_code_even_in_the_browsers_own_files() {
    let scene = with_chromium(Person::with_chromium());
    scene.configure("response_mode = \"form_post\"");
    let page = scene.login();
    assert_eq!((page.error(), page.status()), (None, 200), "{page:?}");
    assert!(
        !page.visited().iter().any(|url| url.contains("code=")),
        "{:?}",
        page.visited()
    );
    assert!(!page.profile_has_code());
    scene.background().token();
}

#[test]
fn every_redirect_host_and_every_way_to_ask_works() {
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for line in [
        "redirect_host = \"127.0.0.1\"",
        "redirect_host = \"localhost\"",
        "redirect_host = \"[::1]\"",
        "par = \"never\"",
        "token = \"id_token\"",
        "scopes = [\"openid\", \"offline_access\"]",
        "resource = [\"https://gateway.example.test/\"]",
        "cache = \"none\"",
        "cache = \"keychain\"",
    ] {
        if line.contains("::1") && !has_ipv6 {
            continue;
        }
        let scene = Scene::new(GATEPASS);
        scene.configure(line);
        scene.login();
        let kind = if line.contains("id_token") {
            "id_token"
        } else {
            "access_token"
        };
        let token = scene.background().token();
        assert_eq!(
            scene.provider.secrets_of(kind).last(),
            Some(&token),
            "{line}"
        );
    }
}

#[test]
fn a_taken_redirect_port_is_a_matter_of_configuration() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let scene = Scene::new(GATEPASS);
    scene.configure(&format!("redirect_ports = [{port}]"));
    scene.gatepass(["login", "--browser"]).run().expect(3);
    scene.configure(&format!("redirect_ports = [{port}, 0]"));
    scene.login();
}
