//! What is to be written for a host, whichever it is.

use super::json::{Json, Object};
use super::secrets::{holds_secret, looks_secret};
use super::{Target, time_to_live};
use crate::config::settings::{AuthScheme, Settings};
use crate::error::{Failure, Id, Result};

/// Seconds that gatepass waits for the person where a policy comes with the export: as long as hosts allow.
pub const POLICY_WAIT: u64 = 295;

/// Longest time that Claude Desktop grants a helper, in seconds.
const LONGEST_TIMEOUT: u64 = 600;

/// An export, as it was asked for.
#[derive(Clone, Debug)]
pub struct Plan<'s> {
    /// The profile's configuration.
    pub settings: &'s Settings,
    /// The system on which the host runs.
    pub target: Target,
    /// Where gatepass is there, if not where packages put it.
    pub helper_path: Option<String>,
    /// Whether the profile is named by arguments and not by a link.
    pub use_args: bool,
    /// Models that the host offers.
    pub models: Vec<String>,
    /// Headers that every user sends.
    pub headers: Vec<(String, String)>,
    /// Further keys of the host.
    pub further: Vec<(String, Json)>,
    /// MCP servers that take gatepass's token.
    pub servers: Vec<(String, String)>,
    /// How long the provider's tokens live, if that is known.
    pub token_lifetime: Option<u64>,
    /// Whether gatepass's own policy is written with it.
    pub with_policy: bool,
}

/// What a person should know about the result, gathered while it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(pub Vec<String>);

impl Notes {
    /// Something that may not be as meant.
    pub fn warn(&mut self, text: impl AsRef<str>) {
        self.0.push(format!("warning: {}", text.as_ref()));
    }

    /// Something to know.
    pub fn say(&mut self, text: impl AsRef<str>) {
        self.0.push(format!("note: {}", text.as_ref()));
    }
}

impl Plan<'_> {
    /// The gateway's address, as the Claude hosts want it.
    pub fn base_url(&self, notes: &mut Notes) -> Result<String> {
        let Some(url) = &self.settings.gateway_url else {
            return Err(Failure::config(
                "`gateway_url` is not configured, and the host must know the gateway",
                "add gateway_url = \"https://gateway.example.com\" to the configuration, without /v1",
            ));
        };
        match url.trim_end_matches('/').strip_suffix("/v1") {
            Some(root) => {
                notes.warn("`gateway_url` ends in /v1, which hosts append themselves: left out");
                Ok(root.to_owned())
            }
            None => Ok(url.clone()),
        }
    }

    /// The program without a profile.
    pub fn program(&self) -> &str {
        self.helper_path
            .as_deref()
            .unwrap_or_else(|| self.target.installed())
    }

    /// The program and its arguments, for a host that takes the path of one file.
    pub fn helper(&self, notes: &mut Notes) -> (String, Vec<String>) {
        let program = self.program().to_owned();
        let profile = &self.settings.profile;
        if profile.is_default() {
            return (program, Vec::new());
        }
        if self.use_args {
            return (program, vec!["--profile".to_owned(), profile.to_string()]);
        }
        match self.link(&format!("-{profile}")) {
            Some(link) => {
                notes.say(format!(
                    "the profile is chosen by the link {link}, which must lead to {program}"
                ));
                (link, Vec::new())
            }
            None => {
                if !program.contains(&format!("gatepass-{profile}")) {
                    notes.warn(format!(
                        "nothing in {program} chooses the profile {profile}; a link gatepass-{profile} or --use-args does"
                    ));
                }
                (program, Vec::new())
            }
        }
    }

    /// A link beside the program, if that is gatepass itself.
    fn link(&self, ending: &str) -> Option<String> {
        let program = self.program();
        let (stem, extension) = match program.strip_suffix(".exe") {
            Some(stem) => (stem, ".exe"),
            None => (program, ""),
        };
        let name = stem.rsplit(['/', '\\']).next()?;
        (name == "gatepass").then(|| format!("{stem}{ending}{extension}"))
    }

    /// The link that prints headers, for programs that are run without arguments.
    pub fn headers_helper(&self) -> Result<String> {
        let profile = &self.settings.profile;
        let ending = if profile.is_default() {
            super::HEADERS_LINK.to_owned()
        } else {
            format!("-{profile}{}", super::HEADERS_LINK)
        };
        self.link(&ending).ok_or_else(|| {
            Failure::new(
                Id::Usage,
                "--mcp needs a link beside gatepass, and --helper-path names another program",
                "leave --helper-path out, or let it end in gatepass",
            )
        })
    }

    /// Seconds for which the host may keep a token.
    pub fn time_to_live(&self, notes: &mut Notes) -> u64 {
        let ttl = time_to_live(self.token_lifetime);
        match self.token_lifetime {
            None => notes.say(format!(
                "how long tokens live is not known here (nobody is signed in): {ttl} seconds fit tokens that live 450 or longer; --token-lifetime says it"
            )),
            Some(life) if life < ttl + 150 => notes.warn(format!(
                "tokens live {life} seconds only; the host may use one that has ended now and then"
            )),
            Some(_) => (),
        }
        ttl
    }

    /// Seconds that gatepass waits for the person, and that the host waits for gatepass.
    pub fn waits(&self) -> (u64, u64) {
        let wait = if self.with_policy {
            POLICY_WAIT
        } else {
            self.settings.interactive_timeout.as_secs()
        };
        (wait, (wait + 5).min(LONGEST_TIMEOUT))
    }

    /// How the host shows the token to the gateway.
    pub fn scheme(&self) -> &'static str {
        match self.settings.auth_scheme {
            AuthScheme::Bearer => "bearer",
            AuthScheme::XApiKey => "x-api-key",
        }
    }

    /// Headers from `--header`, checked: a host's configuration is no place for secrets.
    pub fn checked_headers(&self) -> Result<&[(String, String)]> {
        let map = self.headers.iter().cloned().collect();
        crate::config::header_names::check_headers(&map).map_err(|reason| {
            Failure::new(
                Id::Usage,
                reason.replace('%', "--header"),
                "give --header NAME=VALUE with a name that the gateway defines",
            )
        })?;
        match self
            .headers
            .iter()
            .find(|(name, value)| looks_secret(name, value))
        {
            Some((name, _)) => Err(Failure::new(
                Id::Usage,
                format!(
                    "--header {name} looks like a credential, and a host's configuration is not secret"
                ),
                "let gatepass keep it: secret_headers in its configuration",
            )),
            None => Ok(&self.headers),
        }
    }

    /// Keys from `--set`, of which none may be one that the export decides or a secret.
    pub fn checked_further(&self, own: &Object) -> Result<&[(String, Json)]> {
        for (name, value) in &self.further {
            if own.get(name).is_some() {
                return Err(Failure::new(
                    Id::Usage,
                    format!("--set {name}: the export sets this key itself"),
                    "gatepass export --help names the option for it",
                ));
            }
            if is_credential(name, value) {
                return Err(Failure::new(
                    Id::Usage,
                    format!(
                        "--set {name} looks like a credential, and a host's configuration is not secret"
                    ),
                    "leave it out: the host gets its credential from gatepass",
                ));
            }
        }
        Ok(&self.further)
    }

    /// Configured headers for a host that can only carry fixed ones.
    pub fn fixed_headers(&self, host: &str, notes: &mut Notes) -> Vec<(String, String)> {
        let mut fixed = Vec::new();
        for (name, template) in &self.settings.headers {
            if has_placeholder(template) {
                notes.warn(format!(
                    "{host} cannot carry the header {name}: its value is made from each person's claims, and {host} takes fixed values"
                ));
            } else if looks_secret(name, template) {
                notes.warn(format!(
                    "{host} does not get the header {name}: it looks like a credential, and {host}'s configuration is not secret"
                ));
            } else {
                notes.warn(format!(
                    "{host} cannot carry headers from gatepass: {name} is written into its configuration as it is now"
                ));
                fixed.push((name.clone(), template.clone()));
            }
        }
        fixed
    }

    /// Hosts that take a bare token cannot carry a header that only gatepass knows.
    pub fn refuse_secret_headers(&self, host: &str) -> Result<()> {
        let names = &self.settings.secret_headers;
        if names.is_empty() {
            return Ok(());
        }
        Err(Failure::config(
            format!(
                "`secret_headers` ({}) cannot be used with {host}: it takes a bare token from gatepass and no headers, and its own configuration is not secret",
                names.join(", ")
            ),
            format!("use a profile without secret_headers for {host}"),
        ))
    }

    /// Whom it is for.
    pub fn title(&self, host: &str) -> String {
        let profile = &self.settings.profile;
        if profile.is_default() {
            format!("{host} with gatepass ({})", self.settings.display_name)
        } else {
            format!(
                "{host} with gatepass, profile {profile} ({})",
                self.settings.display_name
            )
        }
    }
}

