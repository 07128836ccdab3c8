//! Policy as the registry and managed preferences have it, brought into the form of the file.
//!
//! There names are camelCase, lists and tables may be JSON text, numbers may be text and flags numbers. One reader
//! understands policies, so these forms are written as the TOML that an administrator of a Linux machine would write.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::{ONLY_IN_POLICY, find_rule, is_rule};
use crate::config::document::Problem;
use crate::config::schema::{self, KEYS, Key, Shape};

/// Every name that a policy may have there, for systems that are asked name by name.
pub(super) fn names() -> Vec<String> {
    let settings = KEYS.iter().map(|key| key.name);
    let rules = ONLY_IN_POLICY.iter().map(|rule| rule.name);
    settings
        .chain(rules)
        .chain(["defaults", "profiles"])
        .map(camel_case)
        .collect()
}

/// `min_validity` becomes `minValidity`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// The text of the policy that these values mean.
///
/// Equal policies give the same text, in whatever order the system names their keys: the digest is taken from it.
pub(super) fn to_toml(values: &Map<String, Json>) -> Result<String, String> {
    let mut rules = String::new();
    let mut out = String::new();
    part(values, "locked", &mut out, Some(&mut rules))?;
    if let Some(defaults) = member(values, "defaults") {
        let Json::Object(defaults) = defaults else {
            return Err("`defaults` must be a table".to_owned());
        };
        part(defaults, "default", &mut out, None)?;
    }
    Ok(rules + &out)
}

/// Problems without lines: the text was made by the program, so an administrator does not know its lines.
pub(super) fn without_lines(problems: Vec<Problem>) -> Vec<Problem> {
    problems
        .into_iter()
        .map(|problem| Problem {
            what: match problem.what.split_once(": ") {
                Some((place, what)) if place.starts_with("line ") => what.to_owned(),
                _ => problem.what,
            },
            remedy: problem.remedy,
        })
        .collect()
}

/// A member, whatever its capitals: registry names have none that matter.
fn member<'v>(values: &'v Map<String, Json>, name: &str) -> Option<&'v Json> {
    values
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn part(
    values: &Map<String, Json>,
    name: &str,
    out: &mut String,
    mut rules: Option<&mut String>,
) -> Result<(), String> {
    let _ = writeln!(out, "[{name}]");
    let mut profiles = None;
    for (key, value) in sorted(values) {
        if key.eq_ignore_ascii_case("profiles") {
            profiles = Some(value);
        } else if !(rules.is_some() && key.eq_ignore_ascii_case("defaults")) {
            let snake = snake_case(key);
            match rules.as_deref_mut() {
                Some(rules) if is_rule(&snake) => entry(&snake, value, rules)?,
                _ => entry(&snake, value, out)?,
            }
        }
    }
    match profiles {
        None => Ok(()),
        Some(Json::Object(profiles)) => {
            for (profile, values) in sorted(profiles) {
                let Json::Object(values) = values else {
                    return Err(format!("the profile `{profile}` must be a table"));
                };
                let _ = writeln!(out, "[{name}.profile.{}]", Json::from(profile.as_str()));
                for (key, value) in sorted(values) {
                    entry(&snake_case(key), value, out)?;
                }
            }
            Ok(())
        }
        Some(_) => Err("`profiles` must be a table".to_owned()),
    }
}

/// Members by name.
fn sorted(values: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut members: Vec<_> = values.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    members
}

fn entry(name: &str, value: &Json, out: &mut String) -> Result<(), String> {
    let mut value = meant(name, value);
    value.sort_all_objects();
    let mut text = String::new();
    inline(&value, &mut text).map_err(|why| format!("`{name}` {why}"))?;
    let _ = writeln!(out, "{} = {text}", Json::from(name));
    Ok(())
}

