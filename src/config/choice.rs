//! What a configuration chooses between: each choice with its words, once.
//!
//! The schema, the typed settings, policy and the command line take the words from here, so that a word which one of
//! them knows cannot be missing in another.

/// A value that is one of a few words.
pub trait Choice: Copy + 'static {
    /// Every value, in the order in which they are listed.
    const ALL: &'static [Self];

    /// Their words, in the same order.
    const WORDS: &'static [&'static str];

    /// The value that a word stands for.
    fn of_word(word: &str) -> Option<Self>;

    /// The word that stands for the value.
    fn word(self) -> &'static str;

    /// What the value means, in one sentence.
    fn meaning(self) -> &'static str;
}

/// Defines an enumeration with a word for each value.
macro_rules! choice {
    (
        $(#[$about:meta])*
        $visible:vis enum $name:ident {
            $($(#[doc = $meaning:literal])+ $value:ident = $word:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $visible enum $name {
            $($(#[doc = $meaning])+ $value,)+
        }

        impl $name {
            /// The word that stands for the value.
            $visible const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl $crate::config::choice::Choice for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn of_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$value),)+
                    _ => None,
                }
            }

            fn word(self) -> &'static str {
                self.as_str()
            }

            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$value => concat!($($meaning),+),)+
                }
            }
        }
    };
}

/// Lets the command line take a choice, by the same words.
macro_rules! on_command_line {
    ($name:ident, otherwise $value:ident) => {
        $crate::config::choice::on_command_line!($name);

        impl Default for $name {
            fn default() -> Self {
                Self::$value
            }
        }
    };
    ($name:ident) => {
        impl clap::ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                <Self as $crate::config::choice::Choice>::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                use $crate::config::choice::Choice;
                let meaning = self.meaning().trim().trim_end_matches('.');
                Some(clap::builder::PossibleValue::new(self.word()).help(meaning))
            }
        }
    };
}

pub(crate) use {choice, on_command_line};

choice! {
    /// What stands behind the gateway.
    pub enum Kind {
        /// An OpenID provider.
        Oidc = "oidc",
        /// An authorization server with RFC 8414 metadata and no ID tokens.
        OAuth = "oauth",
        /// No server: the user pastes a key.
        Key = "key",
    }
}

choice! {
    /// Where the session is kept.
    pub enum StoreChoice {
        /// The operating system's keychain.
        Keychain = "keychain",
        /// The Linux kernel's user keyring: in memory, gone after a restart.
        Keyutils = "keyutils",
        /// An owner-only file.
        File = "file",
    }
}

choice! {
    /// Which of the provider's tokens is printed.
    pub enum TokenChoice {
        /// The access token.
        AccessToken = "access_token",
        /// The ID token.
        IdToken = "id_token",
    }
}

on_command_line!(TokenChoice);

choice! {
    /// How people sign in.
    pub enum Flow {
        /// Browser where one can be opened, else device code if the provider offers it.
        Auto = "auto",
        /// Authorization code with PKCE over a loopback redirect (RFC 8252).
        Browser = "browser",
        /// Device authorization grant (RFC 8628).
        Device = "device",
    }
}

choice! {
    /// How the provider hands over the authorization response.
    pub enum ResponseMode {
        /// In the redirect's query.
        Query = "query",
        /// As a form that the browser posts (OAuth 2.0 Form Post Response Mode).
        FormPost = "form_post",
    }
}

choice! {
    /// How the client shows who it is at the token endpoint.
    pub enum ClientAuth {
        /// A public client: only its id, in the body.
        None = "none",
        /// Secret in an HTTP Basic header.
        SecretBasic = "client_secret_basic",
        /// Secret in the body.
        SecretPost = "client_secret_post",
        /// An assertion signed with the client's key (RFC 7523).
        PrivateKeyJwt = "private_key_jwt",
        /// The client's certificate (RFC 8705).
        Tls = "tls_client_auth",
    }
}

