//! Which source decides.
//!
//! Precedence, first to last: locked policy, command line, user file, default policy, preset, built-in. The
//! source decides first; within one source the profile beats the top level; tables and lists are replaced whole.

use std::borrow::Cow;
use std::fmt;

use super::Sources;
use super::document::{Document, Placed, Table};
use super::policy::Policy;
use super::preset::Preset;
use super::profile::ProfileName;
use super::redirect_path;
use super::schema::{self, Key};
use super::value::ConfigValue;
use crate::error::{Failure, Result};
use crate::text;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Locked by the administrator's policy; no other source can change it.
    LockedPolicy,
    /// An option of this run.
    CommandLine,
    /// The user's file, with the line.
    UserFile(usize),
    /// A default of the administrator's policy.
    DefaultPolicy,
    /// What suits the provider.
    Preset(&'static str),
    /// gatepass's own default.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LockedPolicy => f.write_str("policy (locked)"),
            Self::CommandLine => f.write_str("command line"),
            Self::UserFile(line) => write!(f, "user file line {line}"),
            Self::DefaultPolicy => f.write_str("policy (default)"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// The tables of one source that speak about a profile, the more specific one first.
#[derive(Clone, Copy, Debug, Default)]
struct SourceTables<'f> {
    profile: Option<&'f Table>,
    top: Option<&'f Table>,
}

impl<'f> SourceTables<'f> {
    fn of(document: Option<&'f Document>, profile: &ProfileName) -> Self {
        Self {
            profile: document.and_then(|document| document.profiles.get(profile)),
            top: document.map(|document| &document.top),
        }
    }

    fn get(self, name: &str) -> Option<&'f Placed> {
        [self.profile, self.top]
            .into_iter()
            .flatten()
            .find_map(|table| table.get(name))
    }
}

/// A value of the user's that is not used, since the policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden<'f> {
    /// The key.
    pub key: &'static str,
    /// Where the user has set it.
    pub line: usize,
    /// To what.
    pub value: &'f ConfigValue,
}

/// All sources that may decide about one profile.
#[derive(Debug)]
pub struct Layers<'f> {
    /// The administrator's policy, if there is one.
    pub policy: Option<&'f Policy>,
    profile: ProfileName,
    command_line: Vec<(&'static str, ConfigValue)>,
    locked: SourceTables<'f>,
    user: SourceTables<'f>,
    defaults: SourceTables<'f>,
    preset: Option<(Preset, Table)>,
    /// Whether the policy has chosen the preset, so that its values may stand where the user's may not.
    preset_by_policy: bool,
}

impl<'f> Layers<'f> {
    /// Gathers the sources for a profile, which must exist and be allowed.
    pub fn new(sources: &'f Sources, profile: &ProfileName) -> Result<Self> {
        let policy = sources.policy.as_ref();
        if let Some(policy) = policy {
            policy.check_profile(profile)?;
        }
        let layers = Self::gather(
            policy,
            SourceTables::of(policy.map(|policy| &policy.locked), profile),
            SourceTables::of(sources.file.document.as_ref(), profile),
            SourceTables::of(policy.map(|policy| &policy.defaults), profile),
            profile,
        );
        let described = [layers.locked, layers.user, layers.defaults]
            .iter()
            .any(|tables| tables.profile.is_some());
        if !described && !profile.is_default() {
            return Err(unknown_profile(sources, profile));
        }
        Ok(layers)
    }

    fn gather(
        policy: Option<&'f Policy>,
        locked: SourceTables<'f>,
        user: SourceTables<'f>,
        defaults: SourceTables<'f>,
        profile: &ProfileName,
    ) -> Self {
        let mut layers = Self {
            policy,
            profile: profile.clone(),
            command_line: Vec::new(),
            locked,
            user,
            defaults,
            preset: None,
            preset_by_policy: false,
        };
        let chosen = Key::find("preset").and_then(|key| {
            let (value, source) = layers.effective(key)?;
            match &*value {
                ConfigValue::Text(name) => Some((Preset::find(name)?, source)),
                _ => None,
            }
        });
        if let Some((preset, source)) = chosen {
            layers.preset = Some((preset, preset.values()));
            layers.preset_by_policy =
                matches!(source, Source::LockedPolicy | Source::DefaultPolicy);
        }
        layers
    }

