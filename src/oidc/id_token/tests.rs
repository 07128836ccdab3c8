use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::config::Sources;
use crate::config::profile::ProfileName;

const NOW: u64 = 1_700_000_010;
const ACCESS_TOKEN: &str = "an-access-token";

fn settings(more: &str) -> Settings {
    let text = format!("issuer = 'https://idp.example'\nclient_id = 'c'\n{more}");
    crate::config::load(&Sources::of_text(&text), &ProfileName::default()).unwrap()
}

/// An issuer that signs with ES256 and publishes the key under the name `k`.
struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let (random, by) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(by, &random).unwrap();
        Self {
            pair: EcdsaKeyPair::from_pkcs8(by, pkcs8.as_ref(), &random).unwrap(),
        }
    }

    fn jwk(&self, more: Value) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let mut jwk = json!({
            "kty": "EC", "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let input = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let input = input.join(".");
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }
}

fn keys(jwks: &[Value]) -> Keys {
    Keys::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example", "sub": "s1", "aud": "c", "nonce": "n",
        "iat": 1_700_000_000, "exp": 1_700_000_300, "auth_time": 1_700_000_000,
    })
}

fn outcome(result: Result<Claims, Rejection>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(Rejection::Signer(what)) if what.starts_with("no key") => "unknown key",
        Err(_) => "refused",
    }
}

fn check_at(raw: &str, keys: &Keys, context: &ValidationContext<'_>, more: &str) -> &'static str {
    let advertised = [
        "ES256".to_owned(),
        "RS256".to_owned(),
        "none".to_owned(),
        "HS256".to_owned(),
    ];
    outcome(check(
        raw,
        ACCESS_TOKEN,
        context,
        keys,
        &advertised,
        &settings(more),
        NOW,
    ))
}

fn check_sign_in(raw: &str, keys: &Keys) -> &'static str {
    check_at(raw, keys, &ValidationContext::SignIn(&Secret::new("n")), "")
}

/// Tokens and keys made by another program (node), each with the `at_hash` that belongs to its algorithm.
#[test]
fn further_audiences_are_refused_unless_the_organisation_trusts_them() {
    let check = |more: &str, audiences: Value| {
        let Value::Object(claims) = json!({
            "iss": "https://idp.example", "sub": "s1", "aud": audiences, "exp": NOW + 60
        }) else {
            return false;
        };
        let context = ValidationContext::DeviceSignIn;
        check_person(&claims, &context, &settings(more)).is_ok()
            && check_audience(&claims, &settings(more)).is_ok()
    };
    let trusting = "trusted_audiences = ['project']";
    assert!(check("", json!(["c"])));
    assert!(!check("", json!(["c", "project"])));
    assert!(check(trusting, json!(["project", "c"])));
    for others in [
        json!(["c", "project", "x"]),
        json!(["project"]),
        json!("project"),
        json!([]),
    ] {
        assert!(!check(trusting, others.clone()), "{others}");
    }
}

/// What the usual library says of a token, with the same keys at the same time.
fn second_opinion(token: &str, jwk: &Value, algorithm: &str) -> Option<bool> {
    use openidconnect::core::{
        CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm,
    };
    use openidconnect::{ClientId, IssuerUrl, Nonce};
    let set: CoreJsonWebKeySet = serde_json::from_value(json!({"keys": [jwk]})).unwrap();
    let algorithm: CoreJwsSigningAlgorithm = serde_json::from_value(json!(algorithm)).ok()?;
    let issuer = IssuerUrl::new("https://idp.example".to_owned()).unwrap();
    let now = || chrono::DateTime::from_timestamp(NOW.cast_signed(), 0).unwrap();
    let verifier =
        CoreIdTokenVerifier::new_public_client(ClientId::new("c".to_owned()), issuer, set)
            .set_allowed_algs([algorithm])
            .set_time_fn(now);
    let token: CoreIdToken = token.parse().ok()?;
    Some(token.claims(&verifier, |_: Option<&Nonce>| Ok(())).is_ok())
}

