//! Codex: a model provider in `config.toml`.

mod lint;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::plan::Scheme;
use crate::value::{Members, Object};
use crate::{
    Base, ConfigDocument, Error, Export, Format, HostFile, HostInfo, HostPlan, Notes, Target,
};

/// Preference domain of managed settings on macOS.
const DOMAIN: &str = "com.openai.codex";

/// What gatepass knows about it.
pub const INFO: HostInfo = HostInfo {
    name: "codex",
    title: "Codex",
    formats: &[
        Format::of_any("toml", "Codex's config.toml"),
        Format::of_any(
            "requirements",
            "Codex's requirements.toml, which users cannot override",
        ),
        Format::of(
            Target::Macos,
            "mobileconfig",
            "Configuration profile for macOS",
        ),
    ],
    files: &[
        HostFile::of_machine(Target::Linux, "/etc/codex/config.toml"),
        HostFile::of_machine(Target::Linux, "/etc/codex/requirements.toml"),
        HostFile::of_machine(Target::Macos, "/etc/codex/requirements.toml"),
        HostFile::of_machine(
            Target::Windows,
            r"C:\ProgramData\OpenAI\Codex\requirements.toml",
        ),
        // As Codex looks for its folder.
        HostFile::of_user(Base::Variable("CODEX_HOME", ".codex"), "config.toml"),
    ],
    domain: Some(DOMAIN),
    registry_key: None,
    one_value: false,
    recognises: |object| object.contains_key("model_providers") || object.contains_key(MANAGED_KEY),
    write,
    check: lint::check,
};

/// The managed preference that holds a `requirements.toml` in Base64.
const MANAGED_KEY: &str = "requirements_toml_base64";

/// Seconds that Codex gives gatepass: a refresh may wait 20 for the provider's answer.
const TIMEOUT: u64 = 30;

/// A provider as text, to be added to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTables {
    /// Its name among the providers.
    pub name: String,
    /// Lines that must stand before the first table.
    pub head: String,
    /// The tables.
    pub tables: String,
}

fn write(plan: &HostPlan, format: &str, notes: &mut Notes) -> Result<Export, Error> {
    let provider = provider(plan, notes)?;
    Ok(match format {
        "requirements" => {
            notes.say("requirements.toml lies in /etc/codex, on Windows in %ProgramData%\\OpenAI\\Codex; nothing below it can name another provider");
            ConfigDocument::WholeToml(requirements(&provider)).for_everyone()
        }
        "mobileconfig" => {
            let mut keys = Object::new();
            let text = BASE64_STANDARD.encode(requirements(&provider));
            keys.insert(MANAGED_KEY.to_owned(), text.into());
            plan.profile(&INFO, DOMAIN, keys).for_everyone()
        }
        _ => ConfigDocument::Toml(provider).for_owner(),
    })
}

/// The provider as an administrator enforces it. Which model is used stays the user's.
fn requirements(provider: &ProviderTables) -> String {
    let chosen = provider.head.lines().next().unwrap_or_default();
    format!(
        "# Codex takes its token from gatepass, and no other provider.\n{chosen}\n\n{}",
        provider.tables
    )
}

/// The provider that gets its token from gatepass.
fn provider(plan: &HostPlan, notes: &mut Notes) -> Result<ProviderTables, Error> {
    plan.refuse_secret_headers(INFO.title)?;
    if !plan.servers.is_empty() || plan.telemetry.is_some() {
        return Err(Error::usage(
            "Codex runs no command for the headers of MCP servers or telemetry",
            "leave --mcp and --otel-endpoint out",
        ));
    }
    let name = match &plan.profile {
        None => "gatepass".to_owned(),
        Some(profile) => format!("gatepass-{profile}"),
    };
    // Codex appends only the resource's name: its base is the gateway's address with the version.
    let base = format!("{}/v1", plan.base_url.trim_end_matches('/'));
    let mut head = format!("model_provider = {}\n", text(&name));
    if let Some(model) = plan.models.first() {
        let _ = writeln!(head, "model = {}", text(model));
    }
    if plan.models.len() > 1 {
        notes.warn("Codex takes one model: the first --model is used");
    }
    let mut tables = String::new();
    let _ = writeln!(tables, "[model_providers.{name}]");
    let _ = writeln!(tables, "name = {}", text(&plan.organisation));
    let _ = writeln!(tables, "base_url = {}", text(&base));
    tables.push_str("wire_api = \"responses\"\n");
    let headers = plan.all_fixed_headers(INFO.title, notes)?;
    if !headers.is_empty() {
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{} = {}", text(name), text(value)))
            .collect();
        let _ = writeln!(tables, "http_headers = {{ {} }}", headers.join(", "));
    }
    for (key, value) in plan.checked_extra(&Object::new())? {
        let value = toml::Value::try_from(value).map_err(|error| {
            Error::usage(
                format!("--set {key}: {error}"),
                "give it a value that TOML has",
            )
        })?;
        let _ = writeln!(tables, "{} = {value}", toml_key(key));
    }
    // What Codex grants, less the time that a process takes to start and end on a busy machine.
    let patience = (TIMEOUT - 5).to_string();
    let args = plan.arguments(&["token", "--caller", "codex", "--timeout", &patience]);
    let args: Vec<String> = args.iter().map(|word| text(word)).collect();
    let _ = write!(
        tables,
        "\n[model_providers.{name}.auth]\ncommand = {}\nargs = [{}]\ntimeout_ms = {}\nrefresh_interval_ms = {}\n",
        text(plan.program()),
        args.join(", "),
        TIMEOUT * 1000,
        plan.ttl * 1000
    );
    if plan.scheme == Scheme::XApiKey {
        notes.warn("Codex sends Authorization: Bearer only, and `auth_scheme` is \"x-api-key\": the gateway must take both");
    }
    if plan.use_args {
        notes.say("Codex always names the profile by arguments: --use-args changes nothing");
    }
    Ok(ProviderTables { name, head, tables })
}

