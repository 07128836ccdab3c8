//! What suits a provider: data, not branches in code.
//!
//! Each file below `presets/` first has ordinary configuration keys, then, from the heading `[preset]` on, what
//! gatepass knows about the provider beyond them. A run that prints a token reads the first part only.

use serde::Deserialize;

use super::document::{Document, Table};

/// Every preset, in the order of the interface.
const PRESETS: [(&str, &str); 12] = [
    ("entra", include_str!("presets/entra.toml")),
    ("okta", include_str!("presets/okta.toml")),
    ("auth0", include_str!("presets/auth0.toml")),
    ("google", include_str!("presets/google.toml")),
    ("keycloak", include_str!("presets/keycloak.toml")),
    ("cognito", include_str!("presets/cognito.toml")),
    ("ping", include_str!("presets/ping.toml")),
    ("authentik", include_str!("presets/authentik.toml")),
    ("authelia", include_str!("presets/authelia.toml")),
    ("dex", include_str!("presets/dex.toml")),
    ("zitadel", include_str!("presets/zitadel.toml")),
    ("gitlab", include_str!("presets/gitlab.toml")),
];

/// Where the second part begins.
const ABOUT: &str = "\n[preset]";

/// One provider's preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    text: &'static str,
}

/// What gatepass knows about a provider beyond configuration keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The provider's name, for people.
    pub title: String,
    /// The page of the documentation.
    pub page: String,
    /// What an issuer looks like there.
    pub issuer_example: String,
    /// The issuer that the provider's documents and tokens name, with `{tenantid}` in it.
    pub issuer_template: Option<String>,
    /// Configured issuers for which the template holds.
    #[serde(default)]
    pub template_issuers: Vec<String>,
    /// The claim that names the tenant.
    pub tenant_claim: Option<String>,
    /// The default access token is for the provider's own services: a scope or audience of the gateway's is needed.
    #[serde(default)]
    pub own_audience: bool,
    /// What such a scope looks like.
    pub api_scope_hint: Option<String>,
    /// Scopes which, alone, mean that the default audience applies.
    #[serde(default)]
    pub default_scopes_only: Vec<String>,
    /// Values of `aud` that no gateway of the organisation's can check.
    #[serde(default)]
    pub foreign_audiences: Vec<String>,
    /// Beginnings of `iss` of which the same is true.
    #[serde(default)]
    pub foreign_issuers: Vec<String>,
    /// What the issuer of a custom authorization server has in it, and the organisation-wide one has not.
    pub org_issuer: Option<String>,
    /// The provider gives installed applications a client secret that is not confidential (RFC 8252 section 8.5).
    #[serde(default)]
    pub public_client_secret: bool,
    /// Public clients work although the provider's documents do not list them (`none`).
    #[serde(default)]
    pub unlisted_public_clients: bool,
    /// Requests for device codes have a PKCE challenge.
    #[serde(default)]
    pub device_pkce: bool,
    /// Device codes are what attackers phish with here, and what many organisations block.
    #[serde(default)]
    pub device_codes_are_phished: bool,
    /// How issuers end where the provider takes no `resource` (RFC 8707), and what it says then.
    pub refuses_resource: Option<RefusesResource>,
    /// Scopes that the provider refuses.
    #[serde(default)]
    pub refuses_scopes: Vec<String>,
    /// Every access token is for the provider's own services, whatever is asked for.
    #[serde(default)]
    pub access_tokens_are_its_own: bool,
    /// Whether there is a device flow: `yes`, `no`, `some`.
    pub device_flow: Option<String>,
}

/// Where a provider takes no `resource` (RFC 8707).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusesResource {
    /// Issuers that end like this.
    pub issuer_ends: String,
    /// The provider's own name of the error.
    pub error: String,
}

/// What one of the provider's errors means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    /// Found in `error_description`.
    #[serde(rename = "match")]
    pub within: String,
    /// The standard error code that must come with it.
    pub error: Option<String>,
    /// What happened.
    pub what: String,
    /// The one thing to do.
    #[serde(rename = "do")]
    pub remedy: String,
}

#[derive(Default, Deserialize)]
struct Knowledge {
    #[serde(default)]
    preset: About,
    #[serde(default)]
    advice: Vec<Advice>,
}

impl Preset {
    /// Their names.
    pub const NAMES: [&'static str; PRESETS.len()] = {
        let mut names = [""; PRESETS.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = PRESETS[at].0;
            at += 1;
        }
        names
    };

