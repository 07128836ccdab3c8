//! Some servers put what they refuse into their errors. What they were sent is taken out again, whichever endpoint
//! it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use oauth2::HttpRequest;
use serde_json::Value;

use super::json::UniqueObject;
use crate::secret::Secret;
use crate::text;

/// Parameters that are no secret, and that a person needs to see in a refusal. Whatever else was sent may be one.
const PLAIN: [&str; 19] = [
    "acr_values",
    "audience",
    "client_assertion_type",
    "client_id",
    "code_challenge_method",
    "display",
    "grant_type",
    "login_hint",
    "max_age",
    "prompt",
    "redirect_uri",
    "requested_token_type",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "subject_token_type",
    "token_type_hint",
    "ui_locales",
];

/// Least length of what is taken out, in bytes: anything shorter is no secret, and is a part of other words.
const LEAST: usize = 4;

/// What must not be seen of a request.
#[derive(Debug)]
pub(super) struct SentSecrets(Vec<Secret>);

impl SentSecrets {
    /// The values of a form, and the password of a client that shows one in the head.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.body()) {
            if !PLAIN.contains(&&*name) {
                secrets.push(Secret::new(value));
            }
        }
        let basic = request.headers().get(AUTHORIZATION);
        let basic = basic
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
            .map(Secret::new);
        if let Some(basic) = basic {
            let pair = STANDARD.decode(basic.expose()).ok();
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
            if let Some((_, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                let form = format!("v={password}");
                let decoded = url::form_urlencoded::parse(form.as_bytes()).next();
                secrets.extend(decoded.map(|(_, value)| Secret::new(value)));
                secrets.push(Secret::new(password));
            }
            secrets.push(basic);
        }
        secrets.retain(|secret| secret.len() >= LEAST);
        // A secret that is a part of another must not break the longer one up.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The members of an error that are shown, without it.
    pub(super) fn taken_out_of(&self, error: &mut UniqueObject) {
        for name in ["error", "error_description"] {
            if let Some(Value::String(said)) = error.0.get_mut(name) {
                for secret in &self.0 {
                    *said = text::without(said, secret.expose());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(form: &[(&str, &str)], basic: Option<&str>, said: &str) -> String {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = http::Request::post("https://idp.example/");
        if let Some(pair) = basic {
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        let sent = SentSecrets::of(&request.body(body.into_bytes()).unwrap());
        let json = serde_json::json!({"error": "invalid_client", "error_description": said});
        let mut error = UniqueObject::parse(json.to_string().as_bytes()).unwrap();
        sent.taken_out_of(&mut error);
        assert_eq!(error.0["error"], "invalid_client");
        error.0["error_description"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_was_sent_is_taken_out_and_what_helps_stays() {
        for (form, basic, said, shown) in [
            (
                &[("refresh_token", "rt-1+/=")][..],
                None,
                "bad rt-1+/=!",
                "bad …!",
            ),
            (
                &[("code", "abcd"), ("code_verifier", "abcdefg")],
                None,
                "abcdefg abcd",
                "… …",
            ),
            (&[("device_code", "dev-1")], None, "dev-1", "…"),
            (&[("client_assertion", "eyJ.a.b")], None, "eyJ.a.b", "…"),
            (
                &[("api_key", "of the configuration")],
                None,
                "no of the configuration",
                "no …",
            ),
            (
                &[("scope", "offline_access")],
                None,
                "no offline_access",
                "no offline_access",
            ),
            (
                &[("client_id", "gatepass")],
                None,
                "no gatepass",
                "no gatepass",
            ),
            (&[("x", "a")], None, "a bad day", "a bad day"),
            (
                &[],
                Some("gatepass:s%2Bcret"),
                "gatepass: s+cret s%2Bcret",
                "gatepass: … …",
            ),
            (&[], Some("a:s3cret"), &STANDARD.encode("a:s3cret"), "…"),
        ] {
            assert_eq!(cleaned(form, basic, said), shown, "{form:?}");
        }
    }
}
