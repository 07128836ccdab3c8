//! gatepass's own policy in the forms in which a host's configuration travels.

use std::fmt::Write as _;

use gatepass_host::secrets::holds_secret;
use gatepass_host::{LOOK_AHEAD, Notes, Object, PolicyPayload, Target};
use serde_json::Value;

use super::native::camel_case;
use crate::config::layers::{Layers, Source};
use crate::config::profile::ProfileName;
use crate::config::schema::{KEYS, Key, Shape};

/// Seconds that gatepass waits for the person where a policy comes with the export: as long as hosts allow.
pub const POLICY_WAIT: u64 = 295;

/// The preference domain.
const DOMAIN: &str = "io.gatepass.helper";

/// Where the policy lies in the registry.
const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Gatepass";

/// Keys that differ from one laptop to the next: at home, at a customer's, in an office with a proxy of its own.
const OFTEN_LOCAL: [&str; 4] = ["proxy", "no_proxy", "ca_file", "browser"];

/// What the policy holds beside the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChoices {
    /// Freeze the keys that it does not set as well.
    pub lock_all: bool,
    /// Keep `client_secret`, for providers whose native clients have one that is no secret (Google).
    pub client_secret: bool,
}

/// What a person has configured for one profile, to be locked on other machines.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportedPolicy {
    profile: ProfileName,
    lock_all: bool,
    /// Keys in the spelling of the configuration file.
    keys: Object,
}

impl ExportedPolicy {
    /// Takes what is configured, without secrets and without what is one person's or one machine's own.
    pub fn new(
        layers: &Layers<'_>,
        profile: &ProfileName,
        ttl: u64,
        target: Target,
        choices: PolicyChoices,
        notes: &mut Notes,
    ) -> Self {
        let mut keys = Object::new();
        for key in KEYS {
            let Some((value, source)) = layers.effective(key) else {
                continue;
            };
            // What the preset says follows from its name, on the other machines as well.
            if matches!(source, Source::BuiltIn | Source::Preset(_)) {
                continue;
            }
            let value = value.to_json();
            if key.name == "client_secret" && choices.client_secret {
                notes.warn("the policy holds `client_secret`, which every user of the machine can read: right only where the provider's own words say that it is no secret");
                keys.insert(key.name.to_owned(), value);
                continue;
            }
            if let Some(why) = left_out(key, &value, &keys) {
                notes.warn(format!("the policy does not hold `{}`: {why}", key.name));
                continue;
            }
            if key.shape == Shape::Path && target != Target::here() {
                notes.warn(format!(
                    "the policy holds `{}` with a path of this machine; {} needs its own",
                    key.name,
                    target.name()
                ));
            }
            keys.insert(key.name.to_owned(), value);
        }
        keys.insert("interactive_timeout".to_owned(), POLICY_WAIT.into());
        let least = keys
            .get("min_validity")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let least = least.max(ttl + LOOK_AHEAD);
        keys.insert("min_validity".to_owned(), least.into());
        if keys.get("store").and_then(Value::as_str) == Some("file") {
            notes.warn("the policy says store = \"file\": on every machine sessions lie in a file that is not encrypted, where the keychain would keep them");
        }
        if choices.lock_all {
            let open = OFTEN_LOCAL.iter().filter(|name| !keys.contains_key(**name));
            let open: Vec<&str> = open.copied().collect();
            notes.warn(format!(
                "--lock-all freezes every key, those too that laptops often need and the policy does not set: {}",
                open.join(", ")
            ));
        }
        Self {
            profile: profile.clone(),
            lock_all: choices.lock_all,
            keys,
        }
    }

    /// In the spelling of macOS and Windows.
    fn camel(&self) -> Object {
        let spelt = |inner: &Object| -> Object {
            let members = inner.iter();
            members
                .map(|(name, value)| (camel_case(name), value.clone()))
                .collect()
        };
        let mut keys = spelt(&self.keys);
        // Its members are gatepass's own keys; those of the other tables are names of headers, parameters and claims.
        if let Some(Value::Object(inner)) = keys.get_mut("exchange") {
            *inner = spelt(inner);
        }
        keys
    }

    /// Beside a host's configuration.
    pub fn payload(&self) -> PolicyPayload {
        let keys = self.camel();
        let (mut keys, profiles) = if self.profile.is_default() {
            (keys, Vec::new())
        } else {
            (Object::new(), vec![(self.profile.to_string(), keys)])
        };
        if self.lock_all {
            keys.insert(camel_case("locked_keys"), vec!["*"].into());
        }
        PolicyPayload {
            domain: DOMAIN,
            registry_key: KEY,
            title: "gatepass".to_owned(),
            keys,
            profiles,
        }
    }

    /// As `/etc/gatepass/policy.toml`.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# Policy of gatepass: values that nobody can change on this machine.\n\
             # /etc/gatepass/policy.toml belongs to root, and nobody else may write it.\n\n",
        );
        if self.lock_all {
            out.push_str("locked_keys = [\"*\"]\n\n");
        }
        let _ = if self.profile.is_default() {
            writeln!(out, "[locked]")
        } else {
            writeln!(out, "[locked.profile.{}]", self.profile)
        };
        for (name, value) in &self.keys {
            let _ = writeln!(out, "{name} = {}", toml_text(value));
        }
        out
    }
}

/// Why a key stays out of a policy that every user of a machine can read, if it does; after the keys that are in it.
fn left_out(key: &Key, value: &Value, keys: &Object) -> Option<&'static str> {
    if key.is_secret() {
        return Some(
            "every user of the machine could read it; use a client without a secret, or client_secret_file with a file of each user's (--with-client-secret writes one that the provider says is no secret, as Google does)",
        );
    }
    match (key.name, value) {
        ("login_hint", _) => Some("it is one person's"),
        ("browser", _) => Some("it is one person's choice"),
        ("proxy", Value::String(proxy)) if proxy.contains('@') => Some("it holds a password"),
        // One without the other is refused.
        ("no_proxy", _) if !keys.contains_key("proxy") => {
            Some("it belongs to `proxy`, which the policy does not hold")
        }
        ("exchange", Value::Object(inner)) if inner.contains_key("client_secret") => {
            Some("it holds a client secret")
        }
        ("exchange" | "headers" | "token_params" | "authorize_params", value)
            if holds_secret(key.name, value) =>
        {
            Some("it holds what looks like a secret, which every user of the machine could read")
        }
        _ => None,
    }
}

/// A value of TOML, as people write it.
pub(crate) fn toml_text(value: &Value) -> String {
    match toml::Value::try_from(value) {
        Ok(value) => value.to_string(),
        // Only what TOML does not have (null, numbers beyond 64 bits), which no configuration holds.
        Err(_) => value.to_string(),
    }
}
