//! Takes over a profile that a gateway has handed out: what gatepass must be configured with, and the secrets that
//! lie in it in the clear.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gatepass_host::claude_code::shell_word;
use gatepass_host::claude_desktop::{self, keys};
use gatepass_host::lint::{HostSettings, is_placeholder};
use gatepass_host::plan::has_placeholder;
use gatepass_host::secrets::{holds_secret, looks_secret};
use gatepass_host::value::Members;
use gatepass_host::{Notes, Object};
use serde_json::Value;

use super::policy::export::toml_text;
use crate::error::{Failure, Result};
use crate::secret::Secret;

/// What a profile means for gatepass.
#[derive(Debug)]
pub struct Imported {
    /// Keys of the configuration, in the order in which they are written.
    keys: Vec<(&'static str, Value)>,
    /// The gateway's key.
    pub key: Option<Secret>,
    /// Secrets of headers.
    pub secret_headers: BTreeMap<String, Secret>,
    /// What was left behind, and why.
    pub notes: Notes,
}

/// Reads a profile in any of Claude Desktop's forms.
pub fn read(bytes: &[u8]) -> Result<Imported> {
    let settings = claude_desktop::read(bytes).map_err(|what| {
        Failure::config(
            format!("this cannot be taken over: {what}"),
            "give a profile for Claude Desktop: a gateway's download, a configLibrary entry, or claude_desktop_config.json",
        )
    })?;
    Import {
        settings: &settings,
        imported: Imported {
            keys: Vec::new(),
            key: None,
            secret_headers: BTreeMap::new(),
            notes: Notes::default(),
        },
    }
    .all()
}

struct Import<'s> {
    settings: &'s HostSettings,
    imported: Imported,
}