    /// The preset of this name.
    pub fn find(name: &str) -> Option<Self> {
        PRESETS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(name, text)| Self { name, text })
    }

    /// Every preset.
    pub fn all() -> impl Iterator<Item = Self> {
        PRESETS.iter().map(|(name, text)| Self { name, text })
    }

    /// The values that the preset gives to keys.
    pub fn values(&self) -> Table {
        let (keys, _) = self.text.split_once(ABOUT).unwrap_or((self.text, ""));
        Document::parse_all(keys.as_bytes()).0.top
    }

    fn knowledge(&self) -> Knowledge {
        let (_, about) = self.text.split_once(ABOUT).unwrap_or_default();
        toml::from_str(&format!("[preset]{about}")).unwrap_or_default()
    }

    /// What gatepass knows about the provider.
    pub fn about(&self) -> About {
        self.knowledge().preset
    }

    /// What an error of the provider's means, if the preset knows. It adds words; decisions rest on the code.
    pub fn advice(&self, said: &str) -> Option<Advice> {
        self.knowledge().advice.into_iter().find(|advice| {
            let code_fits = advice
                .error
                .as_ref()
                .is_none_or(|code| said.contains(code.as_str()));
            code_fits && said.contains(&advice.within)
        })
    }

    /// The preset that is most probably meant by an issuer.
    pub fn guess(issuer: &str) -> Option<Self> {
        const HOSTS: [(&str, &str); 17] = [
            ("login.microsoftonline.com", "entra"),
            ("login.microsoftonline.us", "entra"),
            ("sts.windows.net", "entra"),
            (".okta.com", "okta"),
            (".okta-emea.com", "okta"),
            (".okta-gov.com", "okta"),
            (".oktapreview.com", "okta"),
            (".auth0.com", "auth0"),
            ("accounts.google.com", "google"),
            (".pingone.com", "ping"),
            (".pingone.eu", "ping"),
            (".pingone.asia", "ping"),
            (".pingone.ca", "ping"),
            (".pingone.com.au", "ping"),
            (".pingone.sg", "ping"),
            (".zitadel.cloud", "zitadel"),
            ("gitlab.com", "gitlab"),
        ];
        let host = super::address::host_of(issuer)?;
        let is_cognito = host.starts_with("cognito-idp.")
            && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"));
        let known = HOSTS
            .iter()
            .find(|(end, _)| host == *end || (end.starts_with('.') && host.ends_with(end)));
        match known {
            Some((_, name)) => Self::find(name),
            None if is_cognito => Self::find("cognito"),
            None if issuer.contains("/realms/") => Self::find("keycloak"),
            None if issuer.contains("/application/o/") => Self::find("authentik"),
            None if issuer.trim_end_matches('/').ends_with("/dex") => Self::find("dex"),
            // GitLab that an organisation runs itself.
            None if host.starts_with("gitlab.") => Self::find("gitlab"),
            None => None,
        }
    }
}

impl About {
    /// Whether these tokens are for another server than the organisation's gateway.
    pub fn is_foreign(&self, audience: &str, issuer: &str) -> bool {
        self.foreign_audiences.iter().any(|known| known == audience)
            || self
                .foreign_issuers
                .iter()
                .any(|known| issuer.starts_with(known.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_complete_and_valid() {
        for preset in Preset::all() {
            let (keys, about) = preset.text.split_once(ABOUT).unwrap();
            let (document, problems) = Document::parse_all(keys.as_bytes());
            assert!(problems.is_empty(), "{}: {problems:?}", preset.name);
            for own in ["issuer", "client_id", "kind", "preset"] {
                assert!(!document.top.contains_key(own), "{}", preset.name);
            }
            let knowledge: Knowledge = toml::from_str(&format!("[preset]{about}")).unwrap();
            assert!(!knowledge.preset.title.is_empty(), "{}", preset.name);
            assert_eq!(
                knowledge.preset.page,
                format!("docs/providers/{}.md", preset.name)
            );
            for advice in &knowledge.advice {
                assert!(
                    !advice.within.is_empty() || advice.error.is_some(),
                    "{advice:?}"
                );
                assert!(!advice.what.is_empty() && !advice.remedy.is_empty());
            }
        }
    }

    #[test]
    fn no_advice_hides_another() {
        for preset in Preset::all() {
            for advice in preset.knowledge().advice {
                let error = advice.error.as_deref().unwrap_or("invalid_grant");
                let said = format!("{error}: x {}: y", advice.within);
                assert_eq!(preset.advice(&said), Some(advice), "{}", preset.name);
            }
        }
    }

    #[test]
    fn advice_is_found_by_what_the_provider_says() {
        let entra = Preset::find("entra").unwrap();
        let advice = entra
            .advice("access_denied: AADSTS50105: The signed in user is not assigned")
            .unwrap();
        assert!(advice.what.contains("not assigned"), "{}", advice.what);
        assert_eq!(entra.advice("access_denied: something else"), None);
    }

    #[test]
    fn an_issuer_betrays_its_provider() {
        let guess = |issuer: &str| Preset::guess(issuer).map(|preset| preset.name);
        for preset in Preset::all() {
            let example = preset.about().issuer_example;
            // Its address says nothing.
            if preset.name != "authelia" {
                assert_eq!(guess(&example), Some(preset.name), "{example}");
            }
        }
        for (page, preset) in [
            ("https://auth.pingone.eu/1111/as", "ping"),
            (
                "https://authentik.example.com/application/o/gatepass/",
                "authentik",
            ),
            ("https://dex.example.com/dex", "dex"),
            ("https://gitlab.example.com", "gitlab"),
            (
                "https://cognito-idp.cn-north-1.amazonaws.com.cn/x",
                "cognito",
            ),
        ] {
            assert_eq!(guess(page), Some(preset), "{page}");
        }
        for other in [
            "https://pingone.eu.evil.example",
            "https://idp.example",
            "https://okta.com.evil.example",
            "x",
        ] {
            assert_eq!(guess(other), None, "{other}");
        }
    }
}
