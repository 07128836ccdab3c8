//! A digest of everything in a configuration that can change a token: what was issued under another one is not used.

use sha2::{Digest, Sha256};

use super::layers::Layers;
use super::schema::{Effect, KEYS};
use super::value::ConfigValue;
use crate::text::hex;

/// Adds a value to a digest, so that no two values add the same bytes.
fn add(hash: &mut Sha256, value: &ConfigValue) {
    let mut text = |kind: &[u8], text: &str| {
        hash.update(kind);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    match value {
        ConfigValue::Text(value) => text(b"s", value),
        ConfigValue::Number(number) => {
            hash.update(b"n");
            hash.update(number.to_le_bytes());
        }
        ConfigValue::Flag(flag) => hash.update(if *flag { b"t" } else { b"f" }),
        ConfigValue::List(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| add(hash, item));
            hash.update(b"]");
        }
        ConfigValue::Table(table) => {
            hash.update(b"{");
            for (name, value) in table {
                add(hash, &ConfigValue::Text(name.clone()));
                add(hash, value);
            }
            hash.update(b"}");
        }
    }
}

/// The digest, in hexadecimal.
pub(super) fn token_digest(layers: &Layers<'_>) -> String {
    let mut hash = Sha256::new();
    for key in KEYS.iter().filter(|key| key.effect == Effect::OnToken) {
        if let Some((value, _)) = layers.effective(key) {
            hash.update(key.name);
            hash.update(b"=");
            add(&mut hash, &value);
        }
    }
    // A remote sign-out makes every cached token worthless.
    if let Some(moment) = layers.policy.and_then(|policy| policy.session_not_before) {
        hash.update(moment.to_le_bytes());
    }
    hex(&hash.finalize())
}
