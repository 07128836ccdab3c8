//! Configuration profiles for Apple's systems.
//!
//! Their identifiers depend on names alone, so that a later profile takes the place of an earlier one.

use plist::{Dictionary, Value};
use sha2::{Digest, Sha256};

use crate::value::Object;

/// One set of preferences.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The preference domain, which is also the type of the payload.
    pub domain: &'static str,
    /// For people.
    pub title: String,
    /// The preferences.
    pub keys: Object,
}

/// A UUID made from a name, the same on every machine and at every run (version 8, RFC 9562 section 5.8).
pub fn uuid(name: &str) -> String {
    let mut bytes = Sha256::digest(format!("gatepass {name}"));
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = format!("{bytes:x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

/// The profile.
pub fn profile(identifier: &str, title: &str, organisation: &str, payloads: &[Payload]) -> Value {
    let common = |identifier: &str, kind: &str, title: &str| {
        [
            ("PayloadDisplayName", Value::from(title)),
            ("PayloadIdentifier", identifier.into()),
            ("PayloadType", kind.into()),
            ("PayloadUUID", uuid(identifier).to_ascii_uppercase().into()),
            ("PayloadVersion", 1_u64.into()),
        ]
    };
    let content = payloads
        .iter()
        .map(|payload| {
            let inner = format!("{identifier}.{}", payload.domain);
            let mut members = dictionary(common(&inner, payload.domain, &payload.title));
            for (name, value) in &payload.keys {
                members.insert(printable(name), property(value));
            }
            Value::Dictionary(members)
        })
        .collect();
    let mut profile = Dictionary::new();
    profile.insert("PayloadContent".to_owned(), Value::Array(content));
    for (name, value) in dictionary(common(identifier, "Configuration", title)) {
        profile.insert(name, value);
    }
    profile.insert("PayloadOrganization".to_owned(), organisation.into());
    profile.insert("PayloadScope".to_owned(), "System".into());
    without_controls(Value::Dictionary(profile))
}

fn dictionary(members: impl IntoIterator<Item = (&'static str, Value)>) -> Dictionary {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A value of JSON as a property list has it. There is no null: it is empty text.
fn property(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(""),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (.., Some(number)) => Value::from(number),
            _ => Value::from(number.to_string()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().map(property).collect()),
        Json::Object(members) => Value::Dictionary(
            members
                .iter()
                .map(|(name, value)| (printable(name), property(value)))
                .collect(),
        ),
    }
}

/// XML 1.0 has no control characters but line breaks and tabs, not even escaped.
fn without_controls(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(items) => items
            .into_iter()
            .map(without_controls)
            .collect::<Vec<_>>()
            .into(),
        Value::Dictionary(members) => Value::Dictionary(
            members
                .into_iter()
                .map(|(name, value)| (name, without_controls(value)))
                .collect(),
        ),
        other => other,
    }
}

/// Text without what XML 1.0 cannot hold.
pub(crate) fn printable(text: &str) -> String {
    let fits = |c: &char| match c {
        '\n' | '\t' => true,
        c => !c.is_control() && !matches!(c, '\u{FFFE}' | '\u{FFFF}'),
    };
    text.chars().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::{Payload, profile, uuid};
    use serde_json::json;

    #[test]
    fn a_library_reads_what_is_written() {
        let text = "a <b> & \"c\" {\"d\":[1]} ü";
        let keys = json!({
            "text": format!("{text}\u{1}\u{fffe}"), "number": 300, "real": 1.5, "flag": true,
            "list": ["x", []], "inner": {"a\u{7}": "b\u{8}"},
        });
        let keys = keys.as_object().unwrap().clone();
        let payload = Payload {
            domain: "com.example.app",
            title: "T & T".to_owned(),
            keys,
        };
        let mut bytes = Vec::new();
        let written = profile("io.example", "Title", "Org", &[payload]);
        written.to_writer_xml(&mut bytes).unwrap();
        let value = plist::Value::from_reader_xml(bytes.as_slice()).unwrap();
        let root = value.as_dictionary().unwrap();
        assert_eq!(root["PayloadType"].as_string(), Some("Configuration"));
        let inner = root["PayloadContent"].as_array().unwrap()[0]
            .as_dictionary()
            .unwrap();
        assert_eq!(inner["PayloadType"].as_string(), Some("com.example.app"));
        assert_eq!(inner["text"].as_string(), Some(text));
        assert_eq!(inner["real"].as_real(), Some(1.5));
        assert_eq!(
            inner["inner"].as_dictionary().unwrap()["a"].as_string(),
            Some("b")
        );
        assert_eq!(inner["number"].as_unsigned_integer(), Some(300));
        assert_eq!(inner["flag"].as_boolean(), Some(true));
        assert_eq!(inner["list"].as_array().unwrap().len(), 2);
        assert_ne!(inner["PayloadUUID"], root["PayloadUUID"]);
    }

    #[test]
    fn uuids_follow_from_names() {
        assert_eq!(uuid("a"), uuid("a"));
        assert_ne!(uuid("a"), uuid("b"));
        let id = uuid("a");
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "8");
    }
}