#[test]
fn what_the_usual_library_refuses_is_refused_here_too() {
    let made: Value = serde_json::from_str(include_str!("../testdata/id_tokens.json")).unwrap();
    let mut agreed = 0;
    for one in made["tokens"].as_array().unwrap() {
        let (name, token) = (one["alg"].as_str().unwrap(), one["token"].as_str().unwrap());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let mut flipped = bytes(signature);
        flipped[3] ^= 0x5A;
        let mut other = bytes(claims);
        let at = other.windows(4).position(|four| four == b"\"s1\"").unwrap();
        other[at + 2] = b'2';
        let variants = [
            token.to_owned(),
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(flipped)),
            format!("{signed}."),
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other)),
        ];
        for variant in variants {
            let ours = outcome(check(
                &variant,
                ACCESS_TOKEN,
                &ValidationContext::DeviceSignIn,
                &keys(std::slice::from_ref(&one["jwk"])),
                &[name.to_owned()],
                &settings(""),
                NOW,
            ));
            match second_opinion(&variant, &one["jwk"], name) {
                // It knows neither ES512 nor the new name of EdDSA.
                None => {}
                Some(false) if ["ES512", "Ed25519"].contains(&name) => {}
                Some(false) => assert_eq!(ours, "refused", "{name} {variant}"),
                Some(true) if ours == "accepted" => agreed += 1,
                // Keys that are too short are no key here.
                Some(true) => assert_eq!(one["jwk"]["kid"], "k-weak", "{name}"),
            }
        }
    }
    assert!(agreed >= 8, "{agreed}");
}

#[test]
fn every_asymmetric_algorithm_is_understood() {
    let made: Value = serde_json::from_str(include_str!("../testdata/id_tokens.json")).unwrap();
    let made = made["tokens"].as_array().unwrap();
    let all: Vec<Value> = made.iter().map(|one| one["jwk"].clone()).collect();
    let all = keys(&all);
    for one in made {
        let (name, token) = (one["alg"].as_str().unwrap(), one["token"].as_str().unwrap());
        let is_weak = one["jwk"]["kid"] == "k-weak";
        let check = |advertised: &[String], access_token| {
            outcome(check(
                token,
                access_token,
                &ValidationContext::DeviceSignIn,
                &all,
                advertised,
                &settings(""),
                NOW,
            ))
        };
        let ours = [name.to_owned()];
        let expected = if is_weak { "refused" } else { "accepted" };
        assert_eq!(
            check(&ours, ACCESS_TOKEN),
            expected,
            "{name} {}",
            one["jwk"]["kid"]
        );
        assert_eq!(check(&ours, "another-token"), "refused", "{name}");
        assert_eq!(check(&["X".to_owned()], ACCESS_TOKEN), "refused", "{name}");
        let by_default = if name == "RS256" && !is_weak {
            "accepted"
        } else {
            "refused"
        };
        assert_eq!(check(&[], ACCESS_TOKEN), by_default, "{name}");
    }
}

