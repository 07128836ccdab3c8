//! A secret that cannot be shown by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A token, code, verifier or client secret.
///
/// It implements neither `Display` nor `Serialize`, its `Debug` hides the value, and the memory is wiped
/// when it is dropped. [`Secret::expose`] is the one place where the value leaves the type.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value under protection.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// Gives the value out. Every call marks a boundary at which the secret leaves gatepass's care:
    /// standard output, the keychain, or a request to the provider it belongs to.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a value from outside is the same, in constant time: how long it takes does not tell where the first
    /// difference is.
    pub fn equals(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// Length in bytes, which is all that a log may say about a secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_the_length_and_nothing_else() {
        assert_eq!(format!("{:?}", Secret::new("rt-canary")), "Secret(9 bytes)");
    }

    #[test]
    fn only_the_same_value_is_equal() {
        let secret = Secret::new("abc");
        assert!(secret.equals("abc"));
        for other in ["", "ab", "abcd", "abd", "Abc", "abc\0"] {
            assert!(!secret.equals(other), "{other}");
        }
    }
}
