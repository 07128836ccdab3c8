//! Which of our languages the browser would like (`Accept-Language`, RFC 9110 section 12.5.4).

use super::words::{ENGLISH, FRENCH, GERMAN, JAPANESE, SPANISH, Words};

/// Longest header that is looked at, in bytes; browsers send less than a hundred.
const HEADER: usize = 1024;

/// Most languages that are looked at.
const RANGES: usize = 32;

/// A language in which the page can be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English, where nothing better is known.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
    /// Japanese.
    Japanese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::English,
        Self::German,
        Self::French,
        Self::Spanish,
        Self::Japanese,
    ];

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
            Self::French => &FRENCH,
            Self::Spanish => &SPANISH,
            Self::Japanese => &JAPANESE,
        }
    }

    /// The code in `lang` and `Content-Language`.
    pub fn code(self) -> &'static str {
        self.words().lang
    }

    /// The best of ours for this header; English for a header that is missing, too long or not one.
    pub fn wanted(header: Option<&[u8]>) -> Self {
        let header = header
            .filter(|header| header.len() <= HEADER)
            .and_then(|header| std::str::from_utf8(header).ok())
            .unwrap_or_default();
        let mut best = (0, Self::English);
        for range in header.split(',').take(RANGES) {
            // The first of several that are liked equally well.
            if let Some((quality, language)) = Self::range(range)
                && quality > best.0
            {
                best = (quality, language);
            }
        }
        best.1
    }

    /// One language range and how much it is liked, in thousandths; nothing for what is none of ours.
    fn range(range: &str) -> Option<(u16, Self)> {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next()?;
        let quality = match parts.next() {
            None => 1000,
            Some(weight) => thousandths(weight)?,
        };
        if parts.next().is_some() {
            return None;
        }
        let primary = tag.split('-').next()?;
        Self::ALL
            .into_iter()
            .find(|language| language.code().eq_ignore_ascii_case(primary))
            .or((tag == "*").then_some(Self::English))
            .map(|language| (quality, language))
    }
}

/// `q=0.7` as 700: `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`.
fn thousandths(weight: &str) -> Option<u16> {
    let (name, value) = weight.split_once('=')?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let fits = name.eq_ignore_ascii_case("q")
        && part.len() <= 3
        && part.bytes().all(|byte| byte.is_ascii_digit());
    match (fits, whole) {
        (true, "0") => format!("{part:0<3}").parse().ok(),
        (true, "1") if part.bytes().all(|byte| byte == b'0') => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, English, French, German, Japanese, Spanish};

    #[test]
    fn the_language_is_the_one_that_is_liked_best() {
        let long = format!("de,{}", "x".repeat(2000));
        let many = format!("{}de", "xx,".repeat(40));
        for (header, language) in [
            ("de-CH,de;q=0.9,en;q=0.8", German),
            ("en-US,en;q=0.9", English),
            ("FR", French),
            ("es-419", Spanish),
            ("ja;q=0.5, fr;q=0.4", Japanese),
            ("fr;q=0.4, ja;q=0.5", Japanese),
            ("pt-BR, es;q=0.3", Spanish),
            ("pt, nl", English),
            ("de;q=0, fr;q=0.001", French),
            ("de;q=0", English),
            ("*, de;q=0.5", English),
            ("de, *", German),
            ("fr, de", French),
            ("de;q=1.000", German),
            ("de;q=1.5, fr;q=0.1", French),
            ("de;q=0.1234, fr;q=0.1", French),
            ("de;q=x, fr", French),
            ("de;x=1;q=1, fr", French),
            ("<script>, de", German),
            ("den", English),
            ("", English),
            (";;;,,,===", English),
            (&long, English),
            (&many, English),
        ] {
            assert_eq!(
                Language::wanted(Some(header.as_bytes())),
                language,
                "{header}"
            );
        }
        assert_eq!(Language::wanted(None), English);
        assert_eq!(Language::wanted(Some(b"\xff\xfe,de")), English);
    }
}
