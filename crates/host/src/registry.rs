//! Registration files (`.reg`), as regedit and `reg import` read them.

use std::fmt::Write as _;

/// The first line of every file.
const HEADER: &str = "Windows Registry Editor Version 5.00";

/// The first line of files for Windows 98 and before, whose text is in the machine's own code page.
const OLD_HEADER: &str = "REGEDIT4";

/// A value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// `REG_SZ`.
    Text(String),
    /// `REG_DWORD`.
    Number(u32),
    /// A type that policies are not read from, by its name.
    Other(&'static str),
    /// The file removes this value.
    Removed,
}

/// One key and the values below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The key's path, beginning with its hive.
    pub path: String,
    /// The line it stands on, counted from 1.
    pub line: usize,
    /// Names, values and lines.
    pub values: Vec<(String, Data, usize)>,
}

impl Section {
    /// An empty section.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// An empty section below the machine's hive.
    pub fn machine(key: &str) -> Self {
        Self::new(format!(r"HKEY_LOCAL_MACHINE\{key}"))
    }

    /// Adds a value.
    pub fn push(&mut self, name: impl Into<String>, value: Data) {
        self.values.push((name.into(), value, 0));
    }
}

/// The file: UTF-16 with a byte order mark, lines that end in CR LF.
pub fn write(sections: &[Section]) -> Vec<u8> {
    let mut text = format!("{HEADER}\r\n");
    for section in sections {
        let _ = write!(text, "\r\n[{}]\r\n", section.path);
        for (name, value, _) in &section.values {
            let _ = match value {
                Data::Text(value) => {
                    write!(text, "\"{}\"=\"{}\"\r\n", escaped(name), escaped(value))
                }
                Data::Number(number) => {
                    write!(text, "\"{}\"=dword:{number:08x}\r\n", escaped(name))
                }
                Data::Removed => write!(text, "\"{}\"=-\r\n", escaped(name)),
                Data::Other(_) => Ok(()),
            };
        }
    }
    text.push_str("\r\n");
    let mut bytes = vec![0xFF, 0xFE];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

/// A string as it stands between quotes. It cannot hold line breaks: configuration values have none.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"")
}

/// What a file says, and what is wrong with its form, each with the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The keys in it.
    pub sections: Vec<Section>,
    /// What regedit would stumble over or read otherwise than meant.
    pub problems: Vec<(usize, String)>,
}

/// The text, if these bytes are a registration file.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => {
            let units: Vec<u16> = rest
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(&units)
        }
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let first = text.lines().next().unwrap_or_default().trim();
    (first.eq_ignore_ascii_case(HEADER) || first == OLD_HEADER).then_some(text)
}

/// Reads a text that [`decode`] gave.
pub fn parse(text: &str) -> File {
    let mut file = File::default();
    let mut lines = text.lines().enumerate().skip(1);
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let mut line = line.trim().to_owned();
        // Binary values go on in the next line after a backslash.
        while line.ends_with('\\') && !line.starts_with('[') && !line.ends_with("\\\"") {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim()),
                None => break,
            }
        }
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if let Some(path) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            file.sections.push(Section {
                path: path.to_owned(),
                line: number,
                values: Vec::new(),
            });
            continue;
        }
        match (value_line(&line), file.sections.last_mut()) {
            (Some((name, value)), Some(section)) => section.values.push((name, value, number)),
            (Some(_), None) => file
                .problems
                .push((number, "a value stands before the first [key]".to_owned())),
            (None, _) => file
                .problems
                .push((number, "this is no line of a registration file".to_owned())),
        }
    }
    file
}

