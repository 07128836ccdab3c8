//! gatepass's own policy, as a profile or a registration file carries it.

use super::{Medium, Report, Settings, Severity};
use crate::config::schema::{KEYS, Key};
use crate::host::json::Json;
use crate::host::policy::{camel_case, snake_case};
use crate::text;

/// Keys that only a policy has.
const POLICY_KEYS: [&str; 9] = [
    "lockedKeys",
    "allowedProfiles",
    "allowedStores",
    "minVersion",
    "schema",
    "sessionNotBefore",
    "disabled",
    "defaults",
    "profiles",
];

pub(super) fn check(settings: &Settings, report: &mut Report) {
    for (name, value, line) in &settings.values {
        one(settings, name, value, *line, report);
    }
}

fn one(settings: &Settings, name: &str, value: &Json, line: Option<usize>, report: &mut Report) {
    let shown = format!("{}{name}", settings.prefix);
    let in_tables = matches!(name, "profiles" | "defaults") && settings.medium == Medium::Plist;
    if let (true, Json::Object(inner)) = (in_tables, value) {
        for (inner_name, inner_value) in inner.iter() {
            match inner_value {
                // `profiles` holds one dictionary for each profile; `defaults` may hold `profiles` again.
                Json::Object(keys) if name == "profiles" => {
                    for (key, value) in keys.iter() {
                        one(settings, key, value, None, report);
                    }
                }
                value => one(settings, inner_name, value, None, report),
            }
        }
        return;
    }
    if POLICY_KEYS.contains(&name) {
        return;
    }
    let Some(key) = Key::find(&snake_case(name)).filter(|key| camel_case(key.name) == name) else {
        let known: Vec<String> = KEYS.iter().map(|key| camel_case(key.name)).collect();
        let near = text::nearest(name, known.iter().map(String::as_str).chain(POLICY_KEYS));
        report.add(
            Severity::Error,
            shown,
            line,
            "is no key of gatepass's policy",
            near.map_or_else(
                || {
                    "gatepass config show lists the keys; a policy spells them in camelCase"
                        .to_owned()
                },
                |near| format!("did you mean {near}?"),
            ),
        );
        return;
    };
    if key.is_secret() {
        report.add(
            Severity::Warning,
            shown,
            line,
            "is a secret, and every user of the machine can read its policy",
            "use client_secret_file, or a client without a secret",
        );
    }
}