impl Import<'_> {
    fn all(mut self) -> Result<Imported> {
        let Some(url) = self.settings.text("inferenceGatewayBaseUrl") else {
            return Err(Failure::config(
                "this profile names no gateway (inferenceGatewayBaseUrl)",
                "give a profile whose provider is a gateway",
            ));
        };
        let key = self.settings.text("inferenceGatewayApiKey");
        match key.filter(|key| !key.is_empty() && !is_placeholder(key)) {
            Some(key) => {
                self.imported.key = Some(Secret::new(key));
                self.set("kind", "key".into());
            }
            None => self.sign_in()?,
        }
        if let Some(name) = self.settings.text("deploymentDisplayName") {
            self.set("display_name", name.into());
        }
        let root = url.trim_end_matches('/');
        match root.strip_suffix("/v1") {
            Some(root) => self.set("gateway_url", root.into()),
            None => self.set("gateway_url", url.into()),
        }
        if self.settings.text("inferenceGatewayAuthScheme") == Some("x-api-key") {
            self.set("auth_scheme", "x-api-key".into());
        }
        self.headers();
        self.rest();
        Ok(self.imported)
    }

    fn set(&mut self, name: &'static str, value: Value) {
        self.imported.keys.push((name, value));
    }

    /// Without a key the profile must say where people sign in.
    fn sign_in(&mut self) -> Result<()> {
        let nothing = || {
            Failure::config(
                "there is neither a key nor a sign-in in this profile that gatepass could take over",
                "gatepass config init --issuer https://… --client-id …",
            )
        };
        let oidc = ["inferenceIdpOidc", "inferenceGatewayOidc"]
            .into_iter()
            .find_map(|name| self.settings.structure(name));
        let Some(Value::Object(oidc)) = oidc else {
            return Err(nothing());
        };
        let (Some(issuer), Some(client)) = (oidc.text("issuer"), oidc.text("clientId")) else {
            return Err(nothing());
        };
        self.set("issuer", issuer.into());
        self.set("client_id", client.into());
        // The app's own default differs from gatepass's.
        let token = oidc.text("bearerTokenType").unwrap_or("id_token");
        self.set("token", token.into());
        if let Some(scopes) = oidc.text("scopes") {
            let scopes: Vec<&str> = scopes.split_whitespace().collect();
            self.set("scopes", scopes.into());
        }
        if let Some(resource) = oidc.text("resource") {
            self.set("resource", vec![resource].into());
        }
        if let Some(port @ Value::Number(_)) = oidc.get("redirectPort") {
            self.set("redirect_ports", vec![port.clone()].into());
        }
        Ok(())
    }

    /// Headers: secrets go into the keychain, the others into the configuration.
    fn headers(&mut self) {
        let mut plain = Object::new();
        let mut secret = Vec::new();
        for (name, value) in self.given_headers() {
            let reserved = crate::config::header_names::check_headers(
                &[(name.clone(), String::new())].into_iter().collect(),
            );
            if reserved.is_err() {
                self.imported.notes.warn(format!(
                    "the header {name} is not taken over: gatepass sets it itself"
                ));
            } else if looks_secret(&name, &value) {
                secret.push(name.clone());
                self.imported
                    .secret_headers
                    .insert(name, Secret::new(value));
            } else if has_placeholder(&value) {
                self.imported.notes.warn(format!(
                    "the header {name} is not taken over: gatepass would read its value as a template"
                ));
            } else {
                plain.insert(name, value.into());
            }
        }
        if !secret.is_empty() {
            self.set("secret_headers", secret.into());
        }
        if !plain.is_empty() {
            self.set("headers", plain.into());
        }
    }

    /// In the form of today, and in those that older apps read: `Name=value,…` and a list of `Name: value`.
    fn given_headers(&self) -> Vec<(String, String)> {
        let pair = |text: &str, by: char| {
            let (name, value) = text.split_once(by)?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let name = ["inferenceCustomHeaders", "inferenceGatewayHeaders"]
            .into_iter()
            .find(|name| self.settings.get(name).is_some());
        let Some(name) = name else {
            return Vec::new();
        };
        match (self.settings.structure(name), self.settings.text(name)) {
            (Some(Value::Object(headers)), _) => headers
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            (Some(Value::Array(lines)), _) => lines
                .iter()
                .filter_map(|line| pair(line.as_str()?, ':'))
                .collect(),
            (_, Some(text)) => text.split(',').filter_map(|part| pair(part, '=')).collect(),
            _ => Vec::new(),
        }
    }

    /// What belongs to the host goes back to it by `export`.
    fn rest(&mut self) {
        const TAKEN: [&str; 16] = [
            "inferenceProvider",
            "inferenceCredentialKind",
            "inferenceCredentialHelper",
            "inferenceCredentialHelperArgs",
            "inferenceCredentialHelperWindows",
            "inferenceCredentialHelperTtlSec",
            "inferenceCredentialHelperTimeoutSec",
            "inferenceGatewayBaseUrl",
            "inferenceGatewayApiKey",
            "inferenceGatewayAuthScheme",
            "inferenceGatewayOidc",
            "inferenceIdpOidc",
            "inferenceCustomHeaders",
            "inferenceGatewayHeaders",
            "deploymentDisplayName",
            "inferenceModels",
        ];
        let mut command = String::from("gatepass export claude-desktop");
        if let Some(models) = self.settings.structure("inferenceModels") {
            for name in claude_desktop::model_names(&models) {
                let _ = write!(command, " --model {}", shell_word(name));
            }
        }
        let mut secret = Vec::new();
        for (name, value, _) in &self.settings.values {
            if TAKEN.contains(&name.as_str()) || keys::kind(name).is_none() {
                continue;
            }
            if holds_secret(name, value) {
                secret.push(name.as_str());
                continue;
            }
            let value = gatepass_host::value::managed_text(value);
            let _ = write!(command, " --set {}", shell_word(&format!("{name}={value}")));
        }
        if !secret.is_empty() {
            self.imported.notes.warn(format!(
                "not taken over, since a credential lies in it in the clear: {}",
                secret.join(", ")
            ));
        }
        self.imported.notes.say(format!(
            "what belongs to Claude Desktop goes back to it by: {command}"
        ));
    }
}

