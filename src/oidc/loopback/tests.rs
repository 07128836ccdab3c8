use std::io::{Read, Write};
use std::net::TcpStream;

use super::connections::CONNECTIONS;
use super::page::{Ending, Parties};
use super::redirect_handler::FORM;
use super::request::HEAD;
use super::*;
use crate::secret::Secret;

fn expected(issuer_required: bool) -> Expected {
    Expected {
        state: Secret::new("s-t-a-t-e"),
        issuer: "https://idp.example".to_owned(),
        issuer_required,
        parties: Parties {
            organisation: "Example".to_owned(),
            ..Parties::default()
        },
    }
}

#[test]
fn state_decides_before_everything_else() {
    let read = |query: &str, required| match read_parameters(query.as_bytes(), &expected(required))
    {
        None => "nothing",
        Some(AuthorizationResult::Code(_)) => "code",
        Some(AuthorizationResult::Error { .. }) => "error",
        Some(AuthorizationResult::WrongIssuer) => "wrong issuer",
    };
    for (query, required, result) in [
        ("code=c&state=s-t-a-t-e", false, "code"),
        (
            "state=s-t-a-t-e&code=c&session_state=x&scope=openid",
            false,
            "code",
        ),
        ("error=access_denied&state=s-t-a-t-e", false, "error"),
        ("error=access_denied", false, "nothing"),
        ("error=access_denied&state=s-t-a-t-e1", false, "nothing"),
        ("code=c", false, "nothing"),
        ("code=c&state=", false, "nothing"),
        ("code=c&state[]=s-t-a-t-e", false, "nothing"),
        ("code=c&state=s-t-a-t-e&state=s-t-a-t-e", false, "nothing"),
        ("code=c&code=d&state=s-t-a-t-e", false, "nothing"),
        ("code=c&error=e&state=s-t-a-t-e", false, "nothing"),
        ("state=s-t-a-t-e", false, "nothing"),
        ("code=&state=s-t-a-t-e", false, "nothing"),
        ("code=a%00b&state=s-t-a-t-e", false, "nothing"),
        (
            "code=c&state=s-t-a-t-e&iss=https%3A%2F%2Fidp.example",
            true,
            "code",
        ),
        (
            "code=c&state=s-t-a-t-e&iss=https%3A%2F%2Fidp.example1",
            false,
            "wrong issuer",
        ),
        (
            "error=e&state=s-t-a-t-e&iss=https%3A%2F%2Fevil.example",
            false,
            "wrong issuer",
        ),
        ("code=c&state=s-t-a-t-e", true, "wrong issuer"),
    ] {
        assert_eq!(read(query, required), result, "{query} {required}");
    }
}

struct Listener {
    running: LoopbackServer,
    port: u16,
}

fn listener(mode: ResponseMode) -> Listener {
    let redirect = Redirect {
        host: RedirectHost::Ipv4,
        ports: vec![0],
        path: "/callback".to_owned(),
        response_mode: mode,
    };
    let loopback = Loopback::bind(&redirect).unwrap();
    let port = loopback.redirect_uri()["http://127.0.0.1:".len()..]
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    Listener {
        running: loopback.serve(expected(false)).unwrap(),
        port,
    }
}

fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn get(port: u16, target: &str, host: &str) -> String {
    raw(
        port,
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    )
}