/// Whether a key from `--set` is a credential, or has one in it.
fn is_credential(name: &str, value: &Json) -> bool {
    const KEYS: [&str; 5] = ["ApiKey", "API_KEY", "AUTH_TOKEN", "Secret", "BearerToken"];
    let named = name.rsplit('.').next().unwrap_or(name);
    match named {
        // Codex is told the names of variables there, not their values.
        "env_key" | "env_http_headers" => false,
        _ => KEYS.iter().any(|part| named.contains(part)) || holds_secret(named, value),
    }
}

/// Whether a header's template takes something from claims.
pub(super) fn has_placeholder(template: &str) -> bool {
    template.split('{').skip(1).any(|rest| {
        rest.split_once('}').is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{has_placeholder, is_credential};
    use crate::host::json::Json;

    #[test]
    fn json_values_are_not_taken_for_claims() {
        for (template, has) in [
            ("{email}", true),
            ("a {urn:x.y-z} b", true),
            ("{\"team\":\"a\"}", false),
            ("{\"who\":\"{sub}\"}", true),
            ("{}", false),
            ("{open", false),
        ] {
            assert_eq!(has_placeholder(template), has, "{template}");
        }
    }

    #[test]
    fn no_further_key_is_a_credential() {
        for (name, value, credential) in [
            ("inferenceGatewayApiKey", "\"x\"", true),
            ("env.ANTHROPIC_AUTH_TOKEN", "\"x\"", true),
            ("env.MY_PASSWORD", "12345", true),
            (
                "managedMcpServers",
                r#"[{"name":"a","headers":{"X-Api-Key":"x"}}]"#,
                true,
            ),
            ("http_headers", r#"{"Authorization":"Bearer x"}"#, true),
            ("egressProxyUrl", "\"http://a:b@proxy.example\"", true),
            (
                "env.ANTHROPIC_CUSTOM_HEADERS",
                "\"X-A: b\\nCookie: c\"",
                true,
            ),
            ("env_http_headers", r#"{"X-Api-Key":"KEY_OF_MINE"}"#, false),
            (
                "managedMcpServers",
                r#"[{"name":"a","headers":{"X-Team":"x"}}]"#,
                false,
            ),
            ("coworkEgressAllowedHosts", r#"["*"]"#, false),
            ("disableAutoUpdates", "true", false),
        ] {
            let value = Json::parse(value).unwrap();
            assert_eq!(is_credential(name, &value), credential, "{name} {value:?}");
        }
    }
}
