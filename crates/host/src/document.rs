//! What an export is made of: a document in the form that its host reads, and how it is merged with one that is there.

use serde_json::{Value, json};

use crate::codex::ProviderTables;
use crate::registry::{self, Section};
use crate::value::{Members, Object};
use crate::{Error, Notes, intune};

/// A host's configuration in the form that it reads.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigDocument {
    /// JSON, merged into what is there.
    Json(Object),
    /// A configuration profile of Apple's systems.
    Plist(plist::Value),
    /// A registration file of Windows.
    Registry(Vec<Section>),
    /// The same keys as a custom profile of Intune.
    Intune(intune::Profile),
    /// Tables of a TOML file, merged into what is there.
    Toml(ProviderTables),
    /// A TOML file of its own.
    WholeToml(String),
}

/// What was made for a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The document.
    pub document: ConfigDocument,
    /// Who may read a new file with it.
    pub mode: FileMode,
    /// Where the document belongs in a library of configurations.
    pub entry: Option<LibraryEntry>,
}

/// A place in a host's library of configurations, which is a folder with `_meta.json` and a file for each entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryEntry {
    /// The name of its file, without `.json`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where the host has the library, for people.
    pub folder: &'static str,
}

impl LibraryEntry {
    /// Lists the entry in `_meta.json`. Says whether it is the one that is applied.
    pub fn list_in(&self, meta: &mut Object) -> bool {
        let mut entries = match meta.get("entries") {
            Some(Value::Array(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        let id = self.id.as_str();
        if !entries.iter().any(|known| known["id"] == id) {
            entries.push(json!({"id": id, "name": self.name}));
        }
        if meta.text("appliedId").is_none_or(str::is_empty) {
            meta.insert("appliedId".to_owned(), id.into());
        }
        meta.insert("entries".to_owned(), entries.into());
        meta.text("appliedId") == Some(id)
    }

    /// Whether a text has the form of an id.
    pub fn is_id(text: &str) -> bool {
        text.len() == 36
            && text
                .chars()
                .all(|c| matches!(c, 'a'..='f' | '0'..='9' | '-'))
    }
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Every user: the host may run as any of them.
    Everyone,
    /// The owner alone, as the host itself writes such files.
    Owner,
}

impl ConfigDocument {
    /// The document for every user of a machine.
    pub fn for_everyone(self) -> Export {
        Export {
            document: self,
            mode: FileMode::Everyone,
            entry: None,
        }
    }

    /// The document for one user.
    pub fn for_owner(self) -> Export {
        Export {
            mode: FileMode::Owner,
            ..self.for_everyone()
        }
    }

    /// The whole file.
    ///
    /// # Errors
    ///
    /// Where a library cannot write what this crate made, which is a defect.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(match self {
            Self::Json(object) => object.pretty().into_bytes(),
            Self::Plist(value) => {
                let mut bytes = Vec::new();
                value.to_writer_xml(&mut bytes).map_err(|error| {
                    Error::config(
                        format!("the profile cannot be written: {error}"),
                        "give the keys other values",
                    )
                })?;
                bytes.push(b'\n');
                bytes
            }
            Self::Registry(sections) => registry::write(sections),
            Self::Intune(profile) => profile.to_json().pretty().into_bytes(),
            Self::Toml(tables) => tables.to_toml().into_bytes(),
            Self::WholeToml(text) => text.clone().into_bytes(),
        })
    }

    /// The document in a form that [`lint`](crate::lint) understands: what an Intune profile brings to the registry
    /// is judged as a registration file.
    ///
    /// # Errors
    ///
    /// As [`ConfigDocument::to_bytes`].
    pub fn to_judge(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Intune(profile) => Ok(registry::write(&profile.sections)),
            other => other.to_bytes(),
        }
    }

    /// Merges the document into the text of a file that is there. `None` if there is nothing to change.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where that text is of another form, or where the document is of
    /// a form that never replaces a file.
    pub fn merge_into(&self, present: &str, notes: &mut Notes) -> Result<Option<String>, Error> {
        let refused = |why: String| Error::config(why, "correct it, or give --output another name");
        match self {
            Self::Json(ours) => {
                let mut object = match serde_json::from_str(present) {
                    Ok(Value::Object(object)) => object,
                    Ok(_) => return Err(refused("it is no JSON object".to_owned())),
                    Err(error) => return Err(refused(format!("it is no valid JSON: {error}"))),
                };
                merge(&mut object, ours, "", notes);
                Ok(Some(object.pretty()))
            }
            Self::Toml(tables) => tables.add_to(present, notes),
            Self::Plist(_) | Self::Registry(_) | Self::Intune(_) | Self::WholeToml(_) => {
                Err(Error::config(
                    "there is a file already, and it is never overwritten",
                    "move it away, or give --output another name",
                ))
            }
        }
    }

    /// Whether a file that is there can be merged with this document.
    pub fn can_merge(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Toml(_))
    }
}

/// Merges what the export sets into what is there: tables by their members, headers and servers by their names,
/// everything else by replacing. Says what it changed, without what was there: that may have been a secret.
fn merge(present: &mut Object, ours: &Object, place: &str, notes: &mut Notes) {
    for (name, value) in ours {
        let shown = format!("{place}{name}");
        let before = present.get(name).cloned();
        let merged = match (name.as_str(), before, value) {
            ("inferenceCustomHeaders", Some(before), Value::Object(ours)) => {
                // The app reads JSON text as well.
                match crate::value::structure(&before) {
                    Some(Value::Object(before)) => headers(&before, ours, &shown, notes).into(),
                    _ => replaced(&before, value, &shown, notes),
                }
            }
            ("ANTHROPIC_CUSTOM_HEADERS", Some(Value::String(before)), Value::String(ours)) => {
                of_lines(&headers(&in_lines(&before), &in_lines(ours), &shown, notes)).into()
            }
            ("managedMcpServers", Some(Value::Array(before)), Value::Array(ours)) => {
                Value::Array(by_name(&before, ours))
            }
            (_, Some(Value::Object(mut before)), Value::Object(ours)) => {
                merge(&mut before, ours, &format!("{shown}."), notes);
                before.into()
            }
            (_, Some(before), value) => replaced(&before, value, &shown, notes),
            (_, None, value) => value.clone(),
        };
        present.insert(name.clone(), merged);
    }
}