#[test]
fn wrong_requests_never_end_the_wait_and_the_right_one_ends_it_once() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let host = format!("127.0.0.1:{port}");
    let good = "/callback?code=c&state=s-t-a-t-e";
    let status = |answer: String| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    for (target, host, expected) in [
        ("/favicon.ico", &host[..], "404"),
        ("/", &host, "404"),
        ("/callback/", &host, "404"),
        ("/callback/done", &host, "404"),
        ("/callback?error=access_denied", &host, "400"),
        ("/callback?code=c&state=wrong", &host, "400"),
        (good, "evil.example", "421"),
        (good, &format!("localhost:{port}"), "421"),
        (&format!("http://{host}{good}"), &host, "421"),
    ] {
        assert_eq!(status(get(port, target, host)), expected, "{target} {host}");
    }
    for method in ["POST", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let request =
            format!("{method} {good} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(raw(port, request.as_bytes())), "405", "{method}");
    }
    let prefetch =
        format!("GET {good} HTTP/1.1\r\nHost: {host}\r\nSec-Purpose: prefetch;prerender\r\n\r\n");
    assert_eq!(status(raw(port, prefetch.as_bytes())), "503");
    let twice = format!("GET {good} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n");
    assert_ne!(status(raw(port, twice.as_bytes())), "303");
    assert!(running.wait(Duration::from_millis(50)).is_none());

    let browser = thread::spawn({
        let host = host.clone();
        move || get(port, good, &host)
    });
    let response = running.wait(Duration::from_secs(5)).unwrap();
    assert!(matches!(&response.answer, AuthorizationResult::Code(code) if code.expose() == "c"));
    // The first one is still being worked on; a second one is told so.
    assert_eq!(status(get(port, good, &host)), "410");
    response.tell(Ending::SignedIn {
        account: "ann@example.com".to_owned(),
        awaited: true,
    });
    let redirect = browser.join().unwrap();
    assert!(redirect.starts_with("HTTP/1.1 303"), "{redirect}");
    let end = redirect
        .split("location: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .unwrap();
    assert!(end.starts_with("/callback/done-"));
    // Reloading the address with the code leads to the end as well.
    assert!(get(port, good, &host).starts_with("HTTP/1.1 303"));
    let page = get(port, end, &host);
    for words in [
        "You are signed in",
        "ann@example.com",
        "Example",
        "lang=\"en\"",
        "content-language: en",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for header in ["no-store", "no-referrer", "nosniff", "default-src 'none'"] {
        assert!(page.contains(header), "{header}");
    }
    running.close();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn an_address_that_is_handed_over_is_judged_like_a_request() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let base = format!("http://127.0.0.1:{port}/callback");
    let long = format!("{base}?code={}&state=s-t-a-t-e", "c".repeat(HEAD.0));
    for wrong in [
        "",
        "x",
        "/",
        "code=c&state=s-t-a-t-e",
        &base,
        &format!("{base}?code=c&state=wrong"),
        &format!("{base}?error=access_denied"),
        &format!("{base}?code=c&code=d&state=s-t-a-t-e"),
        &format!("{base}?code=c#&state=s-t-a-t-e"),
        &format!("{base}/x?code=c&state=s-t-a-t-e"),
        &format!("https://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
        &format!("http://localhost:{port}/callback?code=c&state=s-t-a-t-e"),
        &format!(
            "http://127.0.0.1:{}/callback?code=c&state=s-t-a-t-e",
            port ^ 1
        ),
        &format!("http://a@127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
        &format!("http://http://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e"),
        &long,
    ] {
        assert!(!running.hand_over(wrong.as_bytes()), "{wrong}");
    }
    assert!(!running.hand_over(b"\xff"));
    assert!(running.wait(Duration::from_millis(20)).is_none());
    let right = format!(" {}?state=s-t-a-t-e&code=c#_=_\r", &base["http://".len()..]);
    assert!(running.hand_over(right.as_bytes()));
    assert!(!running.hand_over(right.as_bytes()), "once");
    let response = running.wait(Duration::from_secs(1)).unwrap();
    assert!(matches!(&response.answer, AuthorizationResult::Code(code) if code.expose() == "c"));
    response.tell(Ending::Refused);
    let started = std::time::Instant::now();
    running.close();
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "no browser is waited for"
    );

    let Listener { running, port } = listener(ResponseMode::FormPost);
    let address = format!("http://127.0.0.1:{port}/callback?code=c&state=s-t-a-t-e");
    assert!(
        !running.hand_over(address.as_bytes()),
        "a form has no address"
    );
}

#[test]
fn who_comes_too_late_is_told() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let host = format!("127.0.0.1:{port}");
    running.expire();
    let redirect = get(port, "/callback?code=c&state=s-t-a-t-e", &host);
    let end = redirect
        .split("location: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .unwrap();
    assert!(get(port, end, &host).contains("This sign-in has expired"));
    let other = get(port, "/callback?code=c&state=x", &host);
    assert!(other.starts_with("HTTP/1.1 400"), "{other}");
    assert!(running.wait(Duration::from_millis(20)).is_none());
}

#[test]
fn slow_huge_and_malformed_requests_do_not_delay_the_right_one() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let host = format!("127.0.0.1:{port}");
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = stream.write_all(b"GET /call");
        slow.push(stream);
    }
    let long = format!(
        "GET /callback?{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "x".repeat(100_000)
    );
    for junk in [
        long.as_bytes(),
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = stream.write_all(junk);
        }
    }
    let started = std::time::Instant::now();
    let browser = thread::spawn(move || get(port, "/callback?code=c&state=s-t-a-t-e", &host));
    let response = running.wait(Duration::from_secs(5)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
    response.tell(Ending::Refused);
    assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
}

#[test]
fn form_post_takes_forms_only() {
    let Listener { running, port } = listener(ResponseMode::FormPost);
    let host = format!("127.0.0.1:{port}");
    assert!(get(port, "/callback?code=c&state=s-t-a-t-e", &host).starts_with("HTTP/1.1 405"));
    let body = "code=c&state=s-t-a-t-e";
    let post = |kind: &str| {
        format!(
            "POST /callback HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert!(raw(port, post("text/plain").as_bytes()).starts_with("HTTP/1.1 415"));
    let good = post("application/x-www-form-urlencoded");
    let browser = thread::spawn(move || raw(port, good.as_bytes()));
    running
        .wait(Duration::from_secs(5))
        .unwrap()
        .tell(Ending::Expired);
    assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
}

#[test]
fn a_taken_port_is_not_shared() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let redirect = |ports| Redirect {
        host: RedirectHost::Ipv4,
        ports,
        path: "/callback".to_owned(),
        response_mode: ResponseMode::Query,
    };
    let failure = Loopback::bind(&redirect(vec![port])).unwrap_err();
    assert_eq!(failure.id.exit_code(), 3);
    assert!(Loopback::bind(&redirect(vec![port, 0])).is_ok());
}

#[test]
fn only_exactly_our_address_is_ours() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let good = "/callback?code=c&state=s-t-a-t-e";
    let ours = format!("127.0.0.1:{port}");
    let status = |request: String| {
        let answer = raw(port, request.as_bytes());
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    for host in [
        String::new(),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("127.0.0.1:0{port}"),
        format!("127.0.0.1.:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("LOCALHOST:{port}"),
        format!("a@{ours}"),
        format!("{ours}, evil.example"),
        format!("evil.example:{port}"),
    ] {
        let request = format!("GET {good} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(request), "421", "{host}");
    }
    for (head, expected) in [
        (format!("GET {good} HTTP/1.1\r\n"), "421"),
        (format!("GET {good} HTTP/1.0\r\n"), "421"),
        (
            format!("GET http://{ours}{good} HTTP/1.1\r\nHost: {ours}\r\n"),
            "421",
        ),
        (
            format!("GET https://evil.example{good} HTTP/1.1\r\nHost: {ours}\r\n"),
            "421",
        ),
        (
            format!("CONNECT {ours} HTTP/1.1\r\nHost: {ours}\r\n"),
            "421",
        ),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {ours}\r\n"), "404"),
        (
            format!("GET /%63allback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET //callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET /x/../callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET /Callback?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET /callback;x?code=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET /callback%3Fcode=c&state=s-t-a-t-e HTTP/1.1\r\nHost: {ours}\r\n"),
            "404",
        ),
        (
            format!("GET {good} HTTP/1.1\r\nHost: {ours}\r\nTransfer-Encoding: chunked\r\n"),
            "400",
        ),
        (
            format!(
                "GET {good} HTTP/1.1\r\nHost: {ours}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
            ),
            "400",
        ),
        (
            format!("GET {good} HTTP/1.1\r\nHost: {ours}\r\nOrigin: https://evil.example\r\n"),
            "403",
        ),
        (
            format!(
                "GET {good} HTTP/1.1\r\nHost: {ours}\r\nOrigin: null\r\nOrigin: https://evil.example\r\n"
            ),
            "403",
        ),
        (
            format!("GET {good} HTTP/1.1\r\nHost: {ours}\r\nPurpose: x\r\nPurpose: Prefetch\r\n"),
            "503",
        ),
        (format!("get {good} HTTP/1.1\r\nHost: {ours}\r\n"), "405"),
        (format!("GET {good} HTTP/2.0\r\nHost: {ours}\r\n"), "400"),
        (format!("GET {good}\r\n"), "400"),
    ] {
        assert_eq!(status(format!("{head}\r\n")), expected, "{head}");
    }
    assert!(running.wait(Duration::from_millis(50)).is_none());
}

#[test]
fn nothing_of_a_request_comes_back_and_every_answer_is_guarded() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let ours = format!("127.0.0.1:{port}");
    let canary = "c4n4ry";
    for target in [
        format!("/{canary}"),
        format!("/callback?{canary}={canary}"),
        format!("/callback?error={canary}&error_description=%3Cscript%3E{canary}%3C/script%3E"),
        format!("/callback?state={canary}&error_uri=https://{canary}.example"),
        format!("/callback?redirect=//{canary}.example"),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {ours}\r\nCookie: {canary}\r\nOrigin: null\r\nAccept-Language: {canary}\r\n\r\n"
        );
        let answer = raw(port, request.as_bytes()).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 40"), "{answer}");
        assert!(!answer.contains(canary), "{target}: {answer}");
        for guard in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "cross-origin-opener-policy: same-origin",
            "connection: close",
        ] {
            assert!(answer.contains(guard), "{target}: {guard}");
        }
        for never in ["access-control-", "location:", "set-cookie:"] {
            assert!(!answer.contains(never), "{target}: {never}");
        }
    }
    // What is no address at all is the HTTP library's to refuse, without a word.
    let request = format!("GET /callback?<{canary}> HTTP/1.1\r\nHost: {ours}\r\n\r\n");
    let answer = raw(port, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("\r\n\r\n"));
    assert!(!answer.contains(canary));
    drop(running);
}

#[test]
fn a_crowd_cannot_push_out_the_browser_that_brought_the_response() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let host = format!("127.0.0.1:{port}");
    let browser = thread::spawn(move || get(port, "/callback?code=c&state=s-t-a-t-e", &host));
    let response = running.wait(Duration::from_secs(5)).unwrap();
    let crowd: Vec<TcpStream> = (0..CONNECTIONS * 2)
        .filter_map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.write_all(b"GET /").ok()?;
            Some(stream)
        })
        .collect();
    assert_eq!(crowd.len(), CONNECTIONS * 2);
    // One more that is answered: by then the whole crowd has been let in.
    let last = get(port, "/favicon.ico", "x");
    assert!(last.starts_with("HTTP/1.1 421"), "{last}");
    response.tell(Ending::Refused);
    assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
}

