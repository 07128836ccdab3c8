//! A provider that lies, fails or talks nonsense, and one that behaves in unusual ways: the documented exit code,
//! nothing on standard output, nothing stored, no secret in the most talkative log.

use gatepass_testkit::lab::{Outcome, Scene};
use gatepass_testkit::provider::{self, Fault, Forgery, Hook, Provider, Response, When};
use serde_json::{Value, json};

use crate::GATEPASS;

type Case = (&'static str, Hook, Fault, i32);

/// One case in each line: what is wrong, where it strikes, with what, and the exit code.
macro_rules! table {
    ($($name:literal at $hook:ident: $fault:expr => $code:literal;)*) => {
        vec![$(($name, $hook, $fault, $code)),*]
    };
    ($($name:literal at $hook:ident: $fault:expr;)*) => {
        vec![$(($name, $hook, $fault)),*]
    };
}

fn scene() -> Scene<Provider> {
    Scene::scripted(GATEPASS, provider::Settings::default())
}

fn set(name: &'static str, value: Value) -> impl Fn(&mut Value) + Send + Sync + 'static {
    move |object| object[name] = value.clone()
}

fn drop_member(name: &'static str) -> impl Fn(&mut Value) + Send + Sync + 'static {
    move |object| {
        object.as_object_mut().unwrap().remove(name);
    }
}

fn append(name: &'static str, more: &'static str) -> impl Fn(&mut Value) + Send + Sync + 'static {
    move |object| {
        let changed = format!("{}{more}", object[name].as_str().unwrap());
        object[name] = json!(changed);
    }
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// A moment that is counted from when the token is issued, not from when the table was written.
fn from_now(name: &'static str, seconds: i64) -> impl Fn(&mut Value) + Send + Sync + 'static {
    move |object| object[name] = json!(now() + seconds)
}

/// What is refused in any answer of the token endpoint, whatever its ID token says.
fn bad_token_responses(hook: Hook) -> Vec<Case> {
    table! {
        "token type mac" at hook: Fault::json(set("token_type", json!("mac"))) => 8;
        "a member that appears twice" at hook: Fault::response(|response| {
            let text = String::from_utf8(response.body.clone()).unwrap();
            response.body = text.replacen('{', "{\"x\":1,\"x\":2,", 1).into_bytes();
        }) => 8;
        "a firewall's JSON" at hook: Fault::reply(Response::json(403, &json!({"message": "Forbidden"}))) => 6;
        "token type DPoP" at hook: Fault::json(set("token_type", json!("DPoP"))) => 8;
        "no token type" at hook: Fault::json(drop_member("token_type")) => 8;
        "no access token" at hook: Fault::json(drop_member("access_token")) => 8;
        "empty access token" at hook: Fault::json(set("access_token", json!(""))) => 8;
        "header injection" at hook: Fault::access_token(|token| token.push_str("\r\nX-Evil: 1")) => 8;
        "space in token" at hook: Fault::access_token(|token| token.push_str(" b")) => 8;
        "token of 17 kB" at hook: Fault::access_token(|token| *token = "x".repeat(17_000)) => 8;
        "not JSON" at hook: Fault::html("<html>sign in to the hotel</html>") => 6;
        "500" at hook: Fault::status(500) => 6;
        "503" at hook: Fault::status(503) => 6;
        "429" at hook: Fault::status(429) => 6;
        "redirect" at hook: Fault::elsewhere(307, "https://evil.example/token") => 6;
        "dropped" at hook: Fault::Drop(When::Before) => 6;
        "invalid_client" at hook: Fault::oauth_error("invalid_client") => 3;
        "invalid_scope" at hook: Fault::oauth_error("invalid_scope") => 3;
        "temporarily_unavailable" at hook: Fault::oauth_error("temporarily_unavailable") => 6;
    }
}

/// What is refused in any ID token.
fn bad_id_tokens(hook: Hook) -> Vec<Case> {
    table! {
        "oidcc-client-test-invalid-iss" at hook: Fault::claims(append("iss", "1")) => 8;
        "oidcc-client-test-missing-sub" at hook: Fault::claims(drop_member("sub")) => 8;
        "empty sub" at hook: Fault::claims(set("sub", json!(""))) => 8;
        "oidcc-client-test-invalid-aud" at hook: Fault::claims(append("aud", "1")) => 8;
        "oidcc-client-test-missing-aud" at hook: Fault::claims(drop_member("aud")) => 8;
        "a further audience" at hook: Fault::claims(set("aud", json!(["gatepass", "other"]))) => 8;
        "oidcc-client-test-missing-iat" at hook: Fault::claims(drop_member("iat")) => 8;
        "issued in the future" at hook: Fault::claims(set("iat", json!(now() + 3600))) => 8;
        "expired" at hook: Fault::claims(set("exp", json!(now() - 360))) => 8;
        "issued a little more than 60 s in the future" at hook: Fault::claims(from_now("iat", 75)) => 8;
        "expired a little more than 60 s ago" at hook: Fault::claims(from_now("exp", -61)) => 8;
        "valid in a little more than 60 s" at hook: Fault::claims(from_now("nbf", 75)) => 8;
        "no exp" at hook: Fault::claims(drop_member("exp")) => 8;
        "no iss" at hook: Fault::claims(drop_member("iss")) => 8;
        "another azp" at hook: Fault::claims(set("azp", json!("other"))) => 8;
        "not valid yet" at hook: Fault::claims(set("nbf", json!(now() + 3600))) => 8;
        "oidcc-client-test-invalid-athash" at hook: Fault::claims(append("at_hash", "1")) => 8;
        "oidcc-client-test-invalid-sig" at hook: Fault::Forge(Forgery::FlippedBits) => 8;
        "unknown key, known kid" at hook: Fault::Forge(Forgery::UnknownKey) => 8;
        "unknown kid" at hook: Fault::Forge(Forgery::UnknownKid) => 8;
        "key in the header" at hook: Fault::Forge(Forgery::EmbeddedKey) => 8;
        "encryption key" at hook: Fault::Forge(Forgery::EncryptionKey) => 8;
        "oidcc-client-test-idtoken-sig-none" at hook: Fault::Forge(Forgery::Unsigned("none")) => 8;
        "alg nOnE" at hook: Fault::Forge(Forgery::Unsigned("nOnE")) => 8;
        "HS256 by the client id" at hook: Fault::Forge(Forgery::HmacOfClientId) => 8;
        "HS256 by the public key" at hook: Fault::Forge(Forgery::HmacOfPublicKey) => 8;
        "crit" at hook: Fault::jose_header(set("crit", json!(["exp"]))) => 8;
        "jku" at hook: Fault::jose_header(set("jku", json!("https://evil.example/keys"))) => 8;
        "x5c" at hook: Fault::jose_header(set("x5c", json!(["AAAA"]))) => 8;
        "unencoded payload" at hook: Fault::jose_header(set("b64", json!(false))) => 8;
        "a kid that is no text" at hook: Fault::jose_header(set("kid", json!(7))) => 8;
        "an access token in the ID token's place" at hook: Fault::jose_header(set("typ", json!("at+jwt"))) => 8;
    }
}

/// What is no answer in the terms of HTTP, or none that anybody has to take. None of it says anything about the session.
fn bad_http(hook: Hook) -> Vec<Case> {
    let raw = |head: &str, body: &[u8]| {
        let mut bytes = format!("HTTP/1.1 {head}\r\n\r\n").into_bytes();
        bytes.extend(body);
        Fault::Raw(bytes)
    };
    let json = "Content-Type: application/json";
    let many = format!("200 OK\r\n{json}{}", "\r\nX-A: b".repeat(50_000));
    let long = format!("200 OK\r\n{json}\r\nX-A: {}", "b".repeat(4 * 1024 * 1024));
    let compressed = |encoding: &'static str| {
        Fault::response(move |response| {
            let headers = std::mem::replace(response, Response::new(200));
            *response = headers.header("content-encoding", encoding);
        })
    };
    let mut cases = table! {
        "gzip that nobody asked for" at hook: compressed("gzip") => 6;
        "br that nobody asked for" at hook: compressed("br") => 6;
        "endless body" at hook: Fault::Padding(1 << 40) => 6;
        "less body than promised" at hook: raw(&format!("200 OK\r\n{json}\r\nContent-Length: 99999999999"), b"{}") => 6;
        "two lengths" at hook: raw(&format!("200 OK\r\n{json}\r\nContent-Length: 2\r\nContent-Length: 3"), b"{}") => 6;
        "a broken chunk" at hook: raw(&format!("200 OK\r\n{json}\r\nTransfer-Encoding: chunked"), b"ffffffffffffffff1\r\n{}") => 6;
        "endless headers" at hook: raw(&many, b"{}") => 6;
        "a header of 4 MB" at hook: raw(&long, b"{}") => 6;
        "no HTTP" at hook: Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()) => 6;
        "no status" at hook: Fault::Raw(b"{}".to_vec()) => 6;
        "continue for ever" at hook: Fault::Raw(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000)) => 6;
        "204" at hook: Fault::status(204) => 6;
        "205" at hook: Fault::status(205) => 6;
        "304" at hook: Fault::status(304) => 6;
        "200 with nothing" at hook: Fault::status(200) => 6;
        "206" at hook: Fault::response(|response| response.status = 206) => 6;
        "a byte order mark" at hook: Fault::response(|response| {
            response.body.splice(0..0, *b"\xef\xbb\xbf");
        }) => 6;
        "no type" at hook: Fault::response(|response| response.headers.clear()) => 6;
    };
    for status in [301, 302, 303, 307, 308] {
        let fault = Fault::elsewhere(status, "https://evil.example/");
        cases.push(("a redirect", hook, fault, 6));
    }
    cases
}

/// What is refused in a sign-in only.
fn bad_sign_ins() -> Vec<Case> {
    use Hook::{CodeGrant, Discovery, Keys, Redirect};
    let evil = "http://evil.example/token";
    table! {
        "oidcc-client-test-discovery-issuer-mismatch" at Discovery: Fault::json(append("issuer", "INVALID")) => 8;
        "issuer with a slash" at Discovery: Fault::json(append("issuer", "/")) => 8;
        "no token endpoint" at Discovery: Fault::json(drop_member("token_endpoint")) => 8;
        "plain http" at Discovery: Fault::json(set("token_endpoint", json!(evil))) => 8;
        "a file" at Discovery: Fault::json(set("authorization_endpoint", json!("file:///etc/passwd"))) => 8;
        "an array" at Discovery: Fault::reply(Response::json(200, &json!([1]))) => 8;
        "discovery 500" at Discovery: Fault::status(500) => 6;
        "discovery html" at Discovery: Fault::html("<html>") => 6;
        "discovery elsewhere" at Discovery: Fault::elsewhere(302, "https://evil.example/") => 6;
        "keys 500" at Keys: Fault::status(500) => 6;
        "no keys" at Keys: Fault::json(set("keys", json!([]))) => 8;
        "keys are none" at Keys: Fault::reply(Response::json(200, &json!({"keys": 1}))) => 8;
        "refused" at Redirect: Fault::redirect_error("access_denied") => 5;
        "scope refused" at Redirect: Fault::redirect_error("invalid_scope") => 3;
        "client refused" at Redirect: Fault::redirect_error("unauthorized_client") => 3;
        "not now" at Redirect: Fault::redirect_error("temporarily_unavailable") => 6;
        "wrong issuer in the redirect" at Redirect: Fault::redirect(|pairs| {
            pairs.retain(|(name, _)| name != "iss");
            pairs.push(("iss".to_owned(), "https://evil.example".to_owned()));
        }) => 8;
        "no ID token" at CodeGrant: Fault::json(drop_member("id_token")) => 8;
        "oidcc-client-test-nonce-invalid" at CodeGrant: Fault::claims(append("nonce", "1")) => 8;
        "no nonce" at CodeGrant: Fault::claims(drop_member("nonce")) => 8;
        "an old token" at CodeGrant: Fault::claims(set("iat", json!(now() - 3600))) => 8;
        "two megabytes" at CodeGrant: Fault::Padding(2 * 1024 * 1024) => 6;
        "code refused" at CodeGrant: Fault::oauth_error("invalid_grant") => 5;
    }
}

/// The exit code, silence on standard output, and no secret in the log.
fn check(name: &str, outcome: &Outcome, code: i32, provider: &Provider) {
    assert_eq!(outcome.code, code, "{name}: {}", outcome.stderr);
    outcome.expect(code);
    assert_eq!(outcome.stdout, "", "{name}");
    for secret in provider.issued_secrets() {
        assert!(
            !outcome.stderr.contains(&secret),
            "{name}: a secret was logged"
        );
    }
}

/// Nothing is asked for after the bad answer, but for the issuer's documents, once, where no key has fitted.
fn nothing_follows(name: &str, hook: Hook, provider: &Provider) {
    let struck = match hook {
        Hook::Discovery => "/.well-known/openid-configuration",
        Hook::Keys => "/jwks",
        Hook::Redirect => "/authorize",
        _ => "/token",
    };
    let paths: Vec<String> = provider
        .requests()
        .into_iter()
        .map(|seen| seen.path)
        .collect();
    let first = paths.iter().position(|path| path == struck);
    let after = &paths[first.expect(name) + 1..];
    let fresh = ["/.well-known/openid-configuration", "/jwks"];
    // A refresh whose answer was lost on the way is sent once more.
    let is_repeat = hook == Hook::RefreshGrant && after == ["/token"];
    assert!(
        after.is_empty() || after == fresh || is_repeat,
        "{name}: {paths:?}"
    );
}

/// Each of these sign-ins stores nothing, and leaves the session that there was.
#[track_caller]
fn store_nothing(cases: Vec<Case>) {
    let scene = scene().signed_in();
    let before = scene.keyring.items_snapshot();
    for (name, hook, fault, code) in cases {
        scene.provider.clear_requests();
        scene.provider.script(hook, fault);
        let outcome = scene.gatepass(["login"]).env("GATEPASS_LOG", "debug").run();
        check(name, &outcome, code, &scene.provider);
        nothing_follows(name, hook, &scene.provider);
        assert_eq!(scene.keyring.items_snapshot(), before, "{name}");
        scene.provider.clear_script();
    }
    scene.background().expect(0);
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
}

#[test]
fn a_bad_sign_in_stores_nothing_and_harms_nothing() {
    store_nothing(bad_sign_ins());
}

#[test]
fn a_bad_token_response_stores_nothing_and_harms_nothing() {
    store_nothing(bad_token_responses(Hook::CodeGrant));
}

#[test]
fn a_bad_id_token_stores_nothing_and_harms_nothing() {
    store_nothing(bad_id_tokens(Hook::CodeGrant));
}

#[test]
fn bad_http_in_discovery_stores_nothing_and_harms_nothing() {
    store_nothing(bad_http(Hook::Discovery));
}

#[test]
fn bad_http_for_keys_stores_nothing_and_harms_nothing() {
    store_nothing(bad_http(Hook::Keys));
}

#[test]
fn bad_http_for_a_code_stores_nothing_and_harms_nothing() {
    store_nothing(bad_http(Hook::CodeGrant));
}

/// What names another person or another client, correctly signed, ends the session.
const ENDS: [&str; 3] = [
    "oidcc-client-test-invalid-aud",
    "oidcc-client-test-missing-aud",
    "oidcc-client-test-refresh-token-invalid-sub",
];

/// Each of these refreshes prints nothing, and one whose answer was refused is not repeated.
#[track_caller]
fn are_not_repeated(cases: Vec<Case>) {
    for (name, hook, fault, code) in cases {
        // What was refused is not asked again for a while, so each case has a session of its own.
        let scene = scene().signed_in();
        let before = scene.keyring.items_snapshot();
        scene.provider.clear_requests();
        scene.provider.script(hook, fault);
        let run = || {
            scene
                .gatepass(["token", "--force-refresh"])
                .env("GATEPASS_LOG", "debug")
                .run()
        };
        check(name, &run(), code, &scene.provider);
        nothing_follows(name, hook, &scene.provider);
        let sent = scene.provider.token_grants("refresh_token");
        scene.provider.clear_script();
        if code == 8 {
            // Another person's answer ends the session. Any other is a reason not to print, never one to forget: what
            // passed before is printed, and the next answer that passes proves the session again.
            let ends = ENDS.contains(&name);
            check(name, &run(), if ends { 4 } else { 8 }, &scene.provider);
            assert_eq!(scene.provider.token_grants("refresh_token"), sent, "{name}");
            assert_eq!(scene.background().code, if ends { 4 } else { 0 }, "{name}");
        } else {
            // What the provider has refused is not asked again for a while; what never arrived is.
            assert_eq!(scene.keyring.items_snapshot(), before, "{name}");
            let next = if code == 6 { 0 } else { code };
            assert_eq!(run().code, next, "{name}");
        }
    }
}

#[test]
fn a_bad_refresh_prints_nothing_and_a_refused_one_is_not_repeated() {
    let mut cases = bad_token_responses(Hook::RefreshGrant);
    // What keeps a request from its effect; an answer that is lost after it has rotated the token is another matter.
    let kept = ["204", "205", "304", "200 with nothing"];
    let http = bad_http(Hook::RefreshGrant).into_iter();
    cases.extend(http.filter(|case| kept.contains(&case.0)));
    are_not_repeated(cases);
}

#[test]
fn a_refresh_with_a_bad_id_token_prints_nothing_and_is_not_repeated() {
    use Hook::RefreshGrant;
    let mut cases = bad_id_tokens(RefreshGrant);
    let another_sign_in: Vec<Case> = table! {
        "oidcc-client-test-refresh-token-invalid-sub" at RefreshGrant: Fault::claims(append("sub", "1")) => 8;
        "oidcc-client-test-refresh-token-invalid-issuer" at RefreshGrant: Fault::claims(append("iss", "1")) => 8;
        "the nonce of another sign-in" at RefreshGrant: Fault::claims(set("nonce", json!("another"))) => 8;
        "the time of an earlier sign-in" at RefreshGrant: Fault::claims(set("auth_time", json!(now() - 100_000))) => 8;
    };
    cases.extend(another_sign_in);
    are_not_repeated(cases);
}

#[test]
fn unusual_but_right_answers_are_accepted() {
    use Hook::{CodeGrant, Discovery, Keys};
    let scene = scene();
    let cases: Vec<(&str, Hook, Fault)> = table! {
        "token type in odd case" at CodeGrant: Fault::json(set("token_type", json!("bEARER")));
        "no expires_in" at CodeGrant: Fault::json(drop_member("expires_in"));
        "expires_in as a string" at CodeGrant: Fault::json(set("expires_in", json!("300")));
        "no scope" at CodeGrant: Fault::json(drop_member("scope"));
        "scope as a list" at CodeGrant: Fault::json(set("scope", json!(["openid"])));
        "unknown members" at CodeGrant: Fault::json(set("ext_expires_in", json!({"a": [1]})));
        "audience as a list" at CodeGrant: Fault::claims(set("aud", json!(["gatepass"])));
        "our azp" at CodeGrant: Fault::claims(set("azp", json!("gatepass")));
        "oidcc-client-test-missing-athash" at CodeGrant: Fault::claims(drop_member("at_hash"));
        "a time of change in words" at CodeGrant: Fault::claims(set("updated_at", json!("2026-01-01T00:00:00.000Z")));
        "one method" at CodeGrant: Fault::claims(set("amr", json!("pwd")));
        "an address in one line" at CodeGrant: Fault::claims(set("address", json!("x")));
        "no hash" at CodeGrant: Fault::claims(set("at_hash", Value::Null));
        "issued by a clock that is 50 s ahead" at CodeGrant: Fault::claims(from_now("iat", 50));
        "valid by a clock that is 50 s ahead" at CodeGrant: Fault::claims(from_now("nbf", 50));
        "expired by a clock that is 50 s ahead" at CodeGrant: Fault::claims(from_now("exp", -50));
        "oidcc-client-test-kid-absent-multiple-jwks" at CodeGrant: Fault::jose_header(drop_member("kid"));
        "oidcc-client-test-kid-absent-single-jwks" at Keys: Fault::json(|set| {
            // Only the key that signs, without its name.
            let keys = set["keys"].as_array_mut().unwrap();
            keys.retain(|key| key["crv"] == "P-256" && key["use"] == "sig");
            for key in keys {
                key.as_object_mut().unwrap().remove("kid");
            }
        });
        "an ID token of 10 kB" at CodeGrant: Fault::claims(set("groups", json!("g".repeat(10_000))));
        "unknown metadata" at Discovery: Fault::json(set("x_unknown", json!([{"a": 1}])));
        "no list of algorithms for PKCE" at Discovery: Fault::json(drop_member("code_challenge_methods_supported"));
        "keys without alg" at Keys: Fault::json(|keys| {
            for key in keys["keys"].as_array_mut().unwrap() {
                key.as_object_mut().unwrap().remove("alg");
            }
        });
        "oidcc-client-test-signing-key-rotation" at CodeGrant: Fault::RotateKeys;
    };
    for (name, hook, fault) in cases {
        scene.provider.script(hook, fault);
        let outcome = scene.gatepass(["login"]).run();
        assert_eq!(outcome.code, 0, "{name}: {}", outcome.stderr);
        scene.background().expect(0);
        scene.provider.clear_script();
    }
}

/// What is wrong with the provider's documents says nothing about the session.
#[test]
fn a_bad_discovery_document_does_not_end_the_session() {
    let scene = scene().signed_in();
    let forget = || {
        for entry in std::fs::read_dir(scene.home.state()).unwrap().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|kind| kind == "provider")
            {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    };
    for (fault, code) in [
        (Fault::json(append("issuer", "1")), 8),
        (Fault::status(502), 6),
        (
            Fault::reply(
                Response::new(200)
                    .header("content-type", "application/json")
                    .body("<html>"),
            ),
            6,
        ),
    ] {
        forget();
        scene.provider.script(Hook::Discovery, fault);
        scene
            .gatepass(["token", "--force-refresh"])
            .run()
            .expect(code);
        assert_eq!(scene.provider.token_grants("refresh_token"), 0);
        scene.provider.clear_script();
    }
    scene.gatepass(["token", "--force-refresh"]).run().expect(0);
}

/// A response that does not know the state never ends the sign-in.
#[test]
fn a_response_with_the_wrong_state_is_ignored() {
    let scene = scene();
    scene.configure("sign_in_timeout = 30");
    scene.provider.script(
        Hook::Redirect,
        Fault::redirect(|pairs| {
            for (name, value) in pairs {
                if name == "state" {
                    value.push('1');
                }
            }
        }),
    );
    let call = scene
        .gatepass(["token", "--timeout", "3"])
        .context("interactive")
        .run();
    call.expect(4);
    assert_eq!(scene.provider.count("/token"), 0);
    scene.provider.clear_script();
    scene.login();
}

/// Text from a server reaches the terminal without control characters and is shown, not obeyed.
#[test]
fn the_providers_words_are_cleaned() {
    let scene = scene();
    let words = "\u{1b}]8;;https://evil.example\u{7}click\u{202e}\r\n  try: rm -rf /";
    let answer = Response::oauth_error(400, "invalid_grant", words);
    scene.provider.script(Hook::CodeGrant, Fault::reply(answer));
    let outcome = scene.gatepass(["login"]).run();
    outcome.expect(5);
    let clean = outcome.stderr.chars().all(|c| c == '\n' || !c.is_control());
    assert!(
        clean && !outcome.stderr.contains('\u{202e}'),
        "{:?}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr.matches("\n  try: ").count(), 1);
}
