//! A configuration file, read against the schema.
//!
//! Errors name the line and the key, and propose the nearest key where one was mistyped.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address;
use super::profile::ProfileName;
use super::schema::{self, KEYS, Key, Shape};
use super::secrecy;
use super::value::ConfigValue;
use crate::text;

/// A value and the line it stands on (counted from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What was written.
    pub value: ConfigValue,
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
        let mut reader = DocumentReader::default();
        let document = reader
            .open(bytes)
            .map(|root| reader.document(root.get_ref()))
            .unwrap_or_default();
        (document, reader.into_problems())
    }

    /// Whether a value in it must not be readable by other users.
    pub fn holds_a_secret(&self) -> bool {
        let holds = |table: &Table| {
            table.iter().any(|(name, placed)| {
                Key::find(name).is_some_and(|key| secrecy::holds_secret(key, &placed.value))
            })
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
pub(super) struct DocumentReader {
    line_ends: Vec<usize>,
    pub(super) problems: Vec<(usize, Problem)>,
    /// Unknown keys are left out instead of refused, and named here.
    pub(super) ignored: Option<Vec<String>>,
}

impl DocumentReader {
    /// Parses a TOML text; where it is none, that is the first problem.
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
            return self.problem(line, "`profile` must be a table: [profile.NAME]");
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
                (Ok(_), _) => self.problem(line, "a profile must be a table: [profile.NAME]"),
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
        match shaped(value.get_ref(), key.shape, &mut self.ignored) {
            Ok(value) => {
                into.insert(key.name, Placed { value, line });
            }
            Err(wrong) => {
                let what = format!("`{name}{}` {}", wrong.within, wrong.what);
                self.problem_with(line, what, wrong.remedy);
            }
        }
    }
}

/// What is wrong with a value, after the key's name.
pub(super) struct Wrong {
    /// The key within a table that it is about, if it is one.
    within: String,
    what: String,
    remedy: Option<String>,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self {
            within: String::new(),
            what,
            remedy: None,
        }
    }
}

