//! Text that came from outside, made safe to show.

/// Longest text from a server that is shown, in characters.
pub const SERVER_TEXT: usize = 300;

/// Keeps what a person can read: no control, bidirectional or invisible characters, at most `limit` characters.
///
/// Line breaks and tabs become one space, so that a message keeps the number of lines its author gave it.
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    let mut kept = 0;
    let mut pending_space = false;
    for c in text.chars() {
        if c.is_whitespace() {
            pending_space = kept > 0;
            continue;
        }
        if !is_plain(c) {
            continue;
        }
        if kept + 1 + usize::from(pending_space) > limit {
            out.push('…');
            return out;
        }
        if pending_space {
            out.push(' ');
            kept += 1;
            pending_space = false;
        }
        out.push(c);
        kept += 1;
    }
    out
}

/// A text that a server sent, sanitised and cut to [`SERVER_TEXT`].
pub fn from_server(text: &str) -> String {
    printable(text, SERVER_TEXT)
}

/// A server's text without the secret that it was sent: some servers put what they refuse into their errors.
pub fn without(text: &str, sent: &str) -> String {
    if sent.is_empty() {
        return text.to_owned();
    }
    text.replace(sent, "…")
}

/// Neither a control character nor one that changes how its neighbours are drawn (Unicode bidi controls,
/// zero-width and tag characters, soft hyphen, private use, non-characters).
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c as u32,
            0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F
            | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB | 0xE000..=0xF8FF | 0xE0000..=0x10FFFF
        )
}

/// A moment as people in scripts and mails write it: UTC, to the second.
pub fn moment(unix_seconds: u64) -> String {
    time::OffsetDateTime::from_unix_timestamp(i64::try_from(unix_seconds).unwrap_or(i64::MAX))
        .ok()
        .and_then(|at| {
            at.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_else(|| "an unknown time".to_owned())
}

/// A duration for people: `45 s`, `7 min`, `3 h 20 min`, `12 days`.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => match (seconds / 3600, seconds % 3600 / 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Words in lines of at most `columns` characters. A word that is longer has a line of its own, whole: it may be an
/// address or a path to be copied.
pub fn lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines.push(line);
    lines
}

/// Lines that fit a terminal of `width` columns, all of them beginning at column `indent`. The first one is where
/// the cursor is.
pub fn wrapped(text: &str, indent: usize, width: usize) -> String {
    // On a very narrow terminal a ragged column is better than one word to a line.
    let columns = width.saturating_sub(indent).max(20);
    lines(text, columns).join(&format!("\n{}", " ".repeat(indent)))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    out
}

/// The candidate that was most probably meant by `wrong`, if one is near enough to be worth naming.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + wrong.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(wrong, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{duration, lines, nearest, printable, wrapped};

    #[test]
    fn hostile_text_becomes_plain() {
        let cases = [
            ("plain", "plain"),
            (
                "\u{1b}]8;;https://evil\u{7}click\u{1b}]8;;\u{7}",
                "]8;;https://evilclick]8;;",
            ),
            ("a\r\n\tb", "a b"),
            ("\u{202e}evil\u{2066}\u{200d}", "evil"),
            ("  Grüße, 世界  ", "Grüße, 世界"),
            ("c1\u{9b}31m", "c131m"),
            ("tag\u{e0041}", "tag"),
        ];
        for (from, to) in cases {
            assert_eq!(printable(from, 300), to);
        }
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(printable(&"é".repeat(400), 300).chars().count(), 301);
        assert_eq!(printable("ab cd", 5), "ab cd");
        assert_eq!(printable("ab cd", 3), "ab…");
    }

    #[test]
    fn nearest_names_a_typing_error_but_not_a_stranger() {
        let keys = ["issuer", "client_id", "scopes"];
        assert_eq!(nearest("isuer", keys), Some("issuer"));
        assert_eq!(nearest("clientid", keys), Some("client_id"));
        assert_eq!(nearest("banana", keys), None);
    }

    #[test]
    fn lines_are_broken_between_words() {
        let text = "one two three four https://idp.example.com/a/very/long/address five";
        assert_eq!(
            wrapped(text, 2, 24),
            "one two three four\n  https://idp.example.com/a/very/long/address\n  five"
        );
        assert_eq!(wrapped("one two", 70, 80), "one two", "never less than 20");
        let sentence = "Öpen this address in a browser: https://idp.example/very-long";
        for (columns, count) in [(100, 1), (61, 1), (60, 2), (20, 3), (1, 7)] {
            let lines = lines(sentence, columns);
            assert_eq!(lines.len(), count, "{columns} {lines:?}");
            assert_eq!(lines.join(" "), sentence);
        }
        assert_eq!(lines("", 4), [""]);
    }

    #[test]
    fn durations_read_like_speech() {
        for (seconds, text) in [
            (45, "45 s"),
            (420, "7 min"),
            (7200, "2 h"),
            (12_000, "3 h 20 min"),
            (2_000_000, "23 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
