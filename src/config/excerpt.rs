//! What of a large configuration file or policy concerns one profile.
//!
//! An organisation may describe a thousand profiles, and a run is about one. Understanding a megabyte of TOML takes
//! longer than everything else that a run does; finding the tables that matter takes a hundredth of that.

use std::io::Read;

use memchr::{memchr, memmem, memrchr};

#[cfg(any(test, fuzzing))]
use super::document::{Document, Problem, Table};
use super::in_order;
use super::profile::ProfileName;
#[cfg(any(test, fuzzing))]
use super::value::Value;
use crate::platform::files::{Opened, Unsafe};

/// Files up to this size are understood as a whole: that takes no longer than leaving something out.
const LARGE: u64 = 16 * 1024;

/// So much of a file is looked at at a time: memory that was never used before costs more than reading does.
const CHUNK: usize = 64 * 1024;

/// What begins or ends a string of several lines. What looks like a table's header could stand in one.
const LONG_QUOTES: [&[u8]; 2] = [b"\"\"\"", b"'''"];

/// Understands a file: as a whole, or what of it concerns a profile where that is enough and the rest is known to be
/// in order.
pub(super) fn understand<T, E>(
    file: &mut Opened,
    limit: u64,
    profile: Option<&ProfileName>,
    unreadable: impl FnOnce(Unsafe) -> E,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<T, E> {
    let profile = profile.filter(|_| file.length() > LARGE);
    let stamp = file.stamp();
    let is_known = profile.is_some() && file.length() <= limit && in_order::is_known(&stamp);
    if let Some(profile) = profile
        && is_known
        && let Some(part) = excerpt(&mut *file, profile)
        && let Ok(understood) = parse(&part)
    {
        return Ok(understood);
    }
    let understood = parse(&file.whole(limit).map_err(unreadable)?)?;
    if profile.is_some() && !is_known {
        in_order::note(&stamp);
    }
    Ok(understood)
}

/// The text without other profiles' tables, comments and empty lines: it means the same for this profile.
///
/// The whole must have been found to be in order before. `None` where lines alone do not tell for sure what they
/// belong to.
fn excerpt(mut text: impl Read, profile: &ProfileName) -> Option<Vec<u8>> {
    let mut excerpt = Excerpt {
        profile,
        kept: Vec::new(),
        keeps: true,
    };
    let mut chunk = vec![0; CHUNK];
    let mut filled = 0;
    loop {
        let read = text.read(chunk.get_mut(filled..)?).ok()?;
        filled += read;
        let whole_lines = match memrchr(b'\n', chunk.get(..filled)?) {
            Some(last) if read > 0 => last + 1,
            None if filled == CHUNK => return None,
            None if read > 0 => 0,
            _ => filled,
        };
        excerpt.take(chunk.get(..whole_lines)?)?;
        if read == 0 {
            return Some(excerpt.kept);
        }
        chunk.copy_within(whole_lines..filled, 0);
        filled -= whole_lines;
    }
}

/// What was kept so far.
struct Excerpt<'p> {
    profile: &'p ProfileName,
    kept: Vec<u8>,
    /// Whether the table that was entered last is one of ours.
    keeps: bool,
}

impl Excerpt<'_> {
    /// Takes the next lines.
    fn take(&mut self, mut lines: &[u8]) -> Option<()> {
        let mut long_quotes = LONG_QUOTES.iter();
        if long_quotes.any(|quotes| memmem::find(lines, quotes).is_some()) {
            return None;
        }
        loop {
            if !self.keeps {
                lines = from_bracket(lines);
            }
            if lines.is_empty() {
                return Some(());
            }
            let length = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            let (line, rest) = lines.split_at(length);
            lines = rest;
            match line.trim_ascii_start() {
                [] | [b'#', ..] => continue,
                [b'[', header @ ..] => self.keeps = concerns(header, self.profile)?,
                _ => {}
            }
            if self.keeps {
                self.kept.extend_from_slice(line);
            }
        }
    }
}

/// Whether the lines below a table's header are about this profile, or about all of them. `None` if this is perhaps
/// no header.
fn concerns(header: &[u8], profile: &ProfileName) -> Option<bool> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let end = header.iter().position(|b| !plain(b))?;
    let (path, rest) = header.split_at(end);
    // Part of a list could be numbers, or one of these words; nothing else in brackets is a value.
    let is_a_name = path.first().is_some_and(u8::is_ascii_alphabetic)
        && !matches!(path, b"true" | b"false" | b"inf" | b"nan");
    if !is_a_name || rest.first() != Some(&b']') {
        return None;
    }
    // A policy has the same tables once more.
    let path = [&b"locked."[..], b"default."]
        .iter()
        .find_map(|part| path.strip_prefix(*part))
        .unwrap_or(path);
    let Some(name) = path.strip_prefix(b"profile.") else {
        return Some(true);
    };
    let below = name.strip_prefix(profile.as_str().as_bytes());
    Some(below.is_some_and(|below| matches!(below, [] | [b'.', ..])))
}

/// From the next line on that begins with a bracket, blanks left out.
fn from_bracket(text: &[u8]) -> &[u8] {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| memchr(b'[', rest)) {
        let (before, rest) = text.split_at(from + found);
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let ends_with = before.iter().rev().find(|b| !blank(b));
        if ends_with.is_none_or(|b| *b == b'\n') {
            return rest;
        }
        from += found + 1;
    }
    &[]
}