#[test]
fn of_many_right_responses_at_once_one_counts() {
    let Listener { running, port } = listener(ResponseMode::Query);
    let browsers: Vec<_> = (0..50)
        .map(|number| {
            let target = format!("/callback?code=c{number}&state=s-t-a-t-e");
            thread::spawn(move || get(port, &target, &format!("127.0.0.1:{port}")))
        })
        .collect();
    let response = running.wait(Duration::from_secs(5)).unwrap();
    assert!(running.wait(Duration::from_millis(300)).is_none());
    response.tell(Ending::Refused);
    let answers: Vec<String> = browsers
        .into_iter()
        .map(|one| one.join().unwrap())
        .collect();
    assert!(answers.iter().all(|answer| {
        answer.starts_with("HTTP/1.1 303") || answer.starts_with("HTTP/1.1 410")
    }));
    assert!(running.wait(Duration::from_millis(50)).is_none());
}

#[test]
fn bodies_are_bounded_in_time_and_size_and_read_from_forms_alone() {
    let Listener { running, port } = listener(ResponseMode::FormPost);
    let host = format!("127.0.0.1:{port}");
    let form = "application/x-www-form-urlencoded";
    let post = |headers: &str, body: &str| {
        let request = format!("POST /callback HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n{body}");
        raw(port, request.as_bytes())
    };
    let good = "code=c&state=s-t-a-t-e";
    let length = good.len();
    for (headers, body, expected) in [
        (format!("Content-Length: {length}\r\n"), good, "415"),
        (
            format!(
                "Content-Type: {form}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n"
            ),
            good,
            "415",
        ),
        (
            format!(
                "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n"
            ),
            good,
            "415",
        ),
        (
            format!("Content-Type: {form}\r\nTransfer-Encoding: chunked\r\n"),
            "16\r\ncode=c&state=s-t-a-t-e\r\n0\r\n\r\n",
            "400",
        ),
        (
            format!("Content-Type: {form}\r\nContent-Length: 3\r\nContent-Length: {length}\r\n"),
            good,
            "400",
        ),
        (
            format!("Content-Type: {form}\r\nContent-Length: -1\r\n"),
            good,
            "400",
        ),
        (
            format!("Content-Type: {form}\r\nContent-Length: 999999999\r\n"),
            "",
            "400",
        ),
        (
            format!("Content-Type: {form}\r\nContent-Length: 9\r\n"),
            "state=s-t",
            "400",
        ),
        (
            format!("Content-Type: {form}\r\nContent-Length: 24\r\n"),
            "error=e&state=s-t-a-t-e1",
            "400",
        ),
    ] {
        let answer = post(&headers, body);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{headers}: {answer}"
        );
    }
    let huge = format!("{good}&x={}", "x".repeat(FORM));
    let answer = post(
        &format!("Content-Type: {form}\r\nContent-Length: {}\r\n", huge.len()),
        &huge,
    );
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    // The query of a form's address is not read.
    let request = format!(
        "POST /callback?{good} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {form}\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(raw(port, request.as_bytes()).starts_with("HTTP/1.1 4"));
    assert!(running.wait(Duration::from_millis(50)).is_none());
    let browser = thread::spawn({
        let request = format!(
            "POST /callback HTTP/1.1\r\nHost: {host}\r\nOrigin: https://idp.example\r\nContent-Type: {form}; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{good}"
        );
        move || raw(port, request.as_bytes())
    });
    running
        .wait(Duration::from_secs(5))
        .unwrap()
        .tell(Ending::Refused);
    assert!(browser.join().unwrap().starts_with("HTTP/1.1 303"));
}

#[test]
fn a_port_that_somebody_has_on_every_address_is_taken() {
    for everywhere in ["0.0.0.0:0", "[::]:0"] {
        let Ok(taken) = TcpListener::bind(everywhere) else {
            continue;
        };
        let port = taken.local_addr().unwrap().port();
        for host in [RedirectHost::Ipv4, RedirectHost::Localhost] {
            let redirect = Redirect {
                host,
                ports: vec![port],
                path: "/callback".to_owned(),
                response_mode: ResponseMode::Query,
            };
            assert!(Loopback::bind(&redirect).is_err(), "{everywhere} {host:?}");
        }
    }
}
