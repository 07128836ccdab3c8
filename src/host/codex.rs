//! Codex: a model provider in `config.toml`.

use std::fmt::Write as _;

use super::json::Json;
use super::plan::{Notes, Plan};
use crate::config::settings::AuthScheme;
use crate::error::{Failure, Result};

const HOST: &str = "Codex";

/// The provider as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name among the providers.
    pub name: String,
    /// Lines that must stand before the first table.
    pub head: String,
    /// The tables.
    pub tables: String,
}

impl Provider {
    /// A whole file.
    pub fn to_toml(&self) -> String {
        format!("{}\n{}", self.head, self.tables)
    }
}

/// The provider that gets its token from gatepass.
pub fn provider(plan: &Plan<'_>, notes: &mut Notes) -> Result<Provider> {
    plan.refuse_secret_headers(HOST)?;
    let profile = &plan.settings.profile;
    let name = if profile.is_default() {
        "gatepass".to_owned()
    } else {
        format!("gatepass-{profile}")
    };
    // Codex appends only the resource's name: its base is the gateway's address with the version.
    let base = format!("{}/v1", plan.base_url(notes)?.trim_end_matches('/'));
    let mut head = format!("model_provider = {}\n", text(&name));
    if let Some(model) = plan.models.first() {
        let _ = writeln!(head, "model = {}", text(model));
    }
    if plan.models.len() > 1 {
        notes.warn("Codex takes one model: the first --model is used");
    }
    let mut tables = String::new();
    let _ = writeln!(tables, "[model_providers.{name}]");
    let _ = writeln!(tables, "name = {}", text(&plan.settings.display_name));
    let _ = writeln!(tables, "base_url = {}", text(&base));
    tables.push_str("wire_api = \"responses\"\n");
    let mut headers = plan.checked_headers()?.to_vec();
    headers.extend(plan.fixed_headers(HOST, notes));
    if !headers.is_empty() {
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{} = {}", text(name), text(value)))
            .collect();
        let _ = writeln!(tables, "http_headers = {{ {} }}", headers.join(", "));
    }
    for (key, value) in plan.checked_further(&Default::default())? {
        let _ = writeln!(
            tables,
            "{} = {}",
            toml_key(key),
            super::policy::toml_value(value)
        );
    }
    let ttl = plan.time_to_live(notes);
    let mut args = vec!["token", "--caller", "codex"];
    if !profile.is_default() {
        args.extend(["--profile", profile.as_str()]);
    }
    let args: Vec<String> = args.into_iter().map(text).collect();
    let _ = write!(
        tables,
        "\n[model_providers.{name}.auth]\ncommand = {}\nargs = [{}]\ntimeout_ms = 5000\nrefresh_interval_ms = {}\n",
        text(plan.program()),
        args.join(", "),
        ttl * 1000
    );
    if plan.settings.auth_scheme == AuthScheme::XApiKey {
        notes.warn("Codex sends Authorization: Bearer only, and `auth_scheme` is \"x-api-key\": the gateway must take both");
    }
    if plan.use_args {
        notes.say("Codex always names the profile by arguments: --use-args changes nothing");
    }
    Ok(Provider { name, head, tables })
}

/// A JSON string is a TOML basic string.
fn text(value: &str) -> String {
    Json::from(value).compact()
}

fn toml_key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        text(key)
    }
}

/// Adds the provider to a file and leaves everything else as it is. `Ok(None)` if it is there already.
pub fn add_to(file: &str, provider: &Provider, notes: &mut Notes) -> Result<Option<String>> {
    let unreadable = |what: String| {
        Failure::config(
            format!("the file is not changed: {what}"),
            "correct it, or write to another file and copy the provider by hand",
        )
    };
    let parsed = |source: &str| match toml::from_str::<Json>(source) {
        Ok(Json::Object(table)) => Ok(table),
        Ok(_) => Err("it is no TOML table".to_owned()),
        Err(error) => Err(format!("it is no valid TOML: {}", error.message())),
    };
    let before = parsed(file).map_err(unreadable)?;
    let wanted = parsed(&provider.to_toml()).map_err(Failure::internal)?;
    let of = |table: &super::json::Object| {
        let providers = table.get("model_providers").and_then(Json::as_object);
        providers.and_then(|providers| providers.get(&provider.name).cloned())
    };
    match of(&before) {
        Some(present) if Some(&present) == of(&wanted).as_ref() => return Ok(None),
        Some(_) => {
            return Err(Failure::config(
                format!(
                    "there is another provider {} in the file already",
                    provider.name
                ),
                format!(
                    "remove [model_providers.{0}] and its tables from it, then run this again",
                    provider.name
                ),
            ));
        }
        None => (),
    }
    let mut head = String::new();
    for line in provider.head.lines() {
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
    let merged = format!("{head}{separator}{file}{gap}{}", provider.tables);
    // Whatever the file held: what comes out is checked, not assumed.
    let after = parsed(&merged).map_err(unreadable)?;
    let kept = before
        .iter()
        .all(|(name, value)| name == "model_providers" || after.get(name) == Some(value));
    if of(&after) != of(&wanted) || !kept {
        return Err(unreadable(
            "the provider cannot be added to the form that it has".to_owned(),
        ));
    }
    Ok(Some(merged))
}

#[cfg(test)]
mod tests {
    use super::{Provider, add_to};
    use crate::host::plan::Notes;

    fn provider() -> Provider {
        Provider {
            name: "gatepass".to_owned(),
            head: "model_provider = \"gatepass\"\n".to_owned(),
            tables: "[model_providers.gatepass]\nbase_url = \"https://g/v1\"\n".to_owned(),
        }
    }

    #[test]
    fn a_file_keeps_its_comments_and_its_own_choices() {
        let mut notes = Notes::default();
        let file = "# mine\nmodel = \"x\" # why\n[tui]\na = 1\n";
        let merged = add_to(file, &provider(), &mut notes).unwrap().unwrap();
        assert_eq!(
            merged,
            format!(
                "model_provider = \"gatepass\"\n\n{file}\n[model_providers.gatepass]\nbase_url = \"https://g/v1\"\n"
            )
        );
        assert_eq!(add_to(&merged, &provider(), &mut notes).unwrap(), None);
        assert_eq!(notes.0.len(), 0);
        let merged = add_to("model_provider = \"mine\"\n", &provider(), &mut notes);
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
                add_to(file, &provider(), &mut Notes::default()).is_err(),
                "{file}"
            );
        }
    }
}
