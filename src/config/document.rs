//! A configuration file, read against the schema.
//!
//! Errors name the line and the key, and propose the nearest key where one was mistyped.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address;
use super::profile::ProfileName;
use super::schema::{KEYS, Key, Shape};
use super::value::Value;
use crate::text;

/// A value and the line it stands on (counted from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What was written.
    pub value: Value,
    /// Where.
    pub line: usize,
}

/// The keys of one table, by name.
pub type Table = BTreeMap<&'static str, Placed>;

/// A parsed and validated file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Top-level keys: the profile `default`, inherited by the others.
    pub top: Table,
    /// `[profile.NAME]` tables.
    pub profiles: BTreeMap<ProfileName, Table>,
}

/// What is wrong with a file, and what to do about it where that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One sentence that names line and key.
    pub what: String,
    /// One thing to do, if there is a better one than "correct the line".
    pub remedy: Option<String>,
}

impl Problem {
    /// The problem and its remedy, for lists of problems.
    pub fn in_one_line(self) -> String {
        match self.remedy {
            Some(remedy) => format!("{} ({remedy})", self.what),
            None => self.what,
        }
    }
}

impl Document {
    /// Reads a file; gives its first problem.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let (document, mut problems) = Self::parse_all(bytes);
        if problems.is_empty() {
            Ok(document)
        } else {
            Err(problems.swap_remove(0))
        }
    }

    /// Reads a file and collects every problem, in the order of the lines.
    pub fn parse_all(bytes: &[u8]) -> (Self, Vec<Problem>) {
        let mut reader = Reader::default();
        let document = reader
            .open(bytes)
            .map(|root| reader.document(root.get_ref()))
            .unwrap_or_default();
        (document, reader.into_problems())
    }

    /// Whether a value in it must not be readable by other users.
    pub fn holds_a_secret(&self) -> bool {
        let holds = |table: &Table| {
            table
                .keys()
                .any(|name| Key::find(name).is_some_and(Key::is_secret))
        };
        holds(&self.top) || self.profiles.values().any(holds)
    }
}

/// Where the lines of a text end, as byte offsets. A file may have a thousand tables whose lines are asked for.
fn line_ends(source: &[u8]) -> Vec<usize> {
    let ends = source.iter().enumerate();
    ends.filter_map(|(at, byte)| (*byte == b'\n').then_some(at))
        .collect()
}

/// Reads tables against the schema and collects what is wrong with them.
#[derive(Default)]
pub(super) struct Reader {
    line_ends: Vec<usize>,
    pub(super) problems: Vec<(usize, Problem)>,
    /// Unknown keys are left out instead of refused, and named here.
    pub(super) ignored: Option<Vec<String>>,
}