#[test]
fn headers_cannot_bring_a_key_or_change_the_reading() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    let body = claims().to_string();
    for (header, expected) in [
        (r#"{"alg":"ES256","kid":"k"}"#, "accepted"),
        (r#"{"alg":"ES256"}"#, "accepted"),
        (
            r#"{"kid":"k","alg":"ES256","typ":"jwt","x5t":"abc","unknown":[1]}"#,
            "accepted",
        ),
        (r#"{"alg":"ES256","typ":"application/jwt"}"#, "accepted"),
        (r#"{"alg":"ES256","typ":"at+jwt"}"#, "refused"),
        (r#"{"alg":"ES256","typ":"logout+jwt"}"#, "refused"),
        (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, "refused"),
        (r#"{"alg":"ES256","typ":null}"#, "refused"),
        (r#"{"alg":"ES256","cty":"JWT"}"#, "refused"),
        (r#"{"alg":"ES256","kid":"k","jwk":{}}"#, "refused"),
        (
            r#"{"alg":"ES256","kid":"k","jku":"https://idp.example/k"}"#,
            "refused",
        ),
        (
            r#"{"alg":"ES256","kid":"k","x5u":"https://idp.example/k"}"#,
            "refused",
        ),
        (r#"{"alg":"ES256","kid":"k","x5c":["AAAA"]}"#, "refused"),
        (r#"{"alg":"ES256","kid":"k","crit":[]}"#, "refused"),
        (r#"{"alg":"ES256","kid":"k","b64":false}"#, "refused"),
        (
            r#"{"alg":"ES256","kid":"k","b64":false,"crit":["b64"]}"#,
            "refused",
        ),
        (r#"{"alg":"ES256","kid":"k","enc":"A128GCM"}"#, "refused"),
        (r#"{"alg":"ES256","alg":"none","kid":"k"}"#, "refused"),
        (r#"{"alg":"none","alg":"ES256","kid":"k"}"#, "refused"),
        (r#"{"alg":"ES256","kid":"k","kid":"k"}"#, "refused"),
        (r#"{"alg":"ES256","kid":7}"#, "refused"),
        (r#"{"alg":"ES256","kid":null}"#, "refused"),
        (r#"{"alg":"ES256","kid":["k"]}"#, "refused"),
        (r#"{"alg":["ES256"],"kid":"k"}"#, "refused"),
        (r#"{"alg":"es256","kid":"k"}"#, "refused"),
        (r#"{"alg":"RS256","kid":"k"}"#, "refused"),
        (r#"{"alg":"HS256","kid":"k"}"#, "refused"),
        (r#"{"alg":"none","kid":"k"}"#, "refused"),
        (r#"{"kid":"k"}"#, "refused"),
        ("[]", "refused"),
        ("", "refused"),
        (r#"{"alg":"ES256","kid":"k"} "#, "accepted"),
        (r#"{"alg":"ES256","kid":"k"}{}"#, "refused"),
        (r#"{"alg":"ES256","kid":"other"}"#, "unknown key"),
    ] {
        assert_eq!(
            check_sign_in(&issuer.sign(header, &body), &keys),
            expected,
            "{header}"
        );
    }
}

#[test]
fn a_token_has_three_parts_in_canonical_encoding() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    let good = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &claims().to_string());
    assert_eq!(check_sign_in(&good, &keys), "accepted");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = signed.split_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{signed}."),
        signed.to_owned(),
        format!("{good}="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}."),
        format!("{good}.x"),
        format!("{header}.{body}.{body}.{signature}"),
        format!("{header}.a.b.c.{signature}"),
        format!(".{body}.{signature}"),
        format!("{header}..{signature}"),
        format!("{signed}.{}", &signature[..signature.len() - 2]),
        format!("{signed}.{signature}AAAA"),
        // An all-zero signature fits every message where a library does not look (CVE-2022-21449).
        format!("{signed}.{}", "A".repeat(86)),
        "x".repeat(100_000),
    ] {
        assert_eq!(check_sign_in(&bad, &keys), "refused", "{bad:.80}");
    }
}

#[test]
fn keys_are_chosen_by_name_use_and_kind() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let body = claims().to_string();
    let named = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &body);
    let unnamed = issuer.sign(r#"{"alg":"ES256"}"#, &body);
    let ours = |more| issuer.jwk(more);
    let theirs = |more| other.jwk(more);
    let oct = json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"});
    for (jwks, by_name, without_name) in [
        // oidcc-client-test-kid-absent-single-jwks, oidcc-client-test-kid-absent-multiple-jwks
        (vec![ours(json!({"kid": "k"}))], "accepted", "accepted"),
        (
            vec![theirs(json!({"kid": "a"})), ours(json!({"kid": "k"}))],
            "accepted",
            "accepted",
        ),
        (vec![ours(json!({}))], "accepted", "accepted"),
        (
            vec![theirs(json!({})), ours(json!({}))],
            "accepted",
            "accepted",
        ),
        (
            vec![theirs(json!({"kid": "k"})), ours(json!({"kid": "k"}))],
            "accepted",
            "accepted",
        ),
        (vec![theirs(json!({"kid": "k"}))], "refused", "unknown key"),
        // The right key under another name is not the one that the token names.
        (
            vec![theirs(json!({"kid": "k"})), ours(json!({"kid": "a"}))],
            "refused",
            "accepted",
        ),
        (vec![ours(json!({"kid": "a"}))], "unknown key", "accepted"),
        (vec![theirs(json!({}))], "unknown key", "unknown key"),
        (
            vec![ours(json!({"kid": "k", "use": "enc"}))],
            "unknown key",
            "unknown key",
        ),
        (
            vec![ours(json!({"kid": "k", "alg": "ES384"}))],
            "refused",
            "unknown key",
        ),
        (
            vec![ours(json!({"kid": "k", "alg": "ECDH-ES"}))],
            "unknown key",
            "unknown key",
        ),
        (
            vec![ours(json!({"kid": "k", "key_ops": ["sign"]}))],
            "unknown key",
            "unknown key",
        ),
        (
            vec![ours(json!({"kid": "k", "crv": "P-384"}))],
            "refused",
            "unknown key",
        ),
        (
            vec![ours(json!({"kid": "k", "crv": "secp256k1"}))],
            "unknown key",
            "unknown key",
        ),
        (vec![oct, ours(json!({"kid": "k"}))], "accepted", "accepted"),
        (vec![], "unknown key", "unknown key"),
    ] {
        let keys = keys(&jwks);
        assert_eq!(check_sign_in(&named, &keys), by_name, "{jwks:?}");
        assert_eq!(check_sign_in(&unnamed, &keys), without_name, "{jwks:?}");
    }
}

#[test]
fn claims_are_those_of_this_sign_in() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    let now = i64::try_from(NOW).unwrap();
    for (name, value, expected) in [
        ("iss", json!("https://idp.example1"), "refused"),
        ("iss", json!("https://idp.example/"), "refused"),
        ("iss", json!("https://IDP.example"), "refused"),
        ("iss", json!(["https://idp.example"]), "refused"),
        ("iss", Value::Null, "refused"),
        ("sub", json!(""), "refused"),
        ("sub", json!(7), "refused"),
        ("sub", Value::Null, "refused"),
        ("sub", json!("s".repeat(255)), "accepted"),
        ("sub", json!("s".repeat(256)), "refused"),
        ("aud", json!("c1"), "refused"),
        ("aud", json!("C"), "refused"),
        ("aud", json!(""), "refused"),
        ("aud", json!([]), "refused"),
        ("aud", json!(["c"]), "accepted"),
        ("aud", json!(["c", "c"]), "accepted"),
        ("aud", json!(["c", "d"]), "refused"),
        ("aud", json!(["d", "c"]), "refused"),
        ("aud", json!([["c"]]), "refused"),
        ("aud", json!(["c", null]), "refused"),
        ("aud", json!({"c": "c"}), "refused"),
        ("aud", Value::Null, "refused"),
        ("azp", json!("c"), "accepted"),
        ("azp", json!("d"), "refused"),
        ("azp", json!(""), "refused"),
        ("azp", json!(["c"]), "refused"),
        ("exp", json!(now - 59), "accepted"),
        ("exp", json!(now - 60), "refused"),
        ("exp", json!(now - 360), "refused"),
        ("exp", json!(0), "refused"),
        ("exp", json!(-1), "refused"),
        ("exp", json!("1900000000"), "refused"),
        ("exp", json!(true), "refused"),
        ("exp", json!(u64::MAX), "accepted"),
        ("exp", json!(1_900_000_000.5), "accepted"),
        ("exp", json!(1e300), "refused"),
        ("exp", Value::Null, "refused"),
        ("iat", json!(now + 60), "accepted"),
        ("iat", json!(now + 61), "refused"),
        ("iat", json!(u64::MAX), "refused"),
        ("iat", json!(now - 600), "accepted"),
        ("iat", json!(now - 601), "refused"),
        ("iat", json!("1700000000"), "refused"),
        ("iat", Value::Null, "refused"),
        ("nbf", json!(now + 60), "accepted"),
        ("nbf", json!(now + 61), "refused"),
        ("nbf", json!("soon"), "refused"),
        ("nonce", json!("n1"), "refused"),
        ("nonce", json!(""), "refused"),
        ("nonce", json!(["n"]), "refused"),
        ("nonce", Value::Null, "refused"),
        ("at_hash", Value::Null, "accepted"),
        ("at_hash", json!(""), "refused"),
        ("at_hash", json!(7), "refused"),
        (
            "at_hash",
            json!(Algorithm::Es256.half_hash(ACCESS_TOKEN)),
            "accepted",
        ),
        (
            "at_hash",
            json!(Algorithm::Es384.half_hash(ACCESS_TOKEN)),
            "refused",
        ),
        (
            "at_hash",
            json!(format!("{}=", Algorithm::Es256.half_hash(ACCESS_TOKEN))),
            "refused",
        ),
        ("groups", json!("g".repeat(10_000)), "accepted"),
        (
            "_claim_sources",
            json!({"src1": {"endpoint": "https://evil.example"}}),
            "accepted",
        ),
    ] {
        let mut changed = claims();
        changed[name] = value.clone();
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
        assert_eq!(check_sign_in(&token, &keys), expected, "{name} {value:.80}");
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "nonce"] {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove(name);
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
        assert_eq!(check_sign_in(&token, &keys), "refused", "no {name}");
    }
    for more in [
        r#","nonce":"n""#,
        r#","aud":"c""#,
        r#","x":1e999"#,
        r#","x":"\ud800""#,
        r#","x":01"#,
        ",",
    ] {
        let text = claims().to_string().replacen('}', &format!("{more}}}"), 1);
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &text);
        assert_eq!(check_sign_in(&token, &keys), "refused", "{more}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let text = claims()
        .to_string()
        .replacen('}', &format!(",\"x\":{deep}}}"), 1);
    let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &text);
    assert_eq!(check_sign_in(&token, &keys), "refused", "deep");
}

#[test]
fn a_renewed_token_tells_of_the_same_sign_in() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    let check = |original: &Value, name: &str, value: Value| {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove("nonce");
        changed[name] = value;
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
        let context = ValidationContext::Refresh {
            subject: "s1",
            original: original.as_object().unwrap(),
            not_before: None,
        };
        check_at(&token, &keys, &context, "")
    };
    let original = json!({"nonce": "n", "auth_time": 1_700_000_000});
    for (name, value, expected) in [
        ("nonce", Value::Null, "accepted"),
        ("nonce", json!("n"), "accepted"),
        ("nonce", json!("other"), "refused"),
        ("auth_time", Value::Null, "accepted"),
        ("auth_time", json!(1_700_000_000), "accepted"),
        ("auth_time", json!(1_700_000_009), "accepted"),
        ("auth_time", json!(1_699_999_999), "refused"),
        ("auth_time", json!("1700000000"), "refused"),
        ("sub", json!("s11"), "refused"),
        ("sub", json!("S1"), "refused"),
        ("iss", json!("https://idp.example1"), "refused"),
        ("aud", json!(["d"]), "refused"),
        ("azp", json!("d"), "refused"),
        // A renewed token may be as old as the provider likes, as long as it is valid.
        ("iat", json!(1_600_000_000), "accepted"),
        ("iat", json!(1_800_000_000), "refused"),
        ("exp", json!(1_600_000_000), "refused"),
    ] {
        assert_eq!(
            check(&original, name, value.clone()),
            expected,
            "{name} {value}"
        );
    }
    // A sign-in by device code had no nonce, and its provider may not have told the time.
    assert_eq!(check(&json!({}), "nonce", json!("n")), "refused");
    assert_eq!(check(&json!({}), "auth_time", json!(5)), "accepted");
}

#[test]
fn why_a_renewed_token_is_refused_decides_what_it_means() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    let original = json!({"auth_time": 1_700_000_000});
    let judge = |changes: Value, kid: &str, not_before: Option<u64>| {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove("nonce");
        for (name, value) in changes.as_object().unwrap() {
            changed[name] = value.clone();
        }
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token = issuer.sign(&header, &changed.to_string());
        let context = ValidationContext::Refresh {
            subject: "s1",
            original: original.as_object().unwrap(),
            not_before,
        };
        let advertised = ["ES256".to_owned()];
        match check(
            &token,
            ACCESS_TOKEN,
            &context,
            &keys,
            &advertised,
            &settings(""),
            NOW,
        ) {
            Ok(_) => "accepted",
            Err(Rejection::Signer(_)) => "signer",
            Err(Rejection::AnotherPerson(_)) => "another person",
            Err(Rejection::Times(_)) => "times",
            Err(Rejection::Failed(_)) => "failed",
        }
    };
    for (changes, expected) in [
        (json!({}), "accepted"),
        (json!({"sub": "s2"}), "another person"),
        (json!({"sub": "s2", "exp": 1}), "another person"),
        (json!({"aud": ["d"]}), "another person"),
        (json!({"aud": ["c", "d"]}), "failed"),
        // Another issuer's subjects are not comparable: it is a configuration that an administrator may mend.
        (
            json!({"iss": "https://other.example", "sub": "s2"}),
            "failed",
        ),
        (json!({"iat": NOW + 120, "exp": NOW + 900}), "times"),
        (json!({"exp": NOW - 61}), "times"),
        (json!({"nbf": NOW + 61}), "times"),
        (json!({"nonce": "x"}), "failed"),
        (json!({"azp": "d"}), "failed"),
    ] {
        assert_eq!(judge(changes.clone(), "k", None), expected, "{changes}");
    }
    assert_eq!(judge(json!({"sub": "s2"}), "unknown", None), "signer");
    // What must prove a session that is in doubt is not older than the request.
    let asked = NOW;
    assert_eq!(
        judge(json!({"iat": NOW - 60}), "k", Some(asked)),
        "accepted"
    );
    assert_eq!(judge(json!({"iat": NOW - 61}), "k", Some(asked)), "times");
}

#[test]
fn what_was_asked_about_the_authentication_is_checked() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk(json!({"kid": "k"}))]);
    for (asked, name, value, expected) in [
        ("max_age = '60'", "auth_time", json!(NOW - 120), "accepted"),
        ("max_age = '60'", "auth_time", json!(NOW - 121), "refused"),
        ("max_age = '60'", "auth_time", Value::Null, "refused"),
        ("max_age = '60'", "auth_time", json!("now"), "refused"),
        ("acr_values = 'a b'", "acr", json!("b"), "accepted"),
        ("acr_values = 'a b'", "acr", json!("a b"), "refused"),
        ("acr_values = 'a b'", "acr", json!("0"), "refused"),
        ("acr_values = 'a b'", "acr", json!(1), "refused"),
        ("prompt = 'login'", "acr", json!("0"), "accepted"),
    ] {
        let mut changed = claims();
        changed[name] = value.clone();
        let token = issuer.sign(r#"{"alg":"ES256","kid":"k"}"#, &changed.to_string());
        let more = format!("[authorize_params]\n{asked}");
        let nonce = Secret::new("n");
        let outcome = check_at(&token, &keys, &ValidationContext::SignIn(&nonce), &more);
        assert_eq!(outcome, expected, "{asked} {value}");
    }
}
