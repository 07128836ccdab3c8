//! Files that belong to a host or its user: new ones are written in one step, present ones are merged or left
//! alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::json::{Json, Object};
use super::plan::Notes;
use crate::error::{Failure, Result};

/// Largest file that is merged, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody: the host may run as anybody.
    Everybody,
    /// The owner alone, as the host itself writes such files.
    Owner,
}

/// The content of a file that is there.
pub fn present(path: &Path) -> Result<Option<String>> {
    let failed = |what: String| {
        Failure::config(
            format!("{} cannot be merged: {what}", path.display()),
            "give --output the name of a new file",
        )
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(metadata) if !metadata.is_file() => {
            return Err(failed("it is no plain file".to_owned()));
        }
        Ok(metadata) if metadata.len() > LIMIT => return Err(failed("it is too large".to_owned())),
        Ok(_) => (),
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    String::from_utf8(bytes.to_vec())
        .map(Some)
        .map_err(|_| failed("it is no UTF-8 text".to_owned()))
}

/// Writes a file that must not be there yet.
pub fn create(path: &Path, bytes: &[u8], readers: Readers) -> Result<()> {
    let file = prepared(path, bytes, None, readers)?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            exists(path)
        } else {
            unwritable(path, &error.error)
        }
    })?;
    Ok(())
}

/// Replaces a file that was merged, in one step, keeping who may read it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    // The file that a link leads to is replaced, not the link.
    let target = std::fs::canonicalize(path).map_err(|error| unwritable(path, &error))?;
    let permissions = std::fs::metadata(&target)
        .map_err(|error| unwritable(path, &error))?
        .permissions();
    let file = prepared(&target, bytes, Some(permissions), Readers::Owner)?;
    file.persist(&target)
        .map_err(|error| unwritable(path, &error.error))?;
    Ok(())
}

/// The failure for a file that would have to be overwritten.
pub fn exists(path: &Path) -> Failure {
    Failure::config(
        format!(
            "there is a file {} already, and it is never overwritten",
            path.display()
        ),
        "move it away, or give --output another name",
    )
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(
        format!("{} cannot be written: {error}", path.display()),
        "make sure that the folder is there and that you may write to it",
    )
}

fn prepared(
    path: &Path,
    bytes: &[u8],
    permissions: Option<std::fs::Permissions>,
    readers: Readers,
) -> Result<tempfile::NamedTempFile> {
    let failed = |error: std::io::Error| unwritable(path, &error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".gatepass-new-")
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Some(permissions) = permissions.or_else(|| new_permissions(readers)) {
        file.as_file()
            .set_permissions(permissions)
            .map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

#[cfg(unix)]
fn new_permissions(readers: Readers) -> Option<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::Permissions::from_mode(match readers {
        Readers::Everybody => 0o644,
        Readers::Owner => 0o600,
    }))
}

/// Windows gives a new file what its folder says.
#[cfg(not(unix))]
fn new_permissions(_: Readers) -> Option<std::fs::Permissions> {
    None
}

/// Merges what the export sets into what is there: tables by their members, headers and servers by their names,
/// everything else by replacing. Says what it changed, without what was there: that may have been a secret.
pub fn merge(present: &mut Object, ours: &Object, place: &str, notes: &mut Notes) {
    for (name, value) in ours.iter() {
        let shown = format!("{place}{name}");
        let before = present.get(name).cloned();
        let merged = match (name, before, value) {
            ("inferenceCustomHeaders", Some(before), Json::Object(ours)) => {
                // The app reads JSON text as well.
                match before.as_text().map_or(Ok(before.clone()), Json::parse) {
                    Ok(Json::Object(before)) => headers(&before, ours, &shown, notes).into(),
                    _ => replaced(&before, value, &shown, notes),
                }
            }
            ("ANTHROPIC_CUSTOM_HEADERS", Some(Json::Text(before)), Json::Text(ours)) => {
                of_lines(&headers(&in_lines(&before), &in_lines(ours), &shown, notes)).into()
            }
            ("managedMcpServers", Some(Json::List(before)), Json::List(ours)) => {
                Json::List(by_name(&before, ours))
            }
            (_, Some(Json::Object(mut before)), Json::Object(ours)) => {
                merge(&mut before, ours, &format!("{shown}."), notes);
                before.into()
            }
            (_, Some(before), value) => replaced(&before, value, &shown, notes),
            (_, None, value) => value.clone(),
        };
        present.set(name, merged);
    }
}

/// The new value in place of the present one.
fn replaced(before: &Json, value: &Json, shown: &str, notes: &mut Notes) -> Json {
    if before != value {
        notes.say(format!(
            "{shown} had another value and is {} now",
            crate::text::printable(&value.compact(), 80)
        ));
    }
    value.clone()
}

/// Headers that are there with ours among them: names are the same whatever their capitals.
fn headers(present: &Object, ours: &Object, shown: &str, notes: &mut Notes) -> Object {
    let mut merged = present.clone();
    for (name, value) in ours.iter() {
        let known = |(known, _): &&mut (String, Json)| known.eq_ignore_ascii_case(name);
        match merged.0.iter_mut().find(known) {
            Some((_, before)) => {
                *before = replaced(before, value, &format!("{shown}, {name},"), notes);
            }
            None => merged.0.push((name.to_owned(), value.clone())),
        }
    }
    merged
}

/// The headers of a text that has one on each line.
fn in_lines(text: &str) -> Object {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Object(
        lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.trim().to_owned(), value.trim().into()),
                // No header: it stays what it is, and is found when the result is judged.
                None => (line.to_owned(), Json::Null),
            })
            .collect(),
    )
}

/// A text with one header on each line.
fn of_lines(headers: &Object) -> String {
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| match value.as_text() {
            Some(value) => format!("{name}: {value}"),
            None => name.to_owned(),
        })
        .collect();
    lines.join("\n")
}

/// Entries with the same name are replaced, the others stay.
fn by_name(present: &[Json], ours: &[Json]) -> Vec<Json> {
    let name = |entry: &Json| {
        let object = entry.as_object()?;
        object.text("name").map(str::to_owned)
    };
    let mut merged: Vec<Json> = present
        .iter()
        .filter(|entry| !ours.iter().any(|our| name(our) == name(entry)))
        .cloned()
        .collect();
    merged.extend(ours.iter().cloned());
    merged
}

#[cfg(test)]
mod tests {
    use super::merge;
    use crate::host::json::{Json, Object};
    use crate::host::plan::Notes;

    fn object(text: &str) -> Object {
        match Json::parse(text).unwrap() {
            Json::Object(object) => object,
            other => panic!("{other:?}"),
        }
    }

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
            let mut present = object(before);
            let mut notes = Notes::default();
            merge(&mut present, &object(ours), "", &mut notes);
            assert_eq!(Json::from(present).compact(), after);
            assert_eq!(notes.0, said, "{before}");
        }
    }
}