impl Reader {
    /// Opens a TOML text; what is none is the first problem.
    pub(super) fn open<'s>(&mut self, bytes: &'s [u8]) -> Option<Spanned<DeTable<'s>>> {
        self.line_ends = line_ends(bytes);
        match std::str::from_utf8(bytes) {
            Err(error) => {
                let line = self.line_of(error.valid_up_to());
                self.problem(line, "this is not UTF-8 text");
                None
            }
            Ok(source) => DeTable::parse(source)
                .map_err(|error| {
                    let line = self.line_of(error.span().map_or(0, |span| span.start));
                    self.problem(line, error.message());
                })
                .ok(),
        }
    }

    /// The problems in the order of the lines.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(line, _)| *line);
        self.problems.into_iter().map(|(_, p)| p).collect()
    }

    pub(super) fn problem(&mut self, line: usize, what: impl AsRef<str>) {
        self.problem_with(line, what, None);
    }

    fn problem_with(&mut self, line: usize, what: impl AsRef<str>, remedy: Option<String>) {
        let what = format!("line {line}: {}", text::printable(what.as_ref(), 300));
        self.problems.push((line, Problem { what, remedy }));
    }

    pub(super) fn line(&self, span: Range<usize>) -> usize {
        self.line_of(span.start)
    }

    /// The line (from 1) of a byte offset.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }

    fn document(&mut self, root: &DeTable<'_>) -> Document {
        let mut document = Document::default();
        for (name, value) in root {
            if name.get_ref() == "profile" {
                self.profiles(value, &mut document);
            } else {
                self.entry(name, value, &mut document.top);
            }
        }
        document
    }

    pub(super) fn profiles(&mut self, value: &Spanned<DeValue<'_>>, document: &mut Document) {
        let line = self.line(value.span());
        let Some(profiles) = value.get_ref().as_table() else {
            return self.problem(line, "`profile` is a table: write [profile.NAME]");
        };
        for (name, value) in profiles {
            let line = self.line(name.span());
            match (ProfileName::parse(name.get_ref()), value.get_ref()) {
                (Ok(profile), DeValue::Table(table)) => {
                    let mut keys = Table::new();
                    for (name, value) in table {
                        self.entry(name, value, &mut keys);
                    }
                    document.profiles.insert(profile, keys);
                }
                (Ok(_), _) => self.problem(line, "a profile is a table: write [profile.NAME]"),
                (Err(reason), _) => self.problem(line, reason),
            }
        }
    }

    pub(super) fn entry(
        &mut self,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        into: &mut Table,
    ) {
        let line = self.line(name.span());
        let name = name.get_ref().as_ref();
        let Some(key) = Key::find(name) else {
            if let Some(ignored) = &mut self.ignored {
                ignored.push(text::printable(name, 80));
                return;
            }
            let remedy = text::nearest(name, KEYS.iter().map(|key| key.name))
                .map(|near| format!("did you mean `{near}`?"));
            return self.problem_with(line, format!("unknown key `{name}`"), remedy);
        };
        match shaped(value.get_ref(), key.shape) {
            Ok(value) => {
                into.insert(key.name, Placed { value, line });
            }
            Err(reason) => self.problem(line, format!("`{name}` {reason}")),
        }
    }
}

/// Checks a value against its key's shape and takes it over.
fn shaped(value: &DeValue<'_>, shape: Shape) -> Result<Value, String> {
    match shape {
        Shape::Text => text_value(value).map(Value::Text),
        Shape::Url => {
            let url = text_value(value)?;
            address::check_url(&url)?;
            Ok(Value::Text(url))
        }
        Shape::Path => {
            let path = text_value(value)?;
            if std::path::Path::new(&path).is_absolute() {
                Ok(Value::Text(path))
            } else {
                Err("is an absolute path".to_owned())
            }
        }
        Shape::Seconds(least, most) => match number(value) {
            Some(seconds) if (least..=most).contains(&seconds) => Ok(Value::Number(seconds)),
            _ => Err(format!(
                "is a whole number of seconds from {least} to {most}"
            )),
        },
        Shape::Number(least, most) => match number(value) {
            Some(number) if (least..=most).contains(&number) => Ok(Value::Number(number)),
            _ => Err(format!("is a whole number from {least} to {most}")),
        },
        Shape::Flag => value
            .as_bool()
            .map(Value::Flag)
            .ok_or_else(|| "is true or false".to_owned()),
        Shape::Choice(words) => match value.as_str() {
            Some(word) if words.contains(&word) => Ok(Value::Text(word.to_owned())),
            Some(word) => Err(match text::nearest(word, words.iter().copied()) {
                Some(near) => format!("knows no \"{word}\"; did you mean \"{near}\"?"),
                None => format!("is one of: {}", words.join(", ")),
            }),
            None => Err(format!("is one of: {}", words.join(", "))),
        },
        Shape::TextList => list(value, |item| text_value(item).map(Value::Text)),
        Shape::Proxy => {
            let proxy = text_value(value)?;
            address::check_proxy(&proxy)?;
            Ok(Value::Text(proxy))
        }
        Shape::UriList => list(value, |item| {
            let uri = text_value(item)?;
            address::check_resource(&uri)?;
            Ok(Value::Text(uri))
        }),
        Shape::PortList => list(value, |item| match number(item) {
            Some(port) if port <= u64::from(u16::MAX) => Ok(Value::Number(port)),
            _ => Err("is a list of ports from 0 to 65535".to_owned()),
        }),
        // An empty string is a value here: it leaves a parameter out.
        Shape::TextTable => table(value, |item| match item.as_str() {
            Some("") => Ok(Value::from("")),
            _ => text_value(item).map(Value::Text),
        }),
        Shape::ClaimTable => table(value, claim),
        Shape::Structure => table(value, anything),
    }
}

