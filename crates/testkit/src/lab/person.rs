//! Whoever signs in.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{self, Input, Limited, wait_until};

/// A person in front of the browser that gatepass opens: what they do there, and afterwards what they saw.
#[derive(Debug)]
pub struct Person {
    script: &'static str,
    options: Vec<String>,
    folder: TempDir,
}

/// What the person saw at the end of one walk through the provider's pages.
#[derive(Clone)]
pub struct Walk {
    /// Everything, as browse.mjs describes it.
    pub all: Value,
}

impl Person {
    fn new(script: &'static str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-person-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            script,
            options: Vec::new(),
            folder,
        }
    }

    /// One with a real Chromium.
    #[must_use]
    pub fn with_chromium() -> Self {
        Self::new("browse.mjs")
    }

    /// One who walks the same pages by plain HTTP: quicker, for tests that are not about the browser.
    #[must_use]
    pub fn without_browser() -> Self {
        Self::new("visit.mjs")
    }

    /// One who signs in at Glewlwyd, whose pages need a browser, without one.
    #[must_use]
    pub fn at_glewlwyd() -> Self {
        Self::new("glewlwyd.mjs")
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("--{name}={value}"));
        self
    }

    /// Who they are; `alice` unless told.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.option("user", name)
    }

    /// What they type where a password is asked for.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        self.option("password", password)
    }

    /// They cancel on the first page.
    #[must_use]
    pub fn who_refuses(self) -> Self {
        self.option("refuse", "now")
    }

    /// They type this device code where one is asked for.
    #[must_use]
    pub fn with_code(self, code: &str) -> Self {
        self.option("code", code)
    }

    /// They think this long before the first click (Chromium only).
    #[must_use]
    pub fn who_waits(self, pause: Duration) -> Self {
        self.option("pause", &pause.as_millis().to_string())
    }

    /// They look at the last page on a phone and on a desk, in light and dark, and with the eyes of axe-core; the
    /// pictures begin with `prefix` (Chromium only).
    #[must_use]
    pub fn who_inspects(self, prefix: &std::path::Path) -> Self {
        self.option("inspect", &prefix.display().to_string())
    }

    /// They close the tab without doing anything (Chromium only).
    #[must_use]
    pub fn who_walks_away(self) -> Self {
        self.option("abandon", "1")
    }

    /// The command to which gatepass appends the address.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let mut command = vec![
            super::node().display().to_string(),
            super::scripts().join(self.script).display().to_string(),
        ];
        command.extend(self.options.iter().cloned());
        command.push(format!("--result={}", self.result().display()));
        command
    }

    /// The same as a line of gatepass's configuration.
    #[must_use]
    pub fn config(&self) -> String {
        format!("browser = {}\n", Value::from(self.command()))
    }

    fn result(&self) -> PathBuf {
        self.folder.path().join("result.json")
    }

    /// Opens an address themselves and walks to the end.
    ///
    /// # Panics
    /// Where the walk does not end by itself.
    #[must_use]
    pub fn opens(&self, address: &str) -> Walk {
        let command = self.command();
        let mut process = Command::new(&command[0]);
        process
            .args(&command[1..])
            .arg(address)
            .env_clear()
            .env("PATH", super::PATH);
        let done: Limited = process::run(&mut process, Input::Nothing, Duration::from_secs(90));
        assert!(
            done.status.is_some(),
            "the browser hangs: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        self.saw()
            .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&done.stderr)))
    }

    /// Waits for the end of the walk that gatepass started; nothing where it did not start one.
    #[must_use]
    pub fn saw_within(&self, limit: Duration) -> Option<Walk> {
        wait_until(limit, || self.result().exists());
        self.saw()
    }

    /// What they saw, where a walk has ended.
    ///
    /// # Panics
    /// Where the record is not what browse.mjs writes.
    #[must_use]
    pub fn saw(&self) -> Option<Walk> {
        let text = fs::read_to_string(self.result()).ok()?;
        Some(Walk {
            all: serde_json::from_str(&text).expect("a result is JSON"),
        })
    }

    /// Forgets the last walk, so that the next one can be waited for.
    pub fn forget(&self) {
        let _ = fs::remove_file(self.result());
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        process::end_all_with("GATEPASS_LAB_PERSON", &self.folder.path().to_string_lossy());
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, status, title, text, error) = (
            self.url(),
            self.status(),
            self.title(),
            self.text(),
            self.error(),
        );
        write!(
            f,
            "Walk to {url}: {status} {title:?} {text:?}, error {error:?}"
        )
    }
}

impl Walk {
    fn text_of(&self, key: &str) -> &str {
        self.all[key].as_str().unwrap_or_default()
    }

    /// The address that was opened.
    #[must_use]
    pub fn opened(&self) -> &str {
        self.text_of("opened")
    }

    /// The last page's address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.text_of("url")
    }

    /// The last page's title.
    #[must_use]
    pub fn title(&self) -> &str {
        self.text_of("title")
    }

    /// The last page's visible text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text_of("text")
    }

    /// The last page's source.
    #[must_use]
    pub fn html(&self) -> &str {
        self.text_of("html")
    }

    /// The last page's HTTP status.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.all["status"].as_u64().unwrap_or_default()
    }

    /// A header that came with the last page; its name in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.all["headers"][name].as_str().unwrap_or_default()
    }

    /// What was found on the last page in each size and colour scheme, as browse.mjs describes it.
    #[must_use]
    pub fn inspected(&self) -> &[Value] {
        self.all["inspected"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Why the walk ended early, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.all["error"].as_str()
    }

    /// What the back button would offer on the last page, that page included.
    #[must_use]
    pub fn back(&self) -> Vec<String> {
        strings(&self.all["back"])
    }

    /// Every address that the window asked for, redirects included.
    #[must_use]
    pub fn visited(&self) -> Vec<String> {
        strings(&self.all["visited"])
    }

    /// Whether the browser's history file names an authorization code.
    #[must_use]
    pub fn profile_has_code(&self) -> bool {
        self.all["profileHasCode"].as_bool().unwrap_or_default()
    }

    /// What the browser's console said about pages that did not come from this provider: gatepass's own.
    #[must_use]
    pub fn complaints_but_from(&self, issuer: &str) -> Vec<String> {
        let all = self.all["console"].as_array().into_iter().flatten();
        let own = all.filter(|one| {
            let from = one["from"].as_str().unwrap_or_default();
            !from.starts_with(issuer) && !from.starts_with("https://fonts.googleapis.com/")
        });
        own.map(ToString::to_string).collect()
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}
