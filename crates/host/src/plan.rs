//! What is to be written for a host, whichever it is.

use serde_json::Value;

use crate::mobileconfig::{self, Payload};
use crate::registry::{self, Section};
use crate::secrets::{holds_secret, looks_secret};
use crate::value::{Object, managed_text};
use crate::{ConfigDocument, Error, HEADERS_LINK, HostInfo, LOOK_AHEAD, Notes, Target};

/// Longest time that Claude Desktop grants a helper, in seconds.
const LONGEST_TIMEOUT: u64 = 600;

/// An export, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPlan {
    /// The system on which the host runs.
    pub target: Target,
    /// Where gatepass is there, if not where packages put it.
    pub program: Option<String>,
    /// gatepass's profile; `None` is the default one.
    pub profile: Option<String>,
    /// Whether the profile is named by arguments and not by a link.
    pub use_args: bool,
    /// For people: whose sign-in this is.
    pub organisation: String,
    /// The gateway's address, without `/v1`.
    pub base_url: String,
    /// How the host shows the token to the gateway.
    pub scheme: Scheme,
    /// Seconds for which the host may keep a token.
    pub ttl: u64,
    /// Seconds that gatepass waits for the person.
    pub wait: u64,
    /// Seconds that gatepass's tokens have left at least (`min_validity`); `None` where gatepass's policy travels
    /// with the export, which sets what fits, and for pasted keys, which have no end.
    pub min_validity: Option<u64>,
    /// Models that the host offers.
    pub models: Vec<String>,
    /// Headers that every user sends.
    pub headers: Vec<(String, String)>,
    /// Headers that gatepass is configured with, as templates.
    pub configured_headers: Vec<(String, String)>,
    /// Names of headers that only gatepass knows.
    pub secret_headers: Vec<String>,
    /// Further keys of the host.
    pub extra: Vec<(String, Value)>,
    /// MCP servers that take gatepass's token: names and addresses.
    pub servers: Vec<(String, String)>,
    /// Where telemetry goes that takes gatepass's token: an address of OTLP over HTTP.
    pub telemetry: Option<String>,
    /// gatepass's own policy, where it travels with the export.
    pub policy: Option<PolicyPayload>,
}

/// How a host shows the token to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    Bearer,
    /// `x-api-key: …`.
    XApiKey,
}

impl Scheme {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::XApiKey => "x-api-key",
        }
    }
}

/// A program's own policy, beside the host's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPayload {
    /// The preference domain.
    pub domain: &'static str,
    /// Its key in the registry, with the hive.
    pub registry_key: &'static str,
    /// For people.
    pub title: String,
    /// Keys for the whole machine.
    pub keys: Object,
    /// Keys by profile.
    pub profiles: Vec<(String, Object)>,
}

impl PolicyPayload {
    /// The preferences.
    pub fn preferences(&self) -> Object {
        let mut keys = self.keys.clone();
        if !self.profiles.is_empty() {
            let profiles = self.profiles.iter();
            let profiles = profiles.map(|(name, keys)| (name.clone(), keys.clone().into()));
            keys.insert("profiles".to_owned(), Value::Object(profiles.collect()));
        }
        keys
    }

    /// The keys of the registry and the values in them.
    pub fn sections(&self) -> Vec<Section> {
        let section = |path: String, keys: &Object| {
            let mut section = Section::new(path);
            for (name, value) in keys {
                section.push(name, registry_value(value));
            }
            section
        };
        let mut sections = Vec::new();
        if !self.keys.is_empty() {
            sections.push(section(self.registry_key.to_owned(), &self.keys));
        }
        for (name, keys) in &self.profiles {
            sections.push(section(
                format!(r"{}\Profiles\{name}", self.registry_key),
                keys,
            ));
        }
        sections
    }
}

/// Numbers and flags as `REG_DWORD`, everything else as text.
fn registry_value(value: &Value) -> registry::Data {
    let small = match value {
        Value::Bool(flag) => Some(u32::from(*flag)),
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        _ => None,
    };
    match small {
        Some(number) => registry::Data::Number(number),
        None => registry::Data::Text(managed_text(value)),
    }
}

impl HostPlan {
    /// The program without a profile.
    pub fn program(&self) -> &str {
        self.program
            .as_deref()
            .unwrap_or_else(|| self.target.installed())
    }