    /// The built-in values and the two keys that name a session.
    pub fn of_session(issuer: &str, client_id: &str) -> Self {
        let none = SourceTables::default();
        let mut layers = Self::gather(None, none, none, none, &ProfileName::default());
        layers.set_from_command_line("issuer", ConfigValue::from(issuer));
        layers.set_from_command_line("client_id", ConfigValue::from(client_id));
        layers
    }

    /// Adds what the command line says about a key.
    pub fn set_from_command_line(&mut self, key: &'static str, value: ConfigValue) {
        self.command_line.push((key, value));
    }

    /// The preset in force, if there is one.
    pub fn preset(&self) -> Option<Preset> {
        self.preset.as_ref().map(|(preset, _)| *preset)
    }

    /// Whether nothing but policy, preset and built-in values may decide about a key.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.locked.get(name).is_some()
            || self
                .policy
                .is_some_and(|policy| policy.freezes(name, &self.profile))
    }

    /// The value in force for a key and where it comes from, if any source has one.
    pub fn effective(&self, key: &Key) -> Option<(Cow<'_, ConfigValue>, Source)> {
        if let Some(placed) = self.locked.get(key.name) {
            return Some((Cow::Borrowed(&placed.value), Source::LockedPolicy));
        }
        let frozen = self.policy.is_some() && self.is_frozen(key.name);
        if !frozen {
            let given = self.command_line.iter().find(|(name, _)| *name == key.name);
            if let Some((_, value)) = given {
                return Some((Cow::Borrowed(value), Source::CommandLine));
            }
            if let Some(placed) = self.user.get(key.name) {
                return Some((Cow::Borrowed(&placed.value), Source::UserFile(placed.line)));
            }
        }
        if let Some(placed) = self.defaults.get(key.name) {
            return Some((Cow::Borrowed(&placed.value), Source::DefaultPolicy));
        }
        if let Some((preset, values)) = &self.preset
            && (!frozen || self.preset_by_policy)
            && let Some(placed) = values.get(key.name)
        {
            return Some((Cow::Borrowed(&placed.value), Source::Preset(preset.name)));
        }
        if key.name == schema::REDIRECT_PATH.name && self.has_path_of_its_own() {
            let path = redirect_path::of_profile(&self.profile);
            return Some((Cow::Owned(ConfigValue::Text(path)), Source::BuiltIn));
        }
        let value = key.built_in.value()?;
        Some((Cow::Owned(value), Source::BuiltIn))
    }

    /// Whether the profile has set its own issuer where the same source's top level sets another: then both must not
    /// have the same redirect (RFC 8252 section 8.10).
    fn has_path_of_its_own(&self) -> bool {
        let issuer = schema::ISSUER.name;
        let frozen = self.is_frozen(issuer);
        let sources = [
            Some(self.locked),
            (!frozen).then_some(self.user),
            Some(self.defaults),
        ];
        let deciding = sources
            .into_iter()
            .flatten()
            .find(|tables| tables.get(issuer).is_some());
        let of = |table: Option<&'f Table>| table.and_then(|table| table.get(issuer));
        deciding.is_some_and(|tables| match (of(tables.profile), of(tables.top)) {
            (Some(own), Some(other)) => own.value != other.value,
            _ => false,
        })
    }

    /// The issuer that this profile's redirect path belongs to, where the policy has locked that issuer for another
    /// profile and this one's is a different one that is not locked.
    pub(super) fn path_belongs_to(&self) -> Option<String> {
        let policy = self.policy?;
        if self.is_frozen(schema::ISSUER.name) {
            return None;
        }
        let (issuer, _) = self.effective(&schema::ISSUER)?;
        let (path, _) = self.effective(&schema::REDIRECT_PATH)?;
        let locked = policy.locked.profiles.iter();
        locked
            .filter(|(_, table)| table.contains_key(schema::ISSUER.name))
            .find_map(|(name, _)| {
                // The user's file does not decide there.
                let other = Self::gather(
                    Some(policy),
                    SourceTables::of(Some(&policy.locked), name),
                    SourceTables::default(),
                    SourceTables::of(Some(&policy.defaults), name),
                    name,
                );
                let (locked_issuer, _) = other.effective(&schema::ISSUER)?;
                let (locked_path, _) = other.effective(&schema::REDIRECT_PATH)?;
                match &*locked_issuer {
                    ConfigValue::Text(text) if locked_issuer != issuer && locked_path == path => {
                        Some(text.clone())
                    }
                    _ => None,
                }
            })
    }

    /// What the user has set and the policy overrides.
    pub fn overridden(&self) -> Vec<Overridden<'f>> {
        let mut found: Vec<Overridden<'f>> = [self.user.profile, self.user.top]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|(key, _)| self.is_frozen(key))
            .map(|(key, placed)| Overridden {
                key,
                line: placed.line,
                value: &placed.value,
            })
            .collect();
        found.sort_by_key(|overridden| overridden.line);
        found
    }
}

