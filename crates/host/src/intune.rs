//! A custom profile for Windows as Intune takes it (`windows10CustomConfiguration` of Microsoft Graph).
//!
//! Intune writes values below `SOFTWARE\Policies` only for a template that it knows. So the profile brings one of its
//! own, with exactly the values of this export, and enables each of them. Nothing else has to be uploaded.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use serde_json::{Value, json};

use crate::mobileconfig::printable;
use crate::registry::{Data, Section};
use crate::value::Object;

/// Longest text that a value takes; without it a template allows 1023 characters.
const LONGEST: u32 = 16_383;

/// Where everything of the policy's configuration service lies.
const SERVICE: &str = "./Device/Vendor/MSFT/Policy";

/// A custom profile. Those of several profiles of gatepass stand side by side: each has a template of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// gatepass's profile; empty for the default one.
    pub name: String,
    /// For people.
    pub title: String,
    /// The keys of the registry and the values in them.
    pub sections: Vec<Section>,
}

impl Profile {
    /// As Microsoft Graph takes it.
    pub fn to_json(&self) -> Object {
        let app = format!(
            "GatepassExport{}",
            distinct(&self.name, |b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
        let template = setting(
            "Template for the settings below",
            &format!("{SERVICE}/ConfigOperations/ADMXInstall/{app}/Policy/{app}Admx"),
            definitions(&app, &self.sections),
        );
        let values = self.sections.iter().flat_map(|section| {
            let app = &app;
            section.values.iter().map(move |(name, value, _)| {
                let (id, category) = (policy(section, name), category(section));
                setting(
                    &format!("{}, {name}", key(section)),
                    &format!("{SERVICE}/Config/{app}~Policy~{category}/{id}"),
                    format!(
                        "<enabled/><data id=\"{id}\" value=\"{}\"/>",
                        attribute(&text(value))
                    ),
                )
            })
        });
        let settings: Vec<Value> = std::iter::once(template).chain(values).collect();
        let members = [
            (
                "@odata.type",
                "#microsoft.graph.windows10CustomConfiguration".into(),
            ),
            ("displayName", self.title.as_str().into()),
            (
                "description",
                "Written by gatepass export. Holds no secret.".into(),
            ),
            ("omaSettings", settings.into()),
        ];
        members
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

fn setting(name: &str, uri: &str, value: String) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.omaSettingString",
        "displayName": name,
        "omaUri": uri,
        "value": value,
    })
}

/// The template, in the language of Group Policy. Its words for people are in no other file: Intune asks for none.
fn definitions(app: &str, sections: &[Section]) -> String {
    let mut out = format!(
        "<policyDefinitions revision=\"1.0\" schemaVersion=\"1.0\" xmlns=\"http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions\">\n\
         <policyNamespaces><target prefix=\"{0}\" namespace=\"{app}.Policies\"/></policyNamespaces>\n\
         <resources minRequiredRevision=\"1.0\"/>\n\
         <supportedOn><definitions><definition name=\"Any\" displayName=\"$(string.Any)\"/></definitions></supportedOn>\n\
         <categories>\n",
        app.to_ascii_lowercase()
    );
    for section in sections {
        let category = category(section);
        let _ = writeln!(
            out,
            "<category name=\"{category}\" displayName=\"$(string.{category})\"/>"
        );
    }
    out.push_str("</categories>\n<policies>\n");
    for section in sections {
        for (name, value, _) in &section.values {
            let id = policy(section, name);
            let (key, name) = (attribute(&key(section)), attribute(name));
            let element = match value {
                Data::Number(_) => format!(
                    "<decimal id=\"{id}\" valueName=\"{name}\" required=\"true\" minValue=\"0\" maxValue=\"{}\"/>",
                    u32::MAX
                ),
                _ => format!(
                    "<text id=\"{id}\" valueName=\"{name}\" required=\"true\" maxLength=\"{LONGEST}\"/>"
                ),
            };
            let _ = writeln!(
                out,
                "<policy name=\"{id}\" class=\"Machine\" displayName=\"$(string.{id})\" presentation=\"$(presentation.{id})\" key=\"{key}\">\
                 <parentCategory ref=\"{}\"/><supportedOn ref=\"Any\"/><elements>{element}</elements></policy>",
                category(section)
            );
        }
    }
    out.push_str("</policies>\n</policyDefinitions>\n");
    out
}

/// The key below the hive.
fn key(section: &Section) -> String {
    let below = section.path.split_once('\\').map(|(_, below)| below);
    below.unwrap_or(&section.path).to_owned()
}

/// The program whose policies these are.
fn category(section: &Section) -> String {
    let below = section.path.split_once(r"\Policies\").map(|(_, rest)| rest);
    let program = below.and_then(|rest| rest.split('\\').next());
    word(program.unwrap_or("Values"))
}

/// A name that no other value of the template has.
fn policy(section: &Section, name: &str) -> String {
    format!(
        "{}_{}",
        category(section),
        distinct(name, |b| b.is_ascii_alphanumeric())
    )
}

/// A word that no other text is made into: a digest follows where not all of the text can be told from it.
fn distinct(text: &str, is_told: impl Fn(u8) -> bool) -> String {
    if text.bytes().all(is_told) {
        return text.to_owned();
    }
    let digest = format!("{:x}", Sha256::digest(text));
    format!("{}{}", word(text), &digest[..8])
}

/// Letters and digits, which every part of an address and of a template may have.
fn word(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    text.chars().map(letter).collect()
}

fn text(value: &Data) -> String {
    match value {
        Data::Text(text) => text.clone(),
        Data::Number(number) => number.to_string(),
        Data::Other(_) | Data::Removed => String::new(),
    }
}

/// Text as the value of an attribute.
fn attribute(text: &str) -> String {
    let text = printable(text).replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::Profile;
    use crate::registry::{Data, Section};
    use crate::value::{Members, Object};

    fn write(name: &str, title: &str, sections: &[Section]) -> Object {
        let profile = Profile {
            name: name.to_owned(),
            title: title.to_owned(),
            sections: sections.to_vec(),
        };
        profile.to_json()
    }

    #[test]
    fn no_two_profiles_and_no_two_values_share_a_name() {
        let names = |profile: &str| {
            let mut section = Section::new(r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude");
            for name in ["a.b", "a_b", "ab"] {
                section.push(name, Data::Number(1));
            }
            let profile = write(profile, "T", &[section]);
            let settings = profile.get("omaSettings").unwrap().as_array().unwrap();
            let addresses = settings.iter().map(|setting: &serde_json::Value| {
                let address = setting.as_object().unwrap().text("omaUri").unwrap();
                address.to_ascii_lowercase()
            });
            addresses.collect::<Vec<_>>()
        };
        let mut all: Vec<String> = ["team-a", "team_a", "teama", "TeamA", "default"]
            .iter()
            .flat_map(|profile| names(profile))
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), count), (20, 20), "{all:?}");
    }