    /// The program and its arguments, for a host that takes the path of one file.
    pub fn helper(&self, notes: &mut Notes) -> (String, Vec<String>) {
        let program = self.program().to_owned();
        let Some(profile) = &self.profile else {
            return (program, Vec::new());
        };
        if self.use_args {
            return (program, vec!["--profile".to_owned(), profile.clone()]);
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
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) where the program is not gatepass itself.
    pub fn headers_helper(&self) -> Result<String, Error> {
        let ending = match &self.profile {
            None => HEADERS_LINK.to_owned(),
            Some(profile) => format!("-{profile}{HEADERS_LINK}"),
        };
        self.link(&ending).ok_or_else(|| {
            Error::usage(
                "programs that print headers are named by a link beside gatepass, and --helper-path names another program",
                "leave --helper-path out, or let it end in gatepass",
            )
        })
    }

    /// gatepass's arguments for a caller that is told them.
    pub(crate) fn arguments(&self, rest: &[&str]) -> Vec<String> {
        let rest = rest.iter().map(|word| (*word).to_owned());
        let profile = self.profile.iter();
        rest.chain(profile.flat_map(|name| ["--profile".to_owned(), name.clone()]))
            .collect()
    }

    /// Seconds that the host waits for gatepass.
    pub fn timeout(&self) -> u64 {
        (self.wait + 5).min(LONGEST_TIMEOUT)
    }

    /// Seconds that gatepass's tokens must have left for a host that keeps them for [`HostPlan::ttl`] and looks ahead.
    pub fn least_validity(&self) -> u64 {
        self.ttl + LOOK_AHEAD
    }

    /// Headers from the command line, checked: a host's configuration is no place for secrets.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for one that looks like a credential.
    pub fn checked_headers(&self) -> Result<&[(String, String)], Error> {
        match self
            .headers
            .iter()
            .find(|(name, value)| looks_secret(name, value))
        {
            Some((name, _)) => Err(Error::usage(
                format!(
                    "--header {name} looks like a credential, and a host's configuration is not secret"
                ),
                "let gatepass keep it: secret_headers in its configuration",
            )),
            None => Ok(&self.headers),
        }
    }

    /// Keys from the command line, of which none may be one that the export decides or a secret.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for either.
    pub fn checked_extra(&self, own: &Object) -> Result<&[(String, Value)], Error> {
        for (name, value) in &self.extra {
            if own.contains_key(name) {
                return Err(set_by_export(name));
            }
            if is_credential(name, value) {
                return Err(Error::usage(
                    format!(
                        "--set {name} looks like a credential, and a host's configuration is not secret"
                    ),
                    "leave it out: the host gets its credential from gatepass",
                ));
            }
        }
        Ok(&self.extra)
    }

    /// Configured headers for a host that can only carry fixed ones.
    fn fixed_headers(&self, host: &str, notes: &mut Notes) -> Vec<(String, String)> {
        let mut fixed = Vec::new();
        for (name, template) in &self.configured_headers {
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
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where there is one.
    pub fn refuse_secret_headers(&self, host: &str) -> Result<(), Error> {
        if self.secret_headers.is_empty() {
            return Ok(());
        }
        Err(Error::config(
            format!(
                "`secret_headers` ({}) cannot be used with {host}: it takes a bare token from gatepass and no headers, and its own configuration is not secret",
                self.secret_headers.join(", ")
            ),
            format!("use a profile without secret_headers for {host}"),
        ))
    }

    /// Headers for a host that can only carry fixed ones: those of the command line, and of the configured ones what does
    /// not depend on the person.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for one that looks like a credential.
    pub fn all_fixed_headers(
        &self,
        host: &str,
        notes: &mut Notes,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut headers = self.checked_headers()?.to_vec();
        headers.extend(self.fixed_headers(host, notes));
        Ok(headers)
    }

    /// A configuration profile for macOS with these preferences of a host's domain, and gatepass's policy where that travels with
    /// them.
    pub fn profile(&self, host: &HostInfo, domain: &'static str, keys: Object) -> ConfigDocument {
        let title = self.title(host.title);
        let mut payloads = vec![Payload {
            domain,
            title: title.clone(),
            keys,
        }];
        payloads.extend(self.policy.as_ref().map(|policy| Payload {
            domain: policy.domain,
            title: policy.title.clone(),
            keys: policy.preferences(),
        }));
        ConfigDocument::Plist(mobileconfig::profile(
            &self.identifier(host.name),
            &title,
            &self.organisation,
            &payloads,
        ))
    }

    /// Whom it is for.
    pub fn title(&self, host: &str) -> String {
        match &self.profile {
            None => format!("{host} with gatepass ({})", self.organisation),
            Some(profile) => format!(
                "{host} with gatepass, profile {profile} ({})",
                self.organisation
            ),
        }
    }

    /// The name that tells exports for a host and a profile apart, on every machine the same.
    pub fn identifier(&self, host: &str) -> String {
        match &self.profile {
            None => format!("io.gatepass.export.{host}"),
            Some(profile) => format!("io.gatepass.export.{host}.{profile}"),
        }
    }
}

/// The error for a key that the export decides.
pub(crate) fn set_by_export(name: &str) -> Error {
    Error::usage(
        format!("--set {name}: the export sets this key itself"),
        "gatepass export --help names the option for it",
    )
}

/// Whether a key from `--set` is a credential, or has one in it.
fn is_credential(name: &str, value: &Value) -> bool {
    const KEYS: [&str; 5] = ["ApiKey", "API_KEY", "AUTH_TOKEN", "Secret", "BearerToken"];
    let named = name.rsplit('.').next().unwrap_or(name);
    match named {
        // Codex is told the names of variables there, not their values.
        "env_key" | "env_http_headers" => false,
        _ => KEYS.iter().any(|part| named.contains(part)) || holds_secret(named, value),
    }
}

/// Whether a header's template takes something from claims.
pub fn has_placeholder(template: &str) -> bool {
    template.split('{').skip(1).any(|rest| {
        rest.split_once('}')
            .is_some_and(|(name, _)| is_claim_name(name))
    })
}

/// Whether a text between braces names a claim.
pub(crate) fn is_claim_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    !name.is_empty() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::{has_placeholder, is_credential};
    use serde_json::Value;

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
            let value = serde_json::from_str::<Value>(value).unwrap();
            assert_eq!(is_credential(name, &value), credential, "{name} {value:?}");
        }
    }
}