choice! {
    /// Whether something that a provider may offer is used.
    pub enum Usage {
        /// Where the provider's metadata offer it.
        Auto = "auto",
        /// Always; a provider without it is refused.
        Always = "always",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// How the gateway wants to be shown the token.
    pub enum AuthScheme {
        /// `Authorization: Bearer …` (RFC 6750).
        Bearer = "bearer",
        /// `x-api-key: …`.
        XApiKey = "x-api-key",
    }
}

choice! {
    /// Where the short-lived token to print is kept.
    pub enum CacheChoice {
        /// The first fast and private place that this machine has.
        Auto = "auto",
        /// Only the session record in the keychain.
        Keychain = "keychain",
        /// An owner-only file.
        File = "file",
        /// Nowhere: the session record is asked each time.
        None = "none",
    }
}

choice! {
    /// What is written to the system's log.
    pub enum Audit {
        /// Nothing.
        Off = "off",
        /// Sign-ins, refusals, sign-outs.
        Changes = "changes",
        /// Each printed token too.
        All = "all",
    }
}

choice! {
    /// Whether gatepass may prompt at all.
    pub enum Interactive {
        /// As the caller allows.
        Auto = "auto",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// Host of the loopback redirect.
    pub enum RedirectHost {
        /// `127.0.0.1`, as RFC 8252 section 8.3 recommends.
        Ipv4 = "127.0.0.1",
        /// `localhost`, listening on both families.
        Localhost = "localhost",
        /// `[::1]`.
        Ipv6 = "[::1]",
    }
}

choice! {
    /// What is kept in the log in the state folder.
    pub enum LogLevel {
        /// Nothing.
        Off = "off",
        /// Failures.
        Error = "error",
        /// What should be looked at, too.
        Warn = "warn",
        /// What was done, too.
        Info = "info",
        /// Each step, too.
        Debug = "debug",
    }
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

choice! {
    /// Whether the Windows binary answers in WSL.
    pub enum Wsl {
        /// It does, where it is installed.
        Delegate = "delegate",
        /// The Linux binary has a session of its own.
        Separate = "separate",
    }
}

choice! {
    /// How the provider's token becomes the gateway's.
    pub enum ExchangeKind {
        /// Token exchange at an OAuth token endpoint.
        Rfc8693 = "rfc8693",
        /// A gateway's own endpoint that gives out keys.
        Http = "http",
    }
}

choice! {
    /// HTTP methods that can ask for a key.
    pub enum Method {
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `GET`, without a body.
        Get = "GET",
    }
}

choice! {
    /// How a moment is written.
    pub enum ExpiryFormat {
        /// Seconds from now.
        Seconds = "seconds",
        /// Seconds since 1970.
        Epoch = "epoch",
        /// Milliseconds since 1970.
        EpochMillis = "epoch_ms",
        /// RFC 3339.
        Rfc3339 = "rfc3339",
    }
}

/// Where the loopback redirect listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Host as it stands in the redirect URI.
    pub host: RedirectHost,
    /// Ports, tried in order; 0 is any free port.
    pub ports: Vec<u16>,
    /// Path, with its leading slash.
    pub path: String,
    /// How the response arrives.
    pub response_mode: ResponseMode,
}

impl Redirect {
    /// The addresses that a redirect with this path can have; without a port where any may be chosen.
    pub fn addresses(&self, path: &str) -> Vec<String> {
        let host = self.host.as_str();
        let address = |port: &u16| match port {
            0 => format!("http://{host}{path}"),
            port => format!("http://{host}:{port}{path}"),
        };
        self.ports.iter().map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, ClientAuth, RedirectHost};

    #[test]
    fn words_and_values_lead_to_each_other() {
        fn check<C: Choice + PartialEq + std::fmt::Debug>() {
            assert_eq!(C::ALL.len(), C::WORDS.len());
            for (value, word) in C::ALL.iter().zip(C::WORDS) {
                assert_eq!(value.word(), *word);
                assert_eq!(C::of_word(word), Some(*value));
                assert!(!value.meaning().is_empty());
            }
            assert_eq!(C::of_word("something else"), None);
        }
        check::<ClientAuth>();
        check::<RedirectHost>();
    }
}
