//! What a credential for the gateway may look like: when it is stored, and once more before it is printed.
//!
//! Hosts put what gatepass prints into a header, and some read header lines as they are: a line break in a key would
//! be a second header.

use crate::secret::Secret;

/// Longest credential, in bytes: gateways take no longer headers.
pub const LONGEST: usize = 16 * 1024;

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The token or key itself.
    Token,
    /// The value of another header, which may have spaces within.
    Header,
}

/// Whether a person's key or header may be stored: visible ASCII of at most [`LONGEST`] bytes; in a header also
/// spaces, but not at its ends.
pub fn may_be_stored(secret: &Secret, purpose: Use) -> bool {
    let text = secret.expose();
    may_be_printed(secret, purpose) && !text.is_empty() && text.trim() == text
}

/// Whether a credential may be printed: the characters of a header's value (RFC 9110 section 5.5, ASCII alone) and at
/// most [`LONGEST`] bytes. A token has no spaces and is never empty.
pub fn may_be_printed(secret: &Secret, purpose: Use) -> bool {
    let text = secret.expose();
    text.len() <= LONGEST
        && match purpose {
            Use::Token => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            Use::Header => text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_its_header_is_neither_stored_nor_printed() {
        let long = "x".repeat(LONGEST);
        let too_long = "x".repeat(LONGEST + 1);
        for (text, purpose, stored, printed) in [
            ("sk-1", Use::Token, true, true),
            (&*long, Use::Token, true, true),
            (&*too_long, Use::Token, false, false),
            ("", Use::Token, false, false),
            ("sk 1", Use::Token, false, false),
            ("sk-1\r\nX-Evil: 1", Use::Token, false, false),
            ("sk-1\n", Use::Token, false, false),
            ("sk\u{7}", Use::Token, false, false),
            ("schlüssel", Use::Token, false, false),
            ("two words", Use::Header, true, true),
            (" two words", Use::Header, false, true),
            ("", Use::Header, false, true),
            ("a\tb", Use::Header, false, false),
            ("a\r\nb", Use::Header, false, false),
            ("a\0", Use::Header, false, false),
            (&*too_long, Use::Header, false, false),
        ] {
            let secret = Secret::new(text);
            let shown: String = text.chars().take(20).collect();
            assert_eq!(may_be_stored(&secret, purpose), stored, "{shown:?}");
            assert_eq!(may_be_printed(&secret, purpose), printed, "{shown:?}");
        }
    }
}