/// `"name"=value`.
fn value_line(line: &str) -> Option<(String, Data)> {
    let (name, rest) = match line.strip_prefix('@') {
        Some(rest) => (String::new(), rest),
        None => quoted(line)?,
    };
    let rest = rest.trim_start().strip_prefix('=')?.trim();
    let value = if rest == "-" {
        Data::Removed
    } else if rest.starts_with('"') {
        let (text, after) = quoted(rest)?;
        if !after.trim().is_empty() {
            return None;
        }
        Data::Text(text)
    } else {
        let (kind, data) = rest.split_once(':')?;
        match kind.to_ascii_lowercase().as_str() {
            "dword" => Data::Number(u32::from_str_radix(data.trim(), 16).ok()?),
            "hex" | "hex(3)" => Data::Other("REG_BINARY"),
            "hex(1)" => Data::Text(wide(data)?),
            "hex(2)" => Data::Other("REG_EXPAND_SZ"),
            "hex(4)" => Data::Number(little(data)?),
            "hex(7)" => Data::Other("REG_MULTI_SZ"),
            "hex(b)" => Data::Other("REG_QWORD"),
            _ => Data::Other("an unknown type"),
        }
    };
    Some((name, value))
}

/// A quoted string at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => out.push(characters.next()?.1),
            '"' => return Some((out, &text[at + 2..])),
            c => out.push(c),
        }
    }
    None
}

fn bytes(data: &str) -> Option<Vec<u8>> {
    data.split(',')
        .map(|byte| u8::from_str_radix(byte.trim(), 16).ok())
        .collect()
}

/// A string that is written as its bytes.
fn wide(data: &str) -> Option<String> {
    let units: Vec<u16> = bytes(data)?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Some(
        String::from_utf16_lossy(&units)
            .trim_end_matches('\0')
            .to_owned(),
    )
}

/// A number that is written as its bytes.
fn little(data: &str) -> Option<u32> {
    Some(u32::from_le_bytes(bytes(data)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Data, Section, decode, parse, write};

    #[test]
    fn what_is_written_is_read_back() {
        let mut section = Section::new(r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude");
        section.push("path", Data::Text(r#"C:\a "b"\c\"#.to_owned()));
        section.push("number", Data::Number(300));
        section.push("Grüße", Data::Text("世界 {\"a\":[1]}".to_owned()));
        let bytes = write(std::slice::from_ref(&section));
        assert_eq!(bytes[..4], [0xFF, 0xFE, b'W', 0]);
        let text = decode(&bytes).unwrap();
        assert!(text.contains("\r\n\"number\"=dword:0000012c\r\n"));
        let file = parse(&text);
        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let read: Vec<_> = file.sections[0]
            .values
            .iter()
            .map(|(name, value, _)| (name, value))
            .collect();
        let written: Vec<_> = section
            .values
            .iter()
            .map(|(name, value, _)| (name, value))
            .collect();
        assert_eq!(read, written);
        assert_eq!(file.sections[0].path, section.path);
    }

    #[test]
    fn types_and_lines_are_told() {
        let text = "Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\X]\n\
                    \"q\"=hex(b):01,00,00,00,\\\n  00,00,00,00\n\"m\"=hex(7):61,00,00,00\n\
                    \"e\"=hex(2):25,00\n@=\"d\"\n\"r\"=-\nnonsense\n";
        let file = parse(text);
        let values = &file.sections[0].values;
        let expected = [
            ("q", Data::Other("REG_QWORD"), 4),
            ("m", Data::Other("REG_MULTI_SZ"), 6),
            ("e", Data::Other("REG_EXPAND_SZ"), 7),
            ("", Data::Text("d".to_owned()), 8),
            ("r", Data::Removed, 9),
        ];
        for ((name, value, line), expected) in values.iter().zip(expected) {
            assert_eq!(
                (name.as_str(), value, line),
                (expected.0, &expected.1, &expected.2)
            );
        }
        assert_eq!(
            file.problems,
            [(10, "this is no line of a registration file".to_owned())]
        );
    }

    #[test]
    fn other_files_are_not_taken_for_it() {
        for bytes in [&b"{}"[..], b"", b"\xff\xfe", b"<?xml"] {
            assert!(decode(bytes).is_none());
        }
    }
}