/// The new value in place of the present one.
fn replaced(before: &Value, value: &Value, shown: &str, notes: &mut Notes) -> Value {
    if before != value {
        notes.say(format!(
            "{shown} had another value and is {} now",
            shortened(&value.to_string())
        ));
    }
    value.clone()
}

/// A value that may be long, for people.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Headers that are there with ours among them: names are the same whatever their capitals.
fn headers(present: &Object, ours: &Object, shown: &str, notes: &mut Notes) -> Object {
    let mut merged = present.clone();
    for (name, value) in ours {
        let known = merged.iter_mut();
        let mut known = known.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match known.next() {
            Some((_, before)) => {
                *before = replaced(before, value, &format!("{shown}, {name},"), notes);
            }
            None => {
                drop(known);
                merged.insert(name.clone(), value.clone());
            }
        }
    }
    merged
}

/// The headers of a text that has one on each line.
fn in_lines(text: &str) -> Object {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) => (name.trim().to_owned(), value.trim().into()),
            // No header: it stays what it is, and is found when the result is judged.
            None => (line.to_owned(), Value::Null),
        })
        .collect()
}

/// A text with one header on each line.
fn of_lines(headers: &Object) -> String {
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| match value.as_str() {
            Some(value) => format!("{name}: {value}"),
            None => name.clone(),
        })
        .collect();
    lines.join("\n")
}

/// Entries with the same name are replaced, the others stay.
fn by_name(present: &[Value], ours: &[Value]) -> Vec<Value> {
    let name = |entry: &Value| entry.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut merged: Vec<Value> = present
        .iter()
        .filter(|entry| !ours.iter().any(|our| name(our) == name(entry)))
        .cloned()
        .collect();
    merged.extend(ours.iter().cloned());
    merged
}

#[cfg(test)]
mod tests {
    use super::{ConfigDocument, shortened};
    use crate::Notes;
    use serde_json::Value;

    #[test]
    fn what_was_there_stays_or_is_named_and_never_shown() {
        let cases = [
            (
                r#"{"apiKeyHelper":"echo sk-old-secret","a":{"b":1}}"#,
                r#"{"apiKeyHelper":"gatepass","a":{"c":2}}"#,
                r#"{"apiKeyHelper":"gatepass","a":{"b":1,"c":2}}"#,
                vec!["note: apiKeyHelper had another value and is \"gatepass\" now"],
            ),
            (
                r#"{"env":{"ANTHROPIC_CUSTOM_HEADERS":"x-team: sk-old-secret\nX-Mine: kept: so"}}"#,
                r#"{"env":{"ANTHROPIC_CUSTOM_HEADERS":"X-Team: a\nX-New: b"}}"#,
                r#"{"env":{"ANTHROPIC_CUSTOM_HEADERS":"x-team: a\nX-Mine: kept: so\nX-New: b"}}"#,
                vec![
                    "note: env.ANTHROPIC_CUSTOM_HEADERS, X-Team, had another value and is \"a\" now",
                ],
            ),
            (
                r#"{"inferenceCustomHeaders":"{\"X-Mine\":\"1\",\"x-team\":\"old-secret\"}"}"#,
                r#"{"inferenceCustomHeaders":{"X-Team":"a"}}"#,
                r#"{"inferenceCustomHeaders":{"X-Mine":"1","x-team":"a"}}"#,
                vec!["note: inferenceCustomHeaders, X-Team, had another value and is \"a\" now"],
            ),
            (
                r#"{"inferenceCustomHeaders":["X-A: old-secret"]}"#,
                r#"{"inferenceCustomHeaders":{"X-Team":"a"}}"#,
                r#"{"inferenceCustomHeaders":{"X-Team":"a"}}"#,
                vec![
                    "note: inferenceCustomHeaders had another value and is {\"X-Team\":\"a\"} now",
                ],
            ),
            (
                r#"{"managedMcpServers":[{"name":"a","url":"1"},{"name":"b"}]}"#,
                r#"{"managedMcpServers":[{"name":"a","url":"2"}]}"#,
                r#"{"managedMcpServers":[{"name":"b"},{"name":"a","url":"2"}]}"#,
                vec![],
            ),
        ];
        for (before, ours, after, said) in cases {
            let mut notes = Notes::default();
            let ours = ConfigDocument::Json(serde_json::from_str(ours).unwrap());
            let merged = ours.merge_into(before, &mut notes).unwrap().unwrap();
            let merged: Value = serde_json::from_str(&merged).unwrap();
            assert_eq!(merged.to_string(), after);
            assert_eq!(notes.0, said, "{before}");
        }
    }

    #[test]
    fn another_form_is_refused() {
        let ours = ConfigDocument::Json(serde_json::Map::new());
        for (present, why) in [("[]", "no JSON object"), ("{ // a\n}", "no valid JSON")] {
            let error = ours.merge_into(present, &mut Notes::default()).unwrap_err();
            assert!(error.what.contains(why), "{error}");
        }
        let whole = ConfigDocument::Registry(Vec::new());
        assert!(whole.merge_into("", &mut Notes::default()).is_err());
        assert!(!whole.can_merge() && ours.can_merge());
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(100)).chars().count(), 81);
    }
}
