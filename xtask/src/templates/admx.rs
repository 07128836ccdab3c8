//! Administrative templates for Group Policy and for Intune's import: `HKLM\SOFTWARE\Policies\Gatepass` for what is
//! locked, its subkey `Defaults` for what people may change.
//!
//! They refer to no other template, because Intune refuses imports whose base it does not know.

use std::fmt::Write as _;

use super::{Setting, Takes, escaped};

/// A part of the tree: identifier, heading, registry key.
const PARTS: [(&str, &str, &str); 2] = [
    ("Locked", "Locked settings", r"SOFTWARE\Policies\Gatepass"),
    (
        "Defaults",
        "Defaults that people may change",
        r"SOFTWARE\Policies\Gatepass\Defaults",
    ),
];

/// The longest JSON text of a list or a table.
const LONGEST: u32 = 16_383;

fn in_part<'a>(part: &str, settings: &'a [Setting]) -> Vec<&'a Setting> {
    settings
        .iter()
        .filter(|setting| part == "Locked" || !setting.policy_only)
        .collect()
}

/// The `.admx` file.
pub(super) fn definitions(settings: &[Setting]) -> String {
    let mut out = String::from(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Written by `cargo xtask templates`. -->
<policyDefinitions xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" revision="1.0" schemaVersion="1.0" xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions">
  <policyNamespaces>
    <target prefix="gatepass" namespace="Gatepass.Policies" />
  </policyNamespaces>
  <resources minRequiredRevision="1.0" />
  <supportedOn>
    <definitions>
      <definition name="SUPPORTED_Gatepass" displayName="$(string.SUPPORTED_Gatepass)" />
    </definitions>
  </supportedOn>
  <categories>
    <category name="Gatepass" displayName="$(string.Gatepass)" />
"#,
    );
    for (part, _, _) in PARTS {
        let _ = writeln!(
            out,
            r#"    <category name="{part}" displayName="$(string.{part})"><parentCategory ref="Gatepass" /></category>"#
        );
    }
    out.push_str("  </categories>\n  <policies>\n");
    for (part, _, key) in PARTS {
        for setting in in_part(part, settings) {
            definition(&mut out, part, key, setting);
        }
    }
    out.push_str("  </policies>\n</policyDefinitions>\n");
    out
}

fn definition(out: &mut String, part: &str, key: &str, setting: &Setting) {
    let (id, value) = (format!("{part}_{}", setting.name), setting.camel());
    let _ = write!(
        out,
        r#"    <policy name="{id}" class="Machine" displayName="$(string.{id})" explainText="$(string.{id}_Explain)" key="{key}""#
    );
    if setting.takes == Takes::Flag {
        let _ = write!(out, r#" valueName="{value}">"#);
    } else {
        let _ = write!(out, r#" presentation="$(presentation.{id})">"#);
    }
    let _ = write!(
        out,
        r#"
      <parentCategory ref="{part}" />
      <supportedOn ref="SUPPORTED_Gatepass" />
"#
    );
    let _ = match setting.takes {
        Takes::Flag => writeln!(
            out,
            r#"      <enabledValue><decimal value="1" /></enabledValue>
      <disabledValue><decimal value="0" /></disabledValue>"#
        ),
        Takes::Number(least, most) => writeln!(
            out,
            r#"      <elements><decimal id="Value" valueName="{value}" required="true" minValue="{least}" maxValue="{most}" /></elements>"#
        ),
        Takes::Word(words) => {
            let items: String = (0..words.len())
                .map(|place| {
                    format!(
                        r#"<item displayName="$(string.{id}_{place})"><value><string>{}</string></value></item>"#,
                        escaped(words[place])
                    )
                })
                .collect();
            writeln!(
                out,
                r#"      <elements><enum id="Value" valueName="{value}" required="true">{items}</enum></elements>"#
            )
        }
        Takes::Text | Takes::Address | Takes::Texts | Takes::Ports | Takes::Table => {
            let longest = if setting.is_json_text() {
                LONGEST
            } else {
                2048
            };
            writeln!(
                out,
                r#"      <elements><text id="Value" valueName="{value}" required="true" maxLength="{longest}" /></elements>"#
            )
        }
    };
    out.push_str("    </policy>\n");
}

/// The `.adml` file, in English.
pub(super) fn texts(settings: &[Setting]) -> String {
    let mut out = String::from(
        r#"<?xml version="1.0" encoding="utf-8"?>
<!-- Written by `cargo xtask templates`. -->
<policyDefinitionResources xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" revision="1.0" schemaVersion="1.0" xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions">
  <displayName>gatepass</displayName>
  <description>Sign-in to the organisation's gateway to language models</description>
  <resources>
    <stringTable>
      <string id="SUPPORTED_Gatepass">gatepass on Windows 10 or newer</string>
      <string id="Gatepass">gatepass</string>
"#,
    );
    let string = |out: &mut String, id: &str, text: &str| {
        let _ = writeln!(out, r#"      <string id="{id}">{}</string>"#, escaped(text));
    };
    for (part, heading, _) in PARTS {
        string(&mut out, part, heading);
        for setting in in_part(part, settings) {
            let id = format!("{part}_{}", setting.name);
            string(&mut out, &id, &setting.title());
            string(&mut out, &format!("{id}_Explain"), &explanation(setting));
            if let Takes::Word(words) = setting.takes {
                for (place, word) in words.iter().enumerate() {
                    string(&mut out, &format!("{id}_{place}"), word);
                }
            }
        }
    }
    out.push_str("    </stringTable>\n    <presentationTable>\n");
    for (part, _, _) in PARTS {
        for setting in in_part(part, settings) {
            let title = escaped(&setting.title());
            let control = match setting.takes {
                Takes::Flag => continue,
                Takes::Number(..) => {
                    match setting.default.as_ref().and_then(|value| value.as_u64()) {
                        Some(number) => format!(
                            r#"<decimalTextBox refId="Value" defaultValue="{number}">{title}</decimalTextBox>"#
                        ),
                        None => {
                            format!(r#"<decimalTextBox refId="Value">{title}</decimalTextBox>"#)
                        }
                    }
                }
                Takes::Word(_) => {
                    format!(r#"<dropdownList refId="Value" noSort="true">{title}</dropdownList>"#)
                }
                _ => format!(r#"<textBox refId="Value"><label>{title}</label></textBox>"#),
            };
            let _ = writeln!(
                out,
                r#"      <presentation id="{part}_{}">{control}</presentation>"#,
                setting.name
            );
        }
    }
    out.push_str("    </presentationTable>\n  </resources>\n</policyDefinitionResources>\n");
    out
}

/// What the editor shows beside a setting.
fn explanation(setting: &Setting) -> String {
    let mut text = format!("{}: {}.", setting.camel(), setting.about);
    match setting.takes {
        Takes::Texts => text.push_str("\n\nA list, as JSON: [\"one\",\"two\"]"),
        Takes::Ports => text.push_str("\n\nA list of numbers, as JSON: [8400,8401]"),
        Takes::Table => text.push_str("\n\nA table, as JSON: {\"name\":\"value\"}"),
        _ => {}
    }
    if let Some(default) = &setting.default {
        let _ = write!(text, "\n\nIf not configured: {default}");
    }
    text
}
