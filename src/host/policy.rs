//! gatepass's own policy in the forms in which a host's configuration travels.

use std::fmt::Write as _;

use super::json::{Json, Object};
use super::mobileconfig::Payload;
use super::plan::{Notes, POLICY_WAIT};
use super::registry::{Section, Value};
use super::secrets::holds_secret;
use super::{LOOK_AHEAD, Target};
use crate::config::layers::{Layers, Source};
use crate::config::profile::ProfileName;
use crate::config::schema::{KEYS, Key, Shape};

/// The preference domain.
const DOMAIN: &str = "io.gatepass.helper";

/// Where the policy lies in the registry.
const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Gatepass";

/// What a person has configured for one profile, to be locked on other machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    profile: ProfileName,
    /// Keys in the spelling of the configuration file.
    keys: Object,
    title: String,
}

impl Policy {
    /// Takes what is configured, without secrets and without what is one person's or one machine's own.
    pub fn new(
        layers: &Layers<'_>,
        profile: &ProfileName,
        ttl: u64,
        target: Target,
        notes: &mut Notes,
    ) -> Self {
        let mut keys = Object::default();
        for key in KEYS {
            let Some((value, source)) = layers.effective(key) else {
                continue;
            };
            // What the preset says follows from its name, on the other machines as well.
            if matches!(source, Source::BuiltIn | Source::Preset(_)) {
                continue;
            }
            let value = Json::from(&value.to_json());
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
            keys.set(key.name, value);
        }
        keys.set("interactive_timeout", Json::whole(POLICY_WAIT));
        let least = match keys.get("min_validity") {
            Some(Json::Number(number)) => number.as_u64().unwrap_or(0),
            _ => 0,
        };
        keys.set("min_validity", Json::whole(least.max(ttl + LOOK_AHEAD)));
        Self {
            profile: profile.clone(),
            keys,
            title: "gatepass".to_owned(),
        }
    }

    /// In the spelling of macOS and Windows.
    fn camel(&self) -> Object {
        Object(
            self.keys
                .iter()
                .map(|(name, value)| {
                    let value = match (name, value) {
                        // Its members are gatepass's own keys; those of the other tables are names of headers,
                        // parameters and claims.
                        ("exchange", Json::Object(inner)) => Json::from(Object(
                            inner
                                .iter()
                                .map(|(name, value)| (camel_case(name), value.clone()))
                                .collect(),
                        )),
                        (_, value) => value.clone(),
                    };
                    (camel_case(name), value)
                })
                .collect(),
        )
    }

    /// As the second payload of a configuration profile.
    pub fn payload(&self) -> Payload {
        let keys = self.camel();
        let keys = if self.profile.is_default() {
            keys
        } else {
            let profiles = Object(vec![(self.profile.to_string(), keys.into())]);
            Object(vec![("profiles".to_owned(), profiles.into())])
        };
        Payload {
            domain: DOMAIN,
            title: self.title.clone(),
            keys,
        }
    }

    /// As a key of the registry.
    pub fn section(&self) -> Section {
        let mut section = Section::new(if self.profile.is_default() {
            KEY.to_owned()
        } else {
            format!(r"{KEY}\Profiles\{}", self.profile)
        });
        for (name, value) in self.camel().iter() {
            let value = match value {
                Json::Flag(flag) => Value::Number(u32::from(*flag)),
                Json::Number(number) => {
                    match number
                        .as_u64()
                        .and_then(|number| u32::try_from(number).ok())
                    {
                        Some(number) => Value::Number(number),
                        None => Value::Text(number.to_string()),
                    }
                }
                other => Value::Text(other.as_managed_text()),
            };
            section.push(name, value);
        }
        section
    }

    /// As `/etc/gatepass/policy.toml`.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# Policy of gatepass: values that nobody can change on this machine.\n\
             # /etc/gatepass/policy.toml belongs to root, and nobody else may write it.\n\n",
        );
        let _ = if self.profile.is_default() {
            writeln!(out, "[locked]")
        } else {
            writeln!(out, "[locked.profile.{}]", self.profile)
        };
        for (name, value) in self.keys.iter() {
            let _ = writeln!(out, "{name} = {}", toml_value(value));
        }
        out
    }
}

/// Why a key stays out of a policy that every user of a machine can read, if it does; after the keys that are in it.
fn left_out(key: &Key, value: &Json, keys: &Object) -> Option<&'static str> {
    if key.is_secret() {
        return Some(
            "every user of the machine could read it; use client_secret_file, or a client without a secret",
        );
    }
    match (key.name, value) {
        ("login_hint", _) => Some("it is one person's"),
        ("browser", _) => Some("it is one person's choice"),
        ("proxy", Json::Text(proxy)) if proxy.contains('@') => Some("it holds a password"),
        // One without the other is refused.
        ("no_proxy", _) if keys.get("proxy").is_none() => {
            Some("it belongs to `proxy`, which the policy does not hold")
        }
        ("exchange", Json::Object(inner)) if inner.get("client_secret").is_some() => {
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

/// A value in TOML.
pub(super) fn toml_value(value: &Json) -> String {
    match value {
        Json::List(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| {
                    format!("{} = {}", Json::from(name).compact(), toml_value(value))
                })
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        // A JSON string, number or flag is a TOML one.
        other => other.compact(),
    }
}

/// A key of the configuration as policies on macOS and Windows spell it.
pub fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// The key that [`camel_case`] made this of.
pub fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{camel_case, snake_case};
    use crate::config::schema::KEYS;

    #[test]
    fn every_key_has_a_spelling_that_leads_back_to_it() {
        for key in KEYS {
            assert_eq!(snake_case(&camel_case(key.name)), key.name);
        }
        assert_eq!(camel_case("min_validity"), "minValidity");
    }
}