impl Imported {
    /// A first configuration file.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# gatepass: taken over by `gatepass config import`. Secrets are in the keychain, not here.\n\n",
        );
        self.write(&mut out);
        out
    }

    /// A profile, to be added to a configuration file.
    pub fn to_profile(&self, name: &str) -> String {
        let mut out = format!(
            "# Taken over by `gatepass config import`. Secrets are in the keychain, not here.\n[profile.{name}]\n"
        );
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        for (name, value) in &self.keys {
            let _ = writeln!(out, "{name} = {}", toml_text(value));
        }
    }

    /// The secrets by their names, for people.
    pub fn secrets(&self) -> Vec<String> {
        let key = self.key.iter().map(|_| "the gateway's key".to_owned());
        let headers = self
            .secret_headers
            .keys()
            .map(|name| format!("the header {name}"));
        key.chain(headers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::config::document::Document;

    const DOWNLOAD: &str = r#"{
        "inferenceProvider": "gateway",
        "inferenceGatewayBaseUrl": "https://archestra.example/v1/anthropic/0b1c",
        "inferenceGatewayApiKey": "arch_0123456789abcdef",
        "inferenceGatewayAuthScheme": "x-api-key",
        "inferenceCustomHeaders": {
            "X-Archestra-Virtual-Key": "arch_fedcba9876543210",
            "X-Archestra-Agent-Id": "anthropic_claude_desktop"
        },
        "inferenceModels": [{"name": "claude-haiku-4-5"}],
        "managedMcpServers": []
    }"#;

    #[test]
    fn a_download_becomes_a_configuration_without_its_secrets() {
        let imported = read(DOWNLOAD.as_bytes()).unwrap();
        let text = imported.to_toml();
        assert_eq!(
            text.split_once("\n\n").unwrap().1,
            "kind = \"key\"\n\
             gateway_url = \"https://archestra.example/v1/anthropic/0b1c\"\n\
             auth_scheme = \"x-api-key\"\n\
             secret_headers = [\"X-Archestra-Virtual-Key\"]\n\
             headers = { X-Archestra-Agent-Id = \"anthropic_claude_desktop\" }\n"
        );
        assert!(Document::parse(text.as_bytes()).is_ok());
        assert!(Document::parse(imported.to_profile("a").as_bytes()).is_ok());
        assert_eq!(
            imported.key.as_ref().unwrap().expose(),
            "arch_0123456789abcdef"
        );
        assert_eq!(
            imported.secrets(),
            ["the gateway's key", "the header X-Archestra-Virtual-Key"]
        );
        assert!(!format!("{imported:?}").contains("arch_"));
        let command =
            "gatepass export claude-desktop --model claude-haiku-4-5 --set 'managedMcpServers=[]'";
        assert!(
            imported.notes.0[0].ends_with(command),
            "{:?}",
            imported.notes
        );
    }

    #[test]
    fn every_form_says_the_same() {
        let nested = format!("{{\"deploymentMode\":\"3p\",\"enterpriseConfig\":{DOWNLOAD}}}");
        let plist = "<plist version=\"1.0\"><dict>\
            <key>inferenceProvider</key><string>gateway</string>\
            <key>inferenceGatewayBaseUrl</key><string>https://g.example/v1</string>\
            <key>inferenceGatewayApiKey</key><string>k1</string>\
            <key>inferenceCustomHeaders</key><string>{\"X-A\":\"b\"}</string></dict></plist>";
        let old = r#"{"inferenceGatewayBaseUrl":"https://g.example","inferenceGatewayApiKey":"k1","inferenceGatewayHeaders":"X-A=b,X-My-Secret=c"}"#;
        for (source, wanted) in [
            (
                nested.as_str(),
                "secret_headers = [\"X-Archestra-Virtual-Key\"]",
            ),
            (
                plist,
                "gateway_url = \"https://g.example\"\nheaders = { X-A = \"b\" }",
            ),
            (
                old,
                "secret_headers = [\"X-My-Secret\"]\nheaders = { X-A = \"b\" }",
            ),
        ] {
            let text = read(source.as_bytes()).unwrap().to_toml();
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn a_profile_that_signs_in_becomes_one_of_gatepasss() {
        let source = r#"{"inferenceProvider":"gateway","inferenceGatewayBaseUrl":"https://g.example",
            "inferenceIdpOidc":{"issuer":"https://idp.example/","clientId":"c","scopes":"openid api","redirectPort":8400}}"#;
        let imported = read(source.as_bytes()).unwrap();
        assert!(imported.key.is_none());
        assert_eq!(
            imported.to_toml().split_once("\n\n").unwrap().1,
            "issuer = \"https://idp.example/\"\nclient_id = \"c\"\ntoken = \"id_token\"\n\
             scopes = [\"openid\", \"api\"]\nredirect_ports = [8400]\ngateway_url = \"https://g.example\"\n"
        );
    }

    #[test]
    fn what_holds_nothing_to_take_over_is_refused() {
        for source in [
            "{}",
            "not json",
            r#"{"inferenceProvider":"gateway"}"#,
            r#"{"inferenceProvider":"gateway","inferenceGatewayBaseUrl":"https://g","inferenceGatewayApiKey":"REPLACE_ME"}"#,
            r#"{"inferenceGatewayBaseUrl":"https://g","inferenceCredentialHelper":"/usr/bin/gatepass"}"#,
            r#"{"apiKeyHelper":"x","env":{}}"#,
        ] {
            assert!(read(source.as_bytes()).is_err(), "{source}");
        }
    }
}
