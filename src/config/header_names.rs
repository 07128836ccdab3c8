//! Which headers a configuration may set.

use std::collections::BTreeMap;

/// Header names are tokens, unique without regard to case, and none that the host or the transport sets.
///
/// In the error `%` stands for the key that names them.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if name.parse::<http::HeaderName>().is_err() {
            return Err(format!("% has a name that no header can have: \"{name}\""));
        }
        let reserved = lower.starts_with("content-")
            || matches!(
                lower.as_str(),
                "authorization"
                    | "proxy-authorization"
                    | "proxy-authenticate"
                    | "x-api-key"
                    | "host"
                    | "cookie"
                    | "connection"
                    | "proxy-connection"
                    | "keep-alive"
                    | "te"
                    | "trailer"
                    | "transfer-encoding"
                    | "upgrade"
            );
        if reserved {
            return Err(format!("% must not set {name}"));
        }
        if seen.contains(&lower) {
            return Err(format!("% sets {name} twice"));
        }
        seen.push(lower);
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(format!("% gives {name} a value that is not visible ASCII"));
        }
    }
    Ok(())
}
