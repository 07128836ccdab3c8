//! `cargo xtask templates`: what administrators and editors need to know about configuration keys, written from the
//! one list of keys, so that a template never offers what the binary refuses.

mod admx;
mod examples;
mod json_schema;
mod manifest;

use std::fs;

use gatepass::config::policy::ONLY_IN_POLICY;
use gatepass::config::schema::{BuiltIn, KEYS, Shape};

use crate::process::root;

/// A key that policy may set.
pub(crate) struct Setting {
    /// Its name on Linux.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) takes: Takes,
    /// The built-in value as JSON, if there is one.
    pub(crate) default: Option<serde_json::Value>,
    /// One sentence for people.
    pub(crate) about: &'static str,
    /// Whether only a policy may set it.
    pub(crate) policy_only: bool,
}

/// What a key takes, as far as templates tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A string; with a sentence on what it has to look like.
    Text,
    /// A string that is an address.
    Address,
    /// A whole number within bounds.
    Number(u64, u64),
    /// Yes or no.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A list of port numbers.
    Ports,
    /// A table.
    Table,
}

impl Setting {
    /// Its name on Windows and macOS.
    pub(crate) fn camel(&self) -> String {
        camel(self.name)
    }

    /// Its name as a property of the Windows installer.
    pub(crate) fn property(&self) -> String {
        self.name.to_uppercase()
    }

    /// A heading: the name in words.
    fn title(&self) -> String {
        let words = self.name.replace('_', " ");
        let mut letters = words.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
            .unwrap_or_default()
    }

    /// Lists and tables are JSON text in the registry.
    fn is_json_text(&self) -> bool {
        matches!(self.takes, Takes::Texts | Takes::Ports | Takes::Table)
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        out.push_str(&first.to_uppercase());
        out.push_str(rest);
    }
    out
}

impl Takes {
    /// As templates tell it.
    fn of(shape: Shape) -> Self {
        match shape {
            Shape::Choice(words) => Self::Word(words),
            Shape::Url | Shape::Proxy => Self::Address,
            Shape::Seconds(least, most) | Shape::Number(least, most) => Self::Number(least, most),
            Shape::Flag => Self::Flag,
            Shape::TextList | Shape::UriList => Self::Texts,
            Shape::PortList => Self::Ports,
            Shape::TextTable | Shape::ClaimTable | Shape::Table(_) | Shape::Json => Self::Table,
            Shape::Text | Shape::Path | Shape::Pointer | Shape::TextOrList | Shape::UriOrList => {
                Self::Text
            }
        }
    }
}

/// Every key, policy's own keys last.
pub(crate) fn settings() -> Vec<Setting> {
    let everybody = KEYS.iter().map(|key| Setting {
        name: key.name,
        takes: Takes::of(key.shape),
        default: BuiltIn::value(key.built_in).map(|value| value.to_json()),
        about: key.about,
        policy_only: false,
    });
    let policy = ONLY_IN_POLICY.iter().map(|rule| Setting {
        name: rule.name,
        takes: Takes::of(rule.shape),
        default: None,
        about: rule.about,
        policy_only: true,
    });
    everybody.chain(policy).collect()
}

/// The files, by their path in the repository.
fn files() -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let settings = settings();
    let texts = [
        (
            "packaging/windows/gatepass.admx",
            admx::definitions(&settings),
        ),
        (
            "packaging/windows/en-US/gatepass.adml",
            admx::texts(&settings),
        ),
        (
            "packaging/macos/io.gatepass.helper.plist",
            manifest::of(&settings),
        ),
        (
            "packaging/mdm/jamf/gatepass.schema.json",
            json_schema::jamf(&settings),
        ),
        ("schema/gatepass.schema.json", json_schema::user(&settings)),
        (
            "schema/gatepass-policy.schema.json",
            json_schema::policy(&settings),
        ),
    ];
    let mut files = examples::all()?;
    files.extend(texts.map(|(path, text)| (path, text.into_bytes())));
    Ok(files)
}

/// Writes them.
pub(crate) fn run() -> Result<(), String> {
    for (path, text) in files()? {
        let file = root().join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        }
        fs::write(&file, text).map_err(|e| format!("{path}: {e}"))?;
        println!("{path}");
    }
    Ok(())
}

/// Text for XML, in elements and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{camel, escaped, files, settings};
    use crate::process::root;

    #[test]
    fn templates_are_as_the_list_of_keys_has_it() {
        for (path, bytes) in files().unwrap() {
            let there = std::fs::read(root().join(path)).unwrap_or_default();
            assert!(there == bytes, "{path}: run `cargo xtask templates`");
        }
    }

    #[test]
    fn names_are_camel_case_on_windows_and_macos() {
        assert_eq!(camel("issuer"), "issuer");
        assert_eq!(camel("client_id"), "clientId");
        assert_eq!(camel("session_renew_before"), "sessionRenewBefore");
    }

    #[test]
    fn what_xml_would_misread_is_escaped() {
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }

    #[test]
    fn the_keys_of_a_first_set_up_are_offered() {
        let names: Vec<_> = settings().iter().map(|setting| setting.name).collect();
        for name in ["issuer", "client_id", "gateway_url", "locked_keys"] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