/// What a value of a poorer type system means for this key.
pub(super) fn meant(name: &str, value: &Json) -> Json {
    // `disabled` is a flag or a message.
    if name == "disabled" {
        return flag_of_number(value);
    }
    let shape = Key::find(name)
        .map(|key| key.shape)
        .or_else(|| find_rule(name).map(|rule| rule.shape));
    match shape {
        Some(shape) => meant_as(shape, value),
        None => value.clone(),
    }
}

fn meant_as(shape: Shape, value: &Json) -> Json {
    let of_text = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| value.clone());
    match (shape, value) {
        (Shape::Table(keys), value) => {
            let value = match value {
                Json::String(text) => of_text(text),
                value => value.clone(),
            };
            let Json::Object(table) = value else {
                return value;
            };
            let members = table.into_iter().map(|(name, value)| {
                let name = snake_case(&name);
                let value = match schema::find(keys, &name) {
                    Some(key) => meant_as(key.shape, &value),
                    None => value,
                };
                (name, value)
            });
            members.collect::<Map<_, _>>().into()
        }
        (
            Shape::TextList
            | Shape::UriList
            | Shape::PortList
            | Shape::TextTable
            | Shape::ClaimTable,
            Json::String(text),
        ) => of_text(text),
        (Shape::Seconds(..) | Shape::Number(..), Json::String(text)) => text
            .trim()
            .parse::<u64>()
            .map_or_else(|_| value.clone(), Json::from),
        (Shape::Flag, Json::String(text)) => match text.trim() {
            "true" | "1" => true.into(),
            "false" | "0" => false.into(),
            _ => value.clone(),
        },
        (Shape::Flag, Json::Number(_)) => flag_of_number(value),
        (
            Shape::Text
            | Shape::Url
            | Shape::Path
            | Shape::Seconds(..)
            | Shape::Number(..)
            | Shape::Flag
            | Shape::Choice(_)
            | Shape::TextList
            | Shape::Proxy
            | Shape::UriList
            | Shape::PortList
            | Shape::TextTable
            | Shape::ClaimTable
            | Shape::TextOrList
            | Shape::UriOrList
            | Shape::Pointer
            | Shape::Json,
            _,
        ) => value.clone(),
    }
}

/// 0 and 1 are no and yes.
fn flag_of_number(value: &Json) -> Json {
    match value.as_u64() {
        Some(0) => false.into(),
        Some(1) => true.into(),
        _ => value.clone(),
    }
}

