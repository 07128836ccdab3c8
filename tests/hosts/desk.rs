//! Somebody's machine with the hosts on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use gatepass_testkit::gateway::Gateway;
use gatepass_testkit::lab::{Gatepass, Hosts, Scene};
use gatepass_testkit::provider::{self, Provider};

use crate::GATEPASS;
use crate::outside::Outside;
use crate::page::Recipe;

/// How long a host may take for all that one test asks of it, on a machine with other things to do.
const LIMIT: Duration = Duration::from_secs(240);

/// What the test gateway's models say to the account that is signed in.
pub(crate) const GREETING: &str = "Hello alex@example.test, the gateway knows you.";

/// Programs' own switches against traffic that has nothing to do with a turn.
const QUIET: [(&str, &str); 14] = [
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("COPILOT_OFFLINE", "true"),
    ("COPILOT_AUTO_UPDATE", "false"),
    ("PI_OFFLINE", "1"),
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
    ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
    ("OPENCODE_DISABLE_SHARE", "1"),
    // opencode looks for its plugins' types there.
    ("npm_config_offline", "true"),
    ("npm_config_fetch_retries", "0"),
    ("TERM", "dumb"),
    ("NO_COLOR", "1"),
];

/// The same for Codex, which takes them as arguments.
pub(crate) const QUIET_CODEX: [&str; 6] = [
    "-c",
    "check_for_update_on_startup=false",
    "-c",
    "analytics.enabled=false",
    "-c",
    "features.plugins=false",
];

/// A home with gatepass, signed in, and every host; a gateway; and a look-out for traffic to anywhere else.
pub(crate) struct Desk {
    pub(crate) scene: Scene<Provider>,
    pub(crate) gateway: Gateway,
    outside: Outside,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let settings = provider::Settings {
            access_token_seconds: 3600,
            ..provider::Settings::default()
        };
        let audience = settings.audience.clone();
        let scene = Scene::scripted(GATEPASS, settings);
        let gateway = Gateway::start(&scene.provider.issuer(), &audience);
        scene.configure(&format!("gateway_url = '{}'", gateway.url()));
        let desk = Self {
            scene: scene.signed_in(),
            gateway,
            outside: Outside::watch(),
        };
        let programs = desk.home(".local/bin");
        fs::create_dir_all(&programs).unwrap();
        fs::create_dir(desk.home("work")).unwrap();
        symlink(GATEPASS, programs.join("gatepass")).unwrap();
        symlink(gatepass_testkit::lab::node(), programs.join("node")).unwrap();
        for (name, file) in Hosts::programs() {
            symlink(file, programs.join(name)).unwrap();
        }
        desk
    }

    /// A path in the home.
    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.scene.home.path().join(path)
    }

    /// A text of the page, for this home and this gateway.
    pub(crate) fn fitted(&self, text: &str) -> String {
        let home = self.scene.home.path().display().to_string();
        text.replace("/home/you", &home)
            .replace("https://gateway.example.com", &self.gateway.url())
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.home(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Does what a section of the page says: writes its files, then runs its commands, except those of `.profile`.
    pub(crate) fn follow(&self, heading: &str) -> Recipe {
        let recipe = Recipe::read(heading);
        for (path, text) in &recipe.files {
            self.write(path, &self.fitted(text));
        }
        for (_, commands) in recipe.blocks.iter().filter(|(of, _)| of == "sh") {
            for folder in [".claude", ".codex"] {
                fs::create_dir_all(self.home(folder)).unwrap();
            }
            let done = self.run("/bin/sh", ["-euc", &self.fitted(commands)]).run();
            assert_eq!(done.code, 0, "{commands}\n{}", done.stderr);
        }
        recipe
    }

    /// A program that runs in a folder of this home, and sees this machine only.
    pub(crate) fn run<'a>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Gatepass {
        let work = self.home("work").display().to_string();
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            self.home(".local/bin").display()
        );
        let mut run = Gatepass::new(program, &self.scene.home)
            .keyring(&self.scene.keyring)
            .args(arguments)
            .env("PATH", &path)
            .limit(LIMIT);
        for (name, value) in QUIET {
            run = run.env(name, value);
        }
        for (name, value) in self.outside.environment() {
            run = run.env(name, &value);
        }
        run.started_by("/usr/bin/env", ["-C", work.as_str()])
    }

    /// A turn of Claude Code.
    pub(crate) fn claude(&self, question: &str) -> Gatepass {
        self.run("claude", ["-p", question, "--model", "demo-large"])
    }

    /// A turn of Codex.
    pub(crate) fn codex(&self, question: &str) -> Gatepass {
        let first = ["exec", "--skip-git-repo-check", "-m", "demo-large"];
        let all = first.into_iter().chain(QUIET_CODEX).chain([question]);
        self.run("codex", all)
    }

    /// How often the token was refreshed since the sign-in.
    pub(crate) fn refreshes(&self) -> usize {
        self.scene.provider.token_grants("refresh_token")
    }

    /// The token that gatepass prints now.
    pub(crate) fn token(&self) -> String {
        self.scene.background().token()
    }

    /// The status of each answer to a request for a model's answer.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let turns = self.gateway.turns();
        turns.iter().map(|turn| turn.status).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let asked = self.outside.asked();
        if !thread::panicking() {
            assert!(asked.is_empty(), "traffic to elsewhere: {asked:#?}");
        }
    }
}