fn unknown_profile(sources: &Sources, profile: &ProfileName) -> Failure {
    let names = sources.profiles();
    let near = text::nearest(
        profile.as_str(),
        names
            .iter()
            .filter(|name| !name.is_default())
            .map(ProfileName::as_str),
    );
    let path = sources.file.path.display();
    Failure::config(
        format!("there is no profile `{profile}` in {path}"),
        match near {
            Some(near) => format!("did you mean --profile {near}?"),
            None => format!("add [profile.{profile}] to {path}"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_policy(user: &str, policy: &str) -> Sources {
        Sources {
            policy: Some(Policy::parse(policy.as_bytes()).unwrap()),
            ..Sources::of_text(user)
        }
    }

    fn key(name: &str) -> &'static Key {
        Key::find(name).unwrap()
    }

    #[test]
    fn precedence_as_a_table() {
        use Source::{BuiltIn, CommandLine, DefaultPolicy, LockedPolicy, Preset, UserFile};
        // Which sources set `min_validity` (top level, profile), and which one decides.
        let cases: &[(&str, &str, bool, u64, Source)] = &[
            ("", "[profile.a]", false, 420, BuiltIn),
            ("", "min_validity = 1\n[profile.a]", false, 1, UserFile(1)),
            (
                "",
                "min_validity = 1\n[profile.a]\nmin_validity = 2",
                false,
                2,
                UserFile(3),
            ),
            (
                "",
                "min_validity = 1\n[profile.a]\nmin_validity = 2",
                true,
                9,
                CommandLine,
            ),
            (
                "[default]\nmin_validity = 3",
                "[profile.a]",
                false,
                3,
                DefaultPolicy,
            ),
            (
                "[default]\nmin_validity = 3\n[default.profile.a]\nmin_validity = 4",
                "",
                false,
                4,
                DefaultPolicy,
            ),
            (
                "[default]\nmin_validity = 3",
                "min_validity = 1\n[profile.a]",
                false,
                1,
                UserFile(1),
            ),
            (
                "[default.profile.a]\nmin_validity = 3",
                "min_validity = 1",
                false,
                1,
                UserFile(1),
            ),
            (
                "[default]\nmin_validity = 3",
                "[profile.a]",
                true,
                9,
                CommandLine,
            ),
            (
                "[locked]\nmin_validity = 5",
                "[profile.a]\nmin_validity = 2",
                true,
                5,
                LockedPolicy,
            ),
            (
                "[locked]\nmin_validity = 5\n[locked.profile.a]\nmin_validity = 6",
                "",
                true,
                6,
                LockedPolicy,
            ),
            (
                "locked_keys = ['min_validity']",
                "[profile.a]\nmin_validity = 2",
                true,
                420,
                BuiltIn,
            ),
            (
                "locked_keys = ['*']\n[default]\nmin_validity = 3",
                "[profile.a]\nmin_validity = 2",
                true,
                3,
                DefaultPolicy,
            ),
        ];
        let profile = ProfileName::parse("a").unwrap();
        for (policy, user, on_command_line, value, source) in cases {
            let sources = with_policy(user, policy);
            let mut layers = Layers::new(&sources, &profile).unwrap();
            if *on_command_line {
                layers.set_from_command_line("min_validity", ConfigValue::Number(9));
            }
            assert_eq!(
                layers.effective(key("min_validity")),
                Some((Cow::Owned(ConfigValue::Number(*value)), source.clone())),
                "{policy} / {user}"
            );
        }
        let sources = Sources::of_text("preset = 'google'");
        let layers = Layers::new(&sources, &ProfileName::default()).unwrap();
        assert_eq!(layers.effective(key("scopes")).unwrap().1, Preset("google"));
    }

    #[test]
    fn a_preset_of_the_users_choice_cannot_thaw_a_frozen_key() {
        let sources = with_policy("preset = 'google'", "locked_keys = ['authorize_params']");
        let layers = Layers::new(&sources, &ProfileName::default()).unwrap();
        assert_eq!(layers.effective(key("authorize_params")), None);
        let sources = with_policy(
            "",
            "locked_keys = ['authorize_params']\n[default]\npreset = 'google'",
        );
        let layers = Layers::new(&sources, &ProfileName::default()).unwrap();
        assert_eq!(
            layers.effective(key("authorize_params")).unwrap().1,
            Source::Preset("google")
        );
    }

    #[test]
    fn what_the_policy_overrides_is_told() {
        let sources = with_policy(
            "issuer = 'https://evil.example'\nca_file = '/tmp/x'\nbrowser = ['x']\n",
            "[locked]\nissuer = 'https://idp.example'",
        );
        let layers = Layers::new(&sources, &ProfileName::default()).unwrap();
        let told: Vec<_> = layers
            .overridden()
            .iter()
            .map(|o| (o.key, o.line))
            .collect();
        assert_eq!(told, [("issuer", 1), ("ca_file", 2)]);
        assert_eq!(layers.effective(key("ca_file")), None);
        assert!(layers.effective(key("browser")).is_some());
    }

    fn path_of(sources: &Sources, profile: &str) -> String {
        let profile = ProfileName::parse(profile).unwrap();
        let layers = Layers::new(sources, &profile).unwrap();
        let (path, _) = layers.effective(&schema::REDIRECT_PATH).unwrap();
        match path.into_owned() {
            ConfigValue::Text(path) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_profile_with_its_own_issuer_has_its_own_redirect_path() {
        let two = "issuer = 'https://h.example'\n[profile.a]\nissuer = 'https://e.example'\n\
                   [profile.same]\nissuer = 'https://h.example'\n[profile.none]\n\
                   [profile.set]\nissuer = 'https://e.example'\nredirect_path = '/x'";
        let sources = Sources::of_text(two);
        for (profile, path) in [
            ("default", "/callback"),
            ("a", "/callback/a"),
            ("same", "/callback"),
            ("none", "/callback"),
            ("set", "/x"),
        ] {
            assert_eq!(path_of(&sources, profile), path, "{profile}");
        }
        // Another source's top level is not the same source's.
        let sources = with_policy(
            "[profile.a]\nissuer = 'https://e.example'",
            "[default]\nissuer = 'https://h.example'",
        );
        assert_eq!(path_of(&sources, "a"), "/callback");
        let sources = with_policy(
            "",
            "[locked]\nissuer = 'https://h.example'\n[locked.profile.a]\nissuer = 'https://e.example'",
        );
        assert_eq!(path_of(&sources, "a"), "/callback/a");
    }

    #[test]
    fn no_file_of_the_users_takes_the_path_of_a_locked_issuer() {
        let policy = "[locked.profile.work]\nissuer = 'https://h.example'";
        let user = "issuer = 'https://e.example'\nredirect_path = '/mine'\n[profile.work]\nredirect_path = '/x'\n\
                    [profile.evil]\nredirect_path = '/callback'";
        let sources = with_policy(user, policy);
        assert_eq!(path_of(&sources, "work"), "/callback");
        let belongs_to = |sources: &Sources, profile: &str| {
            let profile = ProfileName::parse(profile).unwrap();
            Layers::new(sources, &profile).unwrap().path_belongs_to()
        };
        assert_eq!(belongs_to(&sources, "default"), None);
        assert_eq!(belongs_to(&sources, "work"), None);
        let owner = Some("https://h.example".to_owned());
        assert_eq!(belongs_to(&sources, "evil"), owner);
        let sources = with_policy("issuer = 'https://e.example'", policy);
        assert_eq!(belongs_to(&sources, "default"), owner);
        let sources = with_policy("issuer = 'https://h.example'", policy);
        assert_eq!(belongs_to(&sources, "default"), None, "the same issuer");
    }

    #[test]
    fn an_unknown_profile_is_a_configuration_error() {
        let sources = Sources::of_text("[profile.work]\n");
        let failure = Layers::new(&sources, &ProfileName::parse("wrok").unwrap()).unwrap_err();
        assert_eq!(failure.id, crate::error::Id::Config);
        assert_eq!(failure.remedy, "did you mean --profile work?");
        let sources = with_policy("", "[locked.profile.work]\n");
        assert!(Layers::new(&sources, &ProfileName::parse("work").unwrap()).is_ok());
    }
}