/// A value on one line of TOML. JSON's strings are TOML's basic strings.
fn inline(value: &Json, out: &mut String) -> Result<(), &'static str> {
    match value {
        Json::Null => return Err("has no value"),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            let _ = write!(out, "{value}");
        }
        Json::Array(items) => {
            out.push('[');
            for item in items {
                inline(item, out)?;
                out.push(',');
            }
            out.push(']');
        }
        Json::Object(table) => {
            out.push('{');
            for (index, (name, value)) in table.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(out, "{comma}{}=", Json::from(name.as_str()));
                inline(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// `minValidity` and `MinValidity` become `min_validity`; what is snake_case already stays.
pub(super) fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (index, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() {
            if index > 0 {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::Policy;
    use crate::config::profile::ProfileName;
    use crate::config::value::ConfigValue;
    use serde_json::json;

    fn policy(values: Json) -> Result<Policy, String> {
        let Json::Object(values) = values else {
            return Err("no table".to_owned());
        };
        Policy::parse(to_toml(&values)?.as_bytes())
            .map_err(|problems| without_lines(problems).remove(0).what)
    }

    #[test]
    fn registry_values_mean_what_the_file_would_say() {
        let policy = policy(json!({
            "issuer": "https://idp.example",
            "clientId": "a\"b",
            "scopes": "[\"openid\",\"x\"]",
            "minValidity": 300,
            "signInTimeout": "120",
            "revokeOnLogout": 0,
            "headers": "{\"X-Team\":\"{email}\"}",
            "exchange": "{\"tokenUrl\":\"https://a.example/t\",\"headers\":{\"X-A\":\"b\"}}",
            "lockedKeys": "[\"*\"]",
            "disabled": "closed",
            "Profiles": {"work": {"audience": "api"}},
            "Defaults": {"flow": "device", "Profiles": {"work": {"notify": 0}}},
        }))
        .unwrap();
        let work = ProfileName::parse("work").unwrap();
        let top = &policy.locked.top;
        assert_eq!(top["min_validity"].value, ConfigValue::Number(300));
        assert_eq!(top["sign_in_timeout"].value, ConfigValue::Number(120));
        assert_eq!(top["revoke_on_logout"].value, ConfigValue::Flag(false));
        assert_eq!(top["client_id"].value, ConfigValue::from("a\"b"));
        assert_eq!(
            top["exchange"].value.to_json(),
            json!({"token_url": "https://a.example/t", "headers": {"X-A": "b"}})
        );
        assert_eq!(
            policy.locked.profiles[&work]["audience"].value,
            ConfigValue::from("api")
        );
        assert_eq!(
            policy.defaults.top["flow"].value,
            ConfigValue::from("device")
        );
        assert_eq!(
            policy.defaults.profiles[&work]["notify"].value,
            ConfigValue::Flag(false)
        );
        assert!(policy.freezes("browser", &work));
        assert_eq!(policy.disabled.as_deref(), Some("closed"));
        for (number, disabled) in [(0, None), (1, Some(""))] {
            let policy = self::policy(json!({"disabled": number})).unwrap();
            assert_eq!(policy.disabled.as_deref(), disabled);
        }
    }

    #[test]
    fn wrong_types_are_refused_by_name() {
        for (values, what) in [
            (json!({"issuer": 5}), "`issuer` must be a string"),
            (
                json!({"scopes": "openid"}),
                "`scopes` must be a list: [\"openid\"]",
            ),
            (json!({"isuer": "https://a"}), "unknown key `isuer`"),
            (json!({"defaults": 1}), "`defaults` must be a table"),
            (
                json!({"profiles": {"a": 1}}),
                "the profile `a` must be a table",
            ),
        ] {
            let failure = policy(values).unwrap_err();
            assert!(failure.starts_with(what), "{failure}");
        }
    }

    #[test]
    fn every_key_has_one_camel_case_name() {
        for key in KEYS {
            assert_eq!(snake_case(&camel_case(key.name)), key.name);
        }
        assert_eq!(camel_case("min_validity"), "minValidity");
        assert_eq!(snake_case("ClientSecret"), "client_secret");
    }

    #[test]
    fn equal_policies_have_one_text_whatever_their_order() {
        let texts = [
            r#"{"issuer":"https://a","headers":{"X-B":"1","X-A":"2"},"exchange":"{\"url\":\"u\",\"kind\":\"http\"}",
                "Profiles":{"b":{"audience":"x","notify":0},"a":{}},"Defaults":{"token":"id_token","flow":"device"}}"#,
            r#"{"Defaults":{"flow":"device","token":"id_token"},"Profiles":{"a":{},"b":{"notify":0,"audience":"x"}},
                "exchange":"{\"kind\":\"http\",\"url\":\"u\"}","headers":{"X-A":"2","X-B":"1"},"issuer":"https://a"}"#,
        ];
        let texts = texts.map(|text| {
            let values: Map<String, Json> = serde_json::from_str(text).unwrap();
            to_toml(&values).unwrap()
        });
        assert_eq!(texts[0], texts[1]);
        // The text that the digest of a deployed policy was taken from, byte by byte.
        assert_eq!(
            texts[0],
            "[locked]\n\"exchange\" = {\"kind\"=\"http\",\"url\"=\"u\"}\n\
             \"headers\" = {\"X-A\"=\"2\",\"X-B\"=\"1\"}\n\"issuer\" = \"https://a\"\n\
             [locked.profile.\"a\"]\n[locked.profile.\"b\"]\n\"audience\" = \"x\"\n\"notify\" = false\n\
             [default]\n\"flow\" = \"device\"\n\"token\" = \"id_token\"\n"
        );
    }
}
