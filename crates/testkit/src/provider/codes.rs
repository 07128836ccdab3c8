//! Random values and digests in the forms that OAuth wants.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// Base64url without padding (RFC 7515).
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Random bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random source");
    bytes
}

/// A secret of 256 bits: code, refresh token, device code. `kind` makes it recognisable in a dump.
pub(crate) fn secret(kind: &str) -> String {
    format!("{kind}-{}", base64url(random_bytes::<32>()))
}

/// A short identifier: `kid`, `jti`, handle of a page.
pub(crate) fn identifier() -> String {
    base64url(random_bytes::<9>())
}

/// A code that people can read out: eight consonants (RFC 8628 section 6.1).
pub(crate) fn user_code() -> String {
    const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    let letters: String = random_bytes::<8>()
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 20)]))
        .collect();
    format!("{}-{}", &letters[..4], &letters[4..])
}

/// What a person typed, in the spelling of [`user_code`].
pub(crate) fn normal_user_code(typed: &str) -> String {
    let letters: String = typed
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    match letters.split_at_checked(4) {
        Some((first, second)) => format!("{first}-{second}"),
        None => letters,
    }
}

/// Whether the code challenge has the form that RFC 7636 gives an S256 challenge.
pub(crate) fn is_s256_challenge(challenge: &str) -> bool {
    challenge.len() == 43 && from_base64url(challenge).is_some()
}

/// Whether the code verifier has the form of RFC 7636 section 4.1 and belongs to the S256 challenge.
pub(crate) fn verifier_matches(verifier: &str, challenge: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        && s256(verifier) == challenge
}

/// The S256 code challenge of a verifier.
pub(crate) fn s256(verifier: &str) -> String {
    base64url(Sha256::digest(verifier))
}

/// `at_hash` of OpenID Connect Core 3.1.3.6 for the SHA-256 algorithms.
pub(crate) fn at_hash(access_token: &str) -> String {
    base64url(&Sha256::digest(access_token)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_codes_are_forgiven() {
        let code = user_code();
        let typed = code.to_lowercase().replace('-', " ");
        assert_eq!(normal_user_code(&typed), code);
        assert_eq!(normal_user_code("ab"), "AB");
    }

    /// The example of RFC 7636 appendix B.
    #[test]
    fn s256_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(verifier_matches(
            verifier,
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        ));
        assert!(!verifier_matches(
            "short",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        ));
    }
}