/// Asserts that an excerpt says about a profile what the whole text says, if that is in order.
#[cfg(any(test, fuzzing))]
pub(crate) fn says_the_same(
    text: &[u8],
    profile: &ProfileName,
    parse: impl Fn(&[u8]) -> Result<Vec<Document>, Vec<Problem>>,
) {
    let (Ok(whole), Some(part)) = (parse(text), excerpt(text, profile)) else {
        return;
    };
    // Lines are those of the file, and an excerpt is none.
    let values = |table: &Table| -> Vec<(&str, Value)> {
        let pairs = table.iter();
        pairs
            .map(|(name, placed)| (*name, placed.value.clone()))
            .collect()
    };
    let said = |documents: &[Document]| -> Vec<_> {
        let documents = documents.iter();
        documents
            .map(|document| {
                let own = document.profiles.get(profile);
                (values(&document.top), own.map(values))
            })
            .collect()
    };
    assert_eq!(
        parse(&part).map(|documents| said(&documents)),
        Ok(said(&whole)),
        "{}",
        String::from_utf8_lossy(&part)
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{excerpt, says_the_same};
    use crate::config::document::Document;
    use crate::config::policy::Policy;
    use crate::config::profile::ProfileName;

    fn of(text: &str) -> Option<String> {
        let profile = ProfileName::parse("a").unwrap();
        excerpt(text.as_bytes(), &profile).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn what_concerns_others_is_left_out() {
        let cases = [
            ("", ""),
            ("x = 1", "x = 1"),
            ("# c\n\nx = 1 # d\n", "x = 1 # d\n"),
            ("x = 1\n[profile.b]\ny = 2", "x = 1\n"),
            (
                "[profile.b]\ny = 2\n[profile.a]\nz = 3",
                "[profile.a]\nz = 3",
            ),
            (
                "[profile.ab]\nx = [\n\"[\",\n]\n  [profile.a.headers] # [c]\r\nX = '1'\r\n",
                "[profile.a.headers] # [c]\r\nX = '1'\r\n",
            ),
            ("[profile]\nb.x = 1\n", "[profile]\nb.x = 1\n"),
            ("[headers]\nX = '1'\n", "[headers]\nX = '1'\n"),
            (
                "[locked]\nx = 1\n[locked.profile.b]\ny = 1\n[default]\nz = 1\n[default.profile.a]\nw = 1\n",
                "[locked]\nx = 1\n[default]\nz = 1\n[default.profile.a]\nw = 1\n",
            ),
            ("[profile.b]\n#[profile.a]\nx = 1\n", ""),
        ];
        for (text, kept) in cases {
            assert_eq!(of(text).as_deref(), Some(kept), "{text}");
        }
    }

    #[test]
    fn where_lines_do_not_tell_nothing_is_left_out() {
        for text in [
            "x = \"\"\"\n[profile.b]\n\"\"\"\n",
            "x = '''\n[profile.b]\n'''\n",
            "[profile.'a']\nx = 1\n",
            "[ profile.a ]\nx = 1\n",
            "[profile . a]\nx = 1\n",
            "[[profile.a]]\nx = 1\n",
            "x = [\n[1, 2],\n]\n",
            "[profile.b]\nx = [\n[1],\n]\n",
            "[profile.b]\nx = [\n[true]\n]\n",
            "x = [\n[nan]\n]\n",
            "x = [\n['a']\n]\n",
            "x = [\n[1979-05-27]\n]\n",
            "[profile.b\n",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    /// A piece of a file, so that files made of them are often in order.
    fn piece() -> impl Strategy<Value = String> {
        let table = prop_oneof![
            Just(String::new()),
            "(locked\\.|default\\.)?(profile\\.)?(a|b|c)(\\.headers|\\.exchange)?",
            "(locked|default|headers)",
        ];
        let line = prop_oneof![
            "(min_validity|session_lifetime) = [1-9]{1,2}",
            "(audience|client_id) = (\"[a-z\\[\\]# ]{1,5}\"|'''\n\\[profile.b\\]''')",
            "scopes = \\[\n? ?(\"x\",)?\n?( #y\\]\n)?\\]",
            "X-[AB] = 'x\\[y'",
            "required_claims.x = \\[(\n\\[(true|1|\"a\")\\],)?\n\\]",
            "(# ?\\[profile.a\\]|)",
        ];
        (table, prop::collection::vec(line, 0..4), "[ \t]{0,2}").prop_map(
            |(table, lines, blank)| {
                let mut text = String::new();
                if !table.is_empty() {
                    text = format!("{blank}[{table}]\n");
                }
                for line in lines {
                    text.push_str(&format!("{blank}{line}\n"));
                }
                text
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 1000 } else { 30_000 }))]

        #[test]
        fn an_excerpt_says_the_same_about_its_profile(pieces in prop::collection::vec(piece(), 0..6)) {
            let text = pieces.concat().into_bytes();
            for name in ["a", "b", "default"] {
                let profile = ProfileName::parse(name).unwrap();
                says_the_same(&text, &profile, |text| {
                    Document::parse(text).map(|one| vec![one]).map_err(|problem| vec![problem])
                });
                says_the_same(&text, &profile, |text| {
                    let policy = Policy::parse(text)?;
                    Ok(vec![policy.locked, policy.defaults])
                });
            }
        }
    }
}