pub(super) fn text_value(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.chars().any(char::is_control) => {
            Err("has a control character in it".to_owned())
        }
        Some("") => Err("is empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("is a string, not {}", article(value))),
    }
}

fn article(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

pub(super) fn number(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn list(
    value: &DeValue<'_>,
    item: impl Fn(&DeValue<'_>) -> Result<Value, String>,
) -> Result<Value, String> {
    let array = value
        .as_array()
        .ok_or_else(|| format!("is a list, not {}", article(value)))?;
    array
        .iter()
        .map(|element| item(element.get_ref()))
        .collect::<Result<_, _>>()
        .map(Value::List)
}

fn table(
    value: &DeValue<'_>,
    item: impl Fn(&DeValue<'_>) -> Result<Value, String>,
) -> Result<Value, String> {
    let table = value
        .as_table()
        .ok_or_else(|| format!("is a table, not {}", article(value)))?;
    table
        .iter()
        .map(|(name, element)| {
            item(element.get_ref())
                .map(|value| (name.get_ref().clone().into_owned(), value))
                .map_err(|reason| format!("entry `{}` {reason}", name.get_ref()))
        })
        .collect::<Result<_, _>>()
        .map(Value::Table)
}

fn claim(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
        DeValue::Integer(_) => number(value)
            .map(Value::Number)
            .ok_or_else(|| "is a whole number that is not negative".to_owned()),
        DeValue::Array(_) => list(value, claim),
        _ => text_value(value).map(Value::Text),
    }
}

/// A value of a table that has its own rules.
fn anything(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Table(_) => table(value, anything),
        DeValue::Array(_) => list(value, anything),
        DeValue::String(text) => Ok(Value::Text(text.clone().into_owned())),
        _ => claim(value),
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, KEYS};

    #[test]
    fn problems_name_line_key_and_the_nearest_key() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            (
                "isuer = \"https://a\"",
                "line 1: unknown key `isuer`",
                Some("did you mean `issuer`?"),
            ),
            ("\n\nbanana = 1", "line 3: unknown key `banana`", None),
            (
                "client_id = 7",
                "line 1: `client_id` is a string, not an integer",
                None,
            ),
            (
                "min_validity = -1",
                "line 1: `min_validity` is a whole number of seconds from 0 to 86400",
                None,
            ),
            (
                "token = \"acces_token\"",
                "line 1: `token` knows no \"acces_token\"; did you mean \"access_token\"?",
                None,
            ),
            (
                "issuer = \"http://idp.example\"",
                "line 1: `issuer` is an https address (http only to this machine)",
                None,
            ),
            (
                "redirect_ports = [70000]",
                "line 1: `redirect_ports` is a list of ports from 0 to 65535",
                None,
            ),
            (
                "[profile.\"../x\"]",
                "line 1: a profile's name has letters, digits, - and _ only, at most 64 of them",
                None,
            ),
            (
                "[headers]\nX-A = 1",
                "line 1: `headers` entry `X-A` is a string, not an integer",
                None,
            ),
            (
                "client_id = \"a\\nb\"",
                "line 1: `client_id` has a control character in it",
                None,
            ),
        ];
        for (source, what, remedy) in cases {
            let problem = Document::parse(source.as_bytes()).unwrap_err();
            assert!(problem.what.starts_with(what), "{source}: {}", problem.what);
            assert_eq!(problem.remedy.as_deref(), *remedy, "{source}");
        }
    }

    #[test]
    fn every_built_in_value_is_one_that_a_file_could_set() {
        for key in KEYS {
            if let Some(value) = key.built_in.value() {
                let line = format!("{} = {}", key.name, value.to_json());
                assert!(Document::parse(line.as_bytes()).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let (_, problems) = Document::parse_all(b"a = 1\ntoken = 2\n[profile.x]\nb = 3\n");
        assert_eq!(problems.len(), 3);
        assert!(problems[2].what.starts_with("line 4"));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_problem_not_a_panic() {
        assert!(Document::parse(b"a = \"\xff\"").is_err());
        assert!(Document::parse(b"\xef\xbb\xbfclient_id = \"x\"").is_ok());
    }
}