    #[test]
    fn every_value_has_its_place_in_the_template() {
        let mut claude = Section::new(r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude");
        claude.push("inferenceModels", Data::Text("[\"a<b\"]".to_owned()));
        let mut own = Section::new(r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Gatepass\Profiles\a.b");
        own.push("minValidity", Data::Number(420));
        let profile = write("ab", "T", &[claude, own]);
        let settings = profile.get("omaSettings").unwrap().as_array().unwrap();
        let of =
            |place: usize, name: &str| settings[place].as_object().unwrap().text(name).unwrap();
        let admx = of(0, "value");
        assert_eq!(
            of(0, "omaUri"),
            "./Device/Vendor/MSFT/Policy/ConfigOperations/ADMXInstall/GatepassExportab/Policy/GatepassExportabAdmx"
        );
        assert_eq!(
            of(1, "omaUri"),
            "./Device/Vendor/MSFT/Policy/Config/GatepassExportab~Policy~Claude/Claude_inferenceModels"
        );
        assert_eq!(
            of(1, "value"),
            "<enabled/><data id=\"Claude_inferenceModels\" value=\"[&quot;a&lt;b&quot;]\"/>"
        );
        assert_eq!(
            of(2, "omaUri"),
            "./Device/Vendor/MSFT/Policy/Config/GatepassExportab~Policy~Gatepass/Gatepass_minValidity"
        );
        assert_eq!(
            of(2, "value"),
            "<enabled/><data id=\"Gatepass_minValidity\" value=\"420\"/>"
        );
        for part in [
            r#"<decimal id="Gatepass_minValidity" valueName="minValidity""#,
            r#"key="SOFTWARE\Policies\Gatepass\Profiles\a.b""#,
            r#"<text id="Claude_inferenceModels" valueName="inferenceModels""#,
        ] {
            assert!(admx.contains(part), "{part}: {admx}");
        }
    }
}