impl From<&str> for Wrong {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

impl Wrong {
    /// The same, of a key within a table.
    fn within(mut self, key: &str) -> Self {
        self.within = format!(".{key}{}", self.within);
        self
    }
}

/// Checks a value against its key's shape and takes it over. Unknown keys of tables are left out where there is a
/// list that takes their names.
fn shaped(
    value: &DeValue<'_>,
    shape: Shape,
    ignored: &mut Option<Vec<String>>,
) -> Result<ConfigValue, Wrong> {
    match shape {
        Shape::Text => Ok(ConfigValue::Text(text_value(value)?)),
        Shape::Url => {
            let url = text_value(value)?;
            address::check_url(&url)?;
            Ok(ConfigValue::Text(url))
        }
        Shape::Path => {
            let path = text_value(value)?;
            if std::path::Path::new(&path).is_absolute() {
                Ok(ConfigValue::Text(path))
            } else {
                Err("must be an absolute path".into())
            }
        }
        Shape::Seconds(least, most) => match number(value) {
            Some(seconds) if (least..=most).contains(&seconds) => Ok(ConfigValue::Number(seconds)),
            _ => Err(format!("must be a whole number of seconds from {least} to {most}").into()),
        },
        Shape::Number(least, most) => match number(value) {
            Some(number) if (least..=most).contains(&number) => Ok(ConfigValue::Number(number)),
            _ => Err(format!("must be a whole number from {least} to {most}").into()),
        },
        Shape::Flag => value
            .as_bool()
            .map(ConfigValue::Flag)
            .ok_or_else(|| "must be true or false, without quotes".into()),
        Shape::Choice(words) => choice(value, words),
        Shape::TextList => list(value, "[\"one\", \"two\"]", |item| {
            text_value(item).map(ConfigValue::Text)
        }),
        Shape::Proxy => {
            let proxy = text_value(value)?;
            address::check_proxy(&proxy)?;
            Ok(ConfigValue::Text(proxy))
        }
        Shape::UriList => list(value, "[\"https://api.example.com\"]", uri),
        Shape::PortList => list(value, "[8400]", |item| match number(item) {
            Some(port) if port <= u64::from(u16::MAX) => Ok(ConfigValue::Number(port)),
            _ => Err("must be a list of ports from 0 to 65535: [8400]".to_owned()),
        }),
        Shape::TextOrList => match value {
            DeValue::Array(_) => shaped(value, Shape::TextList, ignored),
            _ => shaped(value, Shape::Text, ignored),
        },
        Shape::UriOrList => match value {
            DeValue::Array(_) => shaped(value, Shape::UriList, ignored),
            _ => Ok(uri(value)?),
        },
        Shape::Pointer => {
            let pointer = text_value(value)?;
            address::check_pointer(&pointer)?;
            Ok(ConfigValue::Text(pointer))
        }
        // An empty string is a value here: it leaves a parameter out.
        Shape::TextTable => table(value, |item| match item.as_str() {
            Some("") => Ok(ConfigValue::from("")),
            _ => text_value(item).map(ConfigValue::Text),
        }),
        Shape::ClaimTable => table(value, claim),
        Shape::Json => match value {
            DeValue::String(_) => Ok(ConfigValue::Text(text_value(value)?)),
            _ => table(value, anything),
        },
        Shape::Table(keys) => own_table(value, keys, ignored),
    }
}

/// One of a few words.
fn choice(value: &DeValue<'_>, words: &[&str]) -> Result<ConfigValue, Wrong> {
    let allowed = any_of(words);
    match value.as_str() {
        Some(word) if words.contains(&word) => Ok(ConfigValue::Text(word.to_owned())),
        Some(word) => Err(Wrong {
            remedy: text::nearest(word, words.iter().copied())
                .map(|near| format!("did you mean \"{near}\"?")),
            ..format!("must be {allowed}, not \"{}\"", text::printable(word, 80)).into()
        }),
        None => Err(format!("must be a string: {allowed}").into()),
    }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn any_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A table whose keys are listed.
fn own_table(
    value: &DeValue<'_>,
    keys: &[&'static Key],
    ignored: &mut Option<Vec<String>>,
) -> Result<ConfigValue, Wrong> {
    let entries = value
        .as_table()
        .ok_or_else(|| format!("must be a table, not {}", article(value)))?;
    let mut found = BTreeMap::new();
    for (name, value) in entries {
        let name = name.get_ref().as_ref();
        let Some(key) = schema::find(keys, name) else {
            let shown = text::printable(name, 80);
            if let Some(ignored) = ignored {
                ignored.push(shown);
                continue;
            }
            return Err(Wrong {
                remedy: text::nearest(name, keys.iter().map(|key| key.name))
                    .map(|near| format!("did you mean `{near}`?")),
                ..format!("has no key `{shown}`").into()
            });
        };
        let value =
            shaped(value.get_ref(), key.shape, ignored).map_err(|wrong| wrong.within(key.name))?;
        found.insert(key.name.to_owned(), value);
    }
    Ok(ConfigValue::Table(found))
}

pub(super) fn text_value(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some(text) if text.chars().any(char::is_control) => {
            Err("must not have a control character in it".to_owned())
        }
        Some("") => Err("must not be empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("must be a string, not {}", article(value))),
    }
}

fn uri(value: &DeValue<'_>) -> Result<ConfigValue, String> {
    let uri = text_value(value)?;
    address::check_resource(&uri)?;
    Ok(ConfigValue::Text(uri))
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

/// A list, which looks like `example`.
fn list(
    value: &DeValue<'_>,
    example: &str,
    item: impl Fn(&DeValue<'_>) -> Result<ConfigValue, String>,
) -> Result<ConfigValue, Wrong> {
    // One string in place of a list is meant as a list of one.
    let array = value.as_array().ok_or_else(|| match value.as_str() {
        Some(one) => format!(
            "must be a list: [\"{}\"]",
            text::printable(one, 80).replace(' ', "\", \"")
        ),
        None => format!("must be a list, such as {example}, not {}", article(value)),
    })?;
    let items: Result<Vec<_>, String> = array
        .iter()
        .map(|element| item(element.get_ref()))
        .collect();
    Ok(ConfigValue::List(items?))
}

fn table(
    value: &DeValue<'_>,
    item: impl Fn(&DeValue<'_>) -> Result<ConfigValue, String>,
) -> Result<ConfigValue, Wrong> {
    let table = value
        .as_table()
        .ok_or_else(|| format!("must be a table, not {}", article(value)))?;
    let entries: Result<BTreeMap<_, _>, String> = table
        .iter()
        .map(|(name, element)| {
            item(element.get_ref())
                .map(|value| (name.get_ref().clone().into_owned(), value))
                .map_err(|reason| format!("entry `{}` {reason}", name.get_ref()))
        })
        .collect();
    Ok(ConfigValue::Table(entries?))
}

fn items(
    array: &[Spanned<DeValue<'_>>],
    item: fn(&DeValue<'_>) -> Result<ConfigValue, String>,
) -> Result<ConfigValue, String> {
    let items: Result<_, _> = array
        .iter()
        .map(|element| item(element.get_ref()))
        .collect();
    items.map(ConfigValue::List)
}

fn claim(value: &DeValue<'_>) -> Result<ConfigValue, String> {
    match value {
        DeValue::Boolean(flag) => Ok(ConfigValue::Flag(*flag)),
        DeValue::Integer(_) => number(value)
            .map(ConfigValue::Number)
            .ok_or_else(|| "must be a whole number that is not negative".to_owned()),
        DeValue::Array(array) => items(array, claim),
        _ => text_value(value).map(ConfigValue::Text),
    }
}

/// A value of JSON.
fn anything(value: &DeValue<'_>) -> Result<ConfigValue, String> {
    match value {
        DeValue::Table(table) => {
            let entries: Result<BTreeMap<_, _>, String> = table
                .iter()
                .map(|(name, element)| {
                    let value = anything(element.get_ref())?;
                    Ok((name.get_ref().clone().into_owned(), value))
                })
                .collect();
            entries.map(ConfigValue::Table)
        }
        DeValue::Array(array) => items(array, anything),
        DeValue::String(text) => Ok(ConfigValue::Text(text.clone().into_owned())),
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
                "line 1: `client_id` must be a string, not an integer",
                None,
            ),
            (
                "min_validity = -1",
                "line 1: `min_validity` must be a whole number of seconds from 0 to 86400",
                None,
            ),
            (
                "token = \"acces_token\"",
                "line 1: `token` must be \"access_token\" or \"id_token\", not \"acces_token\"",
                Some("did you mean \"access_token\"?"),
            ),
            (
                "issuer = \"http://idp.example\"",
                "line 1: `issuer` must start with https:// (http:// only for a loopback address)",
                None,
            ),
            (
                "redirect_ports = [70000]",
                "line 1: `redirect_ports` must be a list of ports from 0 to 65535: [8400]",
                None,
            ),
            (
                "[profile.\"../x\"]",
                "line 1: a profile's name has letters, digits, - and _ only, at most 64 of them",
                None,
            ),
            (
                "[headers]\nX-A = 1",
                "line 1: `headers` entry `X-A` must be a string, not an integer",
                None,
            ),
            (
                "scopes = 'openid email'",
                "line 1: `scopes` must be a list: [\"openid\", \"email\"]",
                None,
            ),
            (
                "exchange.token_urll = 'https://a.example'",
                "line 1: `exchange` has no key `token_urll`",
                Some("did you mean `token_url`?"),
            ),
            (
                "exchange.method = 'DELETE'",
                "line 1: `exchange.method` must be \"POST\", \"PUT\" or \"GET\", not \"DELETE\"",
                None,
            ),
            (
                "client_id = \"a\\nb\"",
                "line 1: `client_id` must not have a control character in it",
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
