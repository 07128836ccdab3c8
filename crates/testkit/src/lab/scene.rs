//! Everything that one end-to-end test needs.

use std::path::PathBuf;
use std::time::Duration;

use super::{Gatepass, Home, Keyring, NodeProvider, Outcome, Person, Running, Settings, Walk};
use crate::gateway::Gateway;
use crate::provider::{self, Provider};

/// A provider that a scene can have.
pub trait AnyProvider {
    /// Its issuer.
    fn issuer(&self) -> String;

    /// Forgets what it saw.
    fn forget(&self);
}

impl AnyProvider for NodeProvider {
    fn issuer(&self) -> String {
        self.issuer().to_owned()
    }

    fn forget(&self) {
        self.clear();
    }
}

impl AnyProvider for Provider {
    fn issuer(&self) -> String {
        self.issuer()
    }

    fn forget(&self) {
        self.clear_requests();
    }
}

/// A provider, a keychain, a home and somebody to sign in, with gatepass configured for them.
#[derive(Debug)]
pub struct Scene<P = NodeProvider> {
    /// The provider.
    pub provider: P,
    /// The keychain.
    pub keyring: Keyring,
    /// The home.
    pub home: Home,
    /// Whoever signs in when gatepass opens a browser.
    pub person: Person,
    program: PathBuf,
}

impl Scene {
    /// A scene with a provider as most are, and a person without a real browser. Tests pass `env!("CARGO_BIN_EXE_gatepass")`.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self::with(program, &Settings::default(), Person::without_browser())
    }

    /// A scene with this provider and this person.
    #[must_use]
    pub fn with(program: &str, settings: &Settings, person: Person) -> Self {
        Self::around(program, NodeProvider::start(settings), person)
    }
}

impl Scene<Provider> {
    /// A scene with a scripted provider that agrees to every sign-in by itself, and a person without a real browser.
    #[must_use]
    pub fn scripted(program: &str, settings: provider::Settings) -> Self {
        let provider = Provider::start(provider::Settings {
            auto_approve: true,
            ..settings
        });
        Self::around(program, provider, Person::without_browser())
    }
}

impl<P: AnyProvider> Scene<P> {
    /// A scene around this provider.
    #[must_use]
    pub fn around(program: &str, provider: P, person: Person) -> Self {
        let scene = Self {
            provider,
            keyring: Keyring::start(),
            home: Home::new(),
            person,
            program: program.into(),
        };
        scene.configure("");
        scene
    }

    /// Writes the configuration: issuer, client, browser, and these lines.
    pub fn configure(&self, more: &str) {
        let issuer = self.provider.issuer();
        let browser = self.person.config();
        self.home.config(&format!(
            "issuer = \"{issuer}\"\nclient_id = \"gatepass\"\n{browser}{more}\n"
        ));
    }

    /// From now on somebody else sits in front of the browser.
    pub fn enters(&mut self, person: Person) {
        self.person = person;
        self.configure("");
    }

    /// A run of gatepass with these arguments.
    #[must_use]
    pub fn gatepass<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Gatepass {
        Gatepass::new(&self.program, &self.home)
            .keyring(&self.keyring)
            .args(arguments)
    }

    /// What a host gets that calls in the background.
    #[must_use]
    pub fn background(&self) -> Outcome {
        self.gatepass([]).context("background").run()
    }

    /// Signs in through the browser, which has to work, and returns what the person saw.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn login(&self) -> Walk {
        self.person.forget();
        self.gatepass(["login", "--browser"]).run().expect(0);
        self.person
            .saw_within(Duration::from_secs(30))
            .expect("the person saw the last page")
    }

    /// A token that a refresh has just brought.
    #[track_caller]
    pub fn refreshed(&self) -> String {
        self.gatepass(["token", "--force-refresh"]).run().token()
    }

    /// Asks for the status, which has to say `says`, refreshes and signs out. Each token is another one, and the gateway
    /// takes it. What the sign-out said comes back.
    ///
    /// # Panics
    /// Where something of that does not work.
    #[track_caller]
    pub fn refreshes_and_signs_out(&self, says: &str, gateway: &Gateway) -> Outcome {
        let status = self.gatepass(["status", "--json"]).run();
        status.expect(0);
        assert!(status.stdout.contains(says), "{}", status.stdout);
        let mut seen = vec![self.background().token()];
        seen.extend((0..3).map(|_| self.refreshed()));
        for (index, token) in seen.iter().enumerate() {
            gateway.verify(token).expect("a token for this gateway");
            assert!(!seen[..index].contains(token), "the same once more");
        }
        let out = self.gatepass(["logout"]).run();
        out.expect(0);
        assert_eq!(self.keyring.lookup("default"), None);
        self.background().expect(4);
        out
    }

    /// Begins to sign in by a device code, and reads the code as a person does.
    ///
    /// # Panics
    /// Where none is shown.
    #[must_use]
    pub fn asks_for_device_code(&self) -> (Running, String) {
        let mut login = self.gatepass(["login", "--device"]).spawn();
        let code = login.wait_for(Duration::from_secs(60), |said| {
            let mut words = said.split_whitespace();
            words.find(|word| *word == "Enter")?;
            words
                .next()
                .filter(|code| code.contains('-'))
                .map(str::to_owned)
        });
        (login, code)
    }

    /// Signs in and forgets what the provider saw of it, so that a test counts only what it does itself.
    #[track_caller]
    pub fn signed_in(self) -> Self {
        self.login();
        self.provider.forget();
        self
    }
}
