//! JSON Schema: for editors of `config.toml` and `policy.toml`, and for Jamf Pro's forms.

use serde_json::{Map, Value, json};

use super::{Setting, Takes};

/// Names of profiles.
const PROFILE: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// The user's file: the keys, and tables `[profile.NAME]` with the same keys.
pub(super) fn user(settings: &[Setting]) -> String {
    let keys = properties(settings.iter().filter(|setting| !setting.policy_only));
    let mut top = keys.clone();
    top.insert("profile".to_owned(), profiles(&keys));
    text(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gatepass: config.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
    }))
}

/// The policy file: its own keys, and the tables `[locked]` and `[default]`.
pub(super) fn policy(settings: &[Setting]) -> String {
    let keys = properties(settings.iter().filter(|setting| !setting.policy_only));
    let own = properties(settings.iter().filter(|setting| setting.policy_only));
    let mut default = keys.clone();
    default.insert("profile".to_owned(), profiles(&keys));
    // The policy's own keys may stand in `[locked]` as well.
    let mut locked = default.clone();
    locked.extend(own.clone());
    let table = |keys| json!({"type": "object", "additionalProperties": false, "properties": keys});
    let mut top = own;
    top.insert("locked".to_owned(), table(locked));
    top.insert("default".to_owned(), table(default));
    text(&json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gatepass: policy.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": top,
    }))
}

/// A custom schema for Jamf Pro (Computers, Configuration Profiles, Application & Custom Settings).
pub(super) fn jamf(settings: &[Setting]) -> String {
    let form = |settings: &mut dyn Iterator<Item = &Setting>| {
        settings
            .enumerate()
            .map(|(place, setting)| {
                let mut property = property(setting);
                property["title"] = setting.title().into();
                property["property_order"] = (place + 1).into();
                (setting.camel(), property)
            })
            .collect::<Map<String, Value>>()
    };
    let mut all = form(&mut settings.iter());
    let keys = form(&mut settings.iter().filter(|setting| !setting.policy_only));
    all.insert(
        "defaults".to_owned(),
        json!({
            "title": "Defaults",
            "description": "values that people may set differently in their own file",
            "type": "object",
            "property_order": settings.len() + 1,
            "properties": keys,
        }),
    );
    // Jamf Pro's forms know no names that are not listed: profiles are written by hand, or exported.
    text(&json!({
        "title": "gatepass (io.gatepass.helper)",
        "description": "Locked settings of gatepass: nobody can change them.",
        "__preferencedomain": "io.gatepass.helper",
        "type": "object",
        "properties": all,
    }))
}

fn profiles(keys: &Map<String, Value>) -> Value {
    json!({
        "description": "profiles by name; each inherits the keys above",
        "type": "object",
        "additionalProperties": false,
        "patternProperties": {PROFILE: {"type": "object", "additionalProperties": false, "properties": keys}},
    })
}

fn properties<'a>(settings: impl Iterator<Item = &'a Setting>) -> Map<String, Value> {
    settings
        .map(|setting| (setting.name.to_owned(), property(setting)))
        .collect()
}

fn property(setting: &Setting) -> Value {
    let mut property = match setting.takes {
        Takes::Text => json!({"type": "string"}),
        Takes::Address => json!({"type": "string", "format": "uri"}),
        Takes::Number(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Takes::Flag => json!({"type": "boolean"}),
        Takes::Word(words) => json!({"type": "string", "enum": words}),
        Takes::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Takes::Ports => {
            json!({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}})
        }
        Takes::Table => json!({"type": "object"}),
    };
    property["description"] = setting.about.into();
    if let Some(default) = &setting.default {
        property["default"] = default.clone();
    }
    property
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