/// A string of TOML.
fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

fn toml_key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        // A JSON string is a basic string of TOML.
        Value::from(key).to_string()
    }
}

impl ProviderTables {
    /// A whole file.
    pub fn to_toml(&self) -> String {
        format!("{}\n{}", self.head, self.tables)
    }

    /// Adds the provider to a file and leaves everything else as it is. `Ok(None)` if it is there already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where the file is no TOML, has another provider of this name,
    /// or is written in a way that takes no further table.
    pub fn add_to(&self, file: &str, notes: &mut Notes) -> Result<Option<String>, Error> {
        let refused = |what: String| {
            Error::config(
                what,
                "correct it, or write to another file and copy the provider by hand",
            )
        };
        let parsed = |source: &str| match toml::from_str::<Value>(source) {
            Ok(Value::Object(table)) => Ok(table),
            Ok(_) => Err("it is no TOML table".to_owned()),
            Err(error) => Err(format!("it is no valid TOML: {}", error.message())),
        };
        let before = parsed(file).map_err(refused)?;
        let wanted = parsed(&self.to_toml()).map_err(refused)?;
        let of = |table: &Object| {
            let providers = table.get("model_providers").and_then(Value::as_object);
            providers.and_then(|providers| providers.get(&self.name).cloned())
        };
        match of(&before) {
            Some(present) if Some(&present) == of(&wanted).as_ref() => return Ok(None),
            Some(_) => {
                return Err(Error::config(
                    format!(
                        "there is another provider {} in the file already",
                        self.name
                    ),
                    format!(
                        "remove [model_providers.{0}] and its tables from it, then run this again",
                        self.name
                    ),
                ));
            }
            None => (),
        }
        let mut head = String::new();
        for line in self.head.lines() {
            let key = line.split(' ').next().unwrap_or_default();
            match before.text(key) {
                None => {
                    head.push_str(line);
                    head.push('\n');
                }
                Some(present) if before.get(key) != wanted.get(key) => notes.warn(format!(
                    "{key} stays \"{present}\"; write {line} to use the gateway"
                )),
                Some(_) => (),
            }
        }
        let gap = if file.is_empty() || file.ends_with("\n\n") {
            ""
        } else if file.ends_with('\n') {
            "\n"
        } else {
            "\n\n"
        };
        let separator = if head.is_empty() || file.is_empty() {
            ""
        } else {
            "\n"
        };
        let merged = format!("{head}{separator}{file}{gap}{}", self.tables);
        // Whatever the file held: what comes out is checked, not assumed.
        let after = parsed(&merged).map_err(refused)?;
        let kept = before
            .iter()
            .all(|(name, value)| name == "model_providers" || after.get(name) == Some(value));
        if of(&after) != of(&wanted) || !kept {
            return Err(refused(
                "the provider cannot be added to the form that it has".to_owned(),
            ));
        }
        Ok(Some(merged))
    }
}

#[cfg(test)]
mod tests {
    use super::ProviderTables;
    use crate::Notes;

    fn provider() -> ProviderTables {
        ProviderTables {
            name: "gatepass".to_owned(),
            head: "model_provider = \"gatepass\"\n".to_owned(),
            tables: "[model_providers.gatepass]\nbase_url = \"https://g/v1\"\n".to_owned(),
        }
    }

    #[test]
    fn a_file_keeps_its_comments_and_its_own_choices() {
        let mut notes = Notes::default();
        let file = "# mine\nmodel = \"x\" # why\n[tui]\na = 1\n";
        let merged = provider().add_to(file, &mut notes).unwrap().unwrap();
        assert_eq!(
            merged,
            format!(
                "model_provider = \"gatepass\"\n\n{file}\n[model_providers.gatepass]\nbase_url = \"https://g/v1\"\n"
            )
        );
        assert_eq!(provider().add_to(&merged, &mut notes).unwrap(), None);
        assert_eq!(notes.0.len(), 0);
        let merged = provider().add_to("model_provider = \"mine\"\n", &mut notes);
        assert!(
            merged
                .unwrap()
                .unwrap()
                .starts_with("model_provider = \"mine\"\n")
        );
        assert!(notes.0[0].contains("stays \"mine\""));
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        for file in [
            "model_providers = { a = { name = \"x\" } }\n",
            "[model_providers.gatepass]\nbase_url = \"https://other/v1\"\n",
            "a = \n",
            "[[model_providers]]\nname = \"x\"\n",
        ] {
            assert!(
                provider().add_to(file, &mut Notes::default()).is_err(),
                "{file}"
            );
        }
    }
}
