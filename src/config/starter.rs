//! The first configuration file, as `gatepass config init` writes it.

use std::fmt::Write;

use super::choice::TokenChoice;
use super::preset::Preset;

/// What a first file says.
#[derive(Clone, Debug, Default)]
pub struct Starter {
    /// The profile that the file describes, if it is not `default`.
    pub profile: Option<String>,
    /// What suits the provider, if it is a known one.
    pub preset: Option<Preset>,
    /// The issuer.
    pub issuer: String,
    /// The client's id.
    pub client_id: String,
    /// The gateway, if known.
    pub gateway_url: Option<String>,
    /// Scopes, where they differ from the usual ones.
    pub scopes: Option<Vec<String>>,
    /// Which token the gateway checks, where it is not the usual one.
    pub token: Option<TokenChoice>,
    /// How people sign in, where the provider offers one way only.
    pub flow: Option<&'static str>,
    /// What was found out about the provider, one line each.
    pub notes: Vec<String>,
}

impl Starter {
    /// The file's text: the values in force and, as comments, what people change next.
    pub fn to_toml(&self) -> String {
        // A JSON string is a TOML basic string.
        let text = |value: &str| serde_json::Value::from(value).to_string();
        let mut out = String::from(
            "# gatepass: signs you in at your organisation's OpenID provider and prints a bearer token\n\
             # for its LLM gateway. `gatepass config check` checks this file, `gatepass login` signs in.\n\n",
        );
        for note in &self.notes {
            let _ = writeln!(out, "# Note: {}", crate::text::printable(note, 200));
        }
        if let Some(profile) = &self.profile {
            let _ = writeln!(out, "[profile.{profile}]");
        }
        if let Some(preset) = self.preset {
            let _ = writeln!(
                out,
                "# Defaults that suit {}; any key here overrides them.\npreset = {}",
                preset.about().title,
                text(preset.name)
            );
        }
        let _ = writeln!(out, "issuer = {}", text(&self.issuer));
        let _ = writeln!(out, "client_id = {}", text(&self.client_id));
        match &self.gateway_url {
            Some(url) => {
                let _ = writeln!(out, "gateway_url = {}", text(url));
            }
            None => out.push_str("# gateway_url = \"https://gateway.example.com\"\n"),
        }
        out.push_str(
            "\n# What is asked for. Some providers refuse offline_access (then remove it), others issue no\n\
             # refresh token without it.\n",
        );
        match &self.scopes {
            Some(scopes) => {
                let list: Vec<String> = scopes.iter().map(|scope| text(scope)).collect();
                let _ = writeln!(out, "scopes = [{}]", list.join(", "));
            }
            None => out
                .push_str("# scopes = [\"openid\", \"profile\", \"email\", \"offline_access\"]\n"),
        }
        out.push_str("\n# How people sign in: \"auto\", \"browser\" or \"device\".\n");
        match self.flow {
            Some(flow) => {
                let _ = writeln!(out, "flow = {}", text(flow));
            }
            None => out.push_str("# flow = \"auto\"\n"),
        }
        out.push_str("\n# Which token the gateway checks: \"access_token\" or \"id_token\".\n");
        match self.token {
            Some(token) => {
                let _ = writeln!(out, "token = {}", text(token.as_str()));
            }
            None => out.push_str("# token = \"access_token\"\n"),
        }
        out.push_str(
            "\n# Providers that compare the redirect address exactly need a fixed port (or a short list).\n\
             # redirect_ports = [8400]\n",
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Starter, TokenChoice};
    use crate::config::document::Document;
    use crate::config::preset::Preset;

    #[test]
    fn the_first_file_is_valid_whatever_it_is_given() {
        let starter = Starter {
            preset: Preset::find("okta"),
            issuer: "https://idp.example/\"quoted".to_owned(),
            client_id: "a'b\\c".to_owned(),
            gateway_url: Some("https://gateway.example".to_owned()),
            scopes: Some(vec!["openid".to_owned(), "x\"y".to_owned()]),
            flow: Some("browser"),
            token: Some(TokenChoice::IdToken),
            notes: vec!["one\ntwo = 3".to_owned()],
            ..Starter::default()
        };
        let document = Document::parse(starter.to_toml().as_bytes()).unwrap();
        assert_eq!(document.top.len(), 7);
    }
}
