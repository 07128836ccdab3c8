//! Configuration profiles for Apple's systems.
//!
//! Written by hand, since it is one short document, and read back by an independent library in the tests. Its
//! identifiers depend on names alone, so that a later profile takes the place of an earlier one.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::json::{Json, Object};
use crate::config::profile::ProfileName;

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

/// The name that tells profiles apart.
pub fn identifier(host: &str, profile: &ProfileName) -> String {
    if profile.is_default() {
        format!("io.gatepass.export.{host}")
    } else {
        format!("io.gatepass.export.{host}.{profile}")
    }
}

/// A UUID made from a name, the same on every machine and at every run (in the layout of version 8, RFC 9562).
pub fn uuid(name: &str) -> String {
    let mut bytes = Sha256::digest(format!("gatepass {name}"));
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = crate::text::hex(&bytes[..16]);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The profile.
pub fn write(identifier: &str, title: &str, organisation: &str, payloads: &[Payload]) -> String {
    let common = |identifier: &str, kind: &str, title: &str| {
        vec![
            ("PayloadDisplayName".to_owned(), Json::from(title)),
            ("PayloadIdentifier".to_owned(), Json::from(identifier)),
            ("PayloadType".to_owned(), Json::from(kind)),
            (
                "PayloadUUID".to_owned(),
                Json::from(uuid(identifier).to_ascii_uppercase()),
            ),
            ("PayloadVersion".to_owned(), Json::whole(1)),
        ]
    };
    let content = payloads
        .iter()
        .map(|payload| {
            let inner = format!("{identifier}.{}", payload.domain);
            let mut members = common(&inner, payload.domain, &payload.title);
            members.extend(payload.keys.0.iter().cloned());
            Json::from(Object(members))
        })
        .collect();
    let mut profile = vec![("PayloadContent".to_owned(), Json::List(content))];
    profile.extend(common(identifier, "Configuration", title));
    profile.push(("PayloadOrganization".to_owned(), Json::from(organisation)));
    profile.push(("PayloadScope".to_owned(), Json::from("System")));
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n",
    );
    element(&Json::from(Object(profile)), 0, &mut out);
    out.push_str("</plist>\n");
    out
}

fn element(value: &Json, depth: usize, out: &mut String) {
    let indent = "\t".repeat(depth);
    let _ = match value {
        Json::Null => writeln!(out, "{indent}<string></string>"),
        Json::Flag(flag) => writeln!(out, "{indent}<{flag}/>"),
        Json::Number(number) if number.is_f64() => writeln!(out, "{indent}<real>{number}</real>"),
        Json::Number(number) => writeln!(out, "{indent}<integer>{number}</integer>"),
        Json::Text(text) => writeln!(out, "{indent}<string>{}</string>", escaped(text)),
        Json::List(items) if items.is_empty() => writeln!(out, "{indent}<array/>"),
        Json::List(items) => {
            let _ = writeln!(out, "{indent}<array>");
            for item in items {
                element(item, depth + 1, out);
            }
            writeln!(out, "{indent}</array>")
        }
        Json::Object(object) => {
            let _ = writeln!(out, "{indent}<dict>");
            for (name, value) in object.iter() {
                let _ = writeln!(out, "{indent}\t<key>{}</key>", escaped(name));
                element(value, depth + 1, out);
            }
            writeln!(out, "{indent}</dict>")
        }
    };
}

/// Text between tags. XML 1.0 has no control characters, not even escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => (),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Payload, uuid, write};
    use crate::host::json::{Json, Object};

    #[test]
    fn a_library_reads_what_is_written() {
        let keys = Object(vec![
            (
                "text".to_owned(),
                Json::from("a <b> & \"c\" {\"d\":[1]} ü\u{1}"),
            ),
            ("number".to_owned(), Json::whole(300)),
            ("flag".to_owned(), Json::Flag(true)),
            (
                "list".to_owned(),
                Json::List(vec![Json::from("x"), Json::List(Vec::new())]),
            ),
        ]);
        let payload = Payload {
            domain: "com.example.app",
            title: "T & T".to_owned(),
            keys,
        };
        let text = write("io.example", "Title", "Org", &[payload]);
        let value = plist::Value::from_reader_xml(text.as_bytes()).unwrap();
        let root = value.as_dictionary().unwrap();
        assert_eq!(root["PayloadType"].as_string(), Some("Configuration"));
        let inner = root["PayloadContent"].as_array().unwrap()[0]
            .as_dictionary()
            .unwrap();
        assert_eq!(inner["PayloadType"].as_string(), Some("com.example.app"));
        assert_eq!(
            inner["text"].as_string(),
            Some("a <b> & \"c\" {\"d\":[1]} ü")
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
