//! What a user at a terminal is told: plain words on standard error.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::oidc::device::DeviceInstructions;
use crate::platform::interrupt::{self, Stopped};
use crate::platform::keyboard::{self, Keyboard};
use crate::sign_in_ui::{AuthorizationLink, SignInUi};
use crate::text;
use crate::writer::install::SignedIn;

/// Columns of a terminal that does not say how many it has, and the most that prose uses.
const COLUMNS: (usize, usize) = (80, 100);

/// Modules of white around a QR code, on both sides.
const QUIET_ZONE: usize = 8;

/// What standard error can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Screen {
    /// It is a terminal, which a user looks at.
    is_terminal: bool,
    /// It can go back to the beginning of a line and draw blocks.
    is_capable: bool,
    /// It has colours and the user wants them.
    colour: bool,
    columns: usize,
}

impl Screen {
    fn of_stderr() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let columns = terminal_size::terminal_size_of(std::io::stderr())
            .map_or(COLUMNS.0, |(width, _)| usize::from(width.0));
        let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        // Old Windows consoles show escape sequences as they are; the newer ones say that they are there.
        let has_escapes =
            !is("TERM", "dumb") && (!cfg!(windows) || is_set("WT_SESSION") || is_set("TERM"));
        Self {
            is_terminal,
            is_capable: is_terminal && !is("TERM", "dumb"),
            colour: is_terminal && has_escapes && !is_set("NO_COLOR"),
            columns: if columns == 0 { COLUMNS.0 } else { columns },
        }
    }
}

/// Standard error as a user sees it.
pub(super) struct Terminal {
    organisation: String,
    gateway: Option<String>,
    screen: Screen,
    keyboard: RefCell<Option<Keyboard>>,
    /// Characters of the progress line that stands on the screen.
    progress: Cell<usize>,
    /// The user was told that gatepass waits for them.
    told: Cell<bool>,
}

impl Terminal {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            organisation: text::printable(&settings.display_name, 100),
            gateway: settings.gateway_url.clone(),
            screen: Screen::of_stderr(),
            keyboard: RefCell::new(None),
            progress: Cell::new(0),
            told: Cell::new(false),
        }
    }

    fn say(&self, line: &str) {
        self.erase();
        // A closed standard error is no reason to stop a sign-in.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// A sentence, in lines that fit.
    fn explain(&self, sentence: &str) {
        let columns = if self.screen.is_terminal {
            self.screen.columns.min(COLUMNS.1)
        } else {
            usize::MAX
        };
        for line in text::lines(sentence, columns.saturating_sub(2).max(20)) {
            self.say(&format!("  {line}"));
        }
    }

    fn strong(&self, text: &str) -> String {
        if self.screen.colour {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// A pasted key is in the store now.
    pub(super) fn key_kept(&self, settings: &Settings) {
        self.say(&format!(
            "The key for {} is kept in the {}.",
            self.strong(&self.organisation),
            crate::store::describe(settings.store)
        ));
    }

    /// The result, with name and expiry.
    pub(super) fn signed_in(&self, signed_in: &SignedIn) {
        let account = text::from_server(signed_in.record.account());
        self.say(&format!("Signed in as {}", self.strong(&account)));
        let end = text::moment(signed_in.token.life.expires_at());
        match (&signed_in.record.refresh_token, signed_in.record.ends_at) {
            (Some(_), Some(end)) => self.explain(&format!(
                "The session renews itself until {}.",
                text::moment(end)
            )),
            (Some(_), None) => {
                self.explain("The session renews itself until the provider ends it.")
            }
            (None, _) => self.explain(&format!(
                "The provider issued no refresh token: you will be asked again at {end}."
            )),
        }
    }

    /// How to finish where the browser cannot come back to this machine.
    fn offer_to_take_the_address(&self, link: AuthorizationLink<'_>) {
        let Some(redirect) = link.redirect else {
            return;
        };
        let keyboard = self.screen.is_terminal.then(Keyboard::open).flatten();
        if keyboard.is_some() {
            self.explain(&format!(
                "In a browser on another machine the last page cannot be shown. Copy its whole address ({redirect}?…), paste it here and press Enter."
            ));
        }
        *self.keyboard.borrow_mut() = keyboard;
    }

    fn draw_qr_code(&self, address: &str) {
        let Ok(code) = QrCode::new(address) else {
            return;
        };
        if !self.screen.is_capable || code.width() + QUIET_ZONE + 2 > self.screen.columns {
            return;
        }
        self.say("  or scan:");
        // Light modules are drawn, since most terminals are dark; with colours it is right on all of them.
        let image = code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .quiet_zone(true)
            .build();
        for line in image.lines() {
            if self.screen.colour {
                self.say(&format!("  \u{1b}[40;97m{line}\u{1b}[0m"));
            } else {
                self.say(&format!("  {line}"));
            }
        }
    }

    /// Takes the progress line away.
    fn erase(&self) {
        let width = self.progress.take();
        if width > 0 {
            let _ = write!(std::io::stderr(), "\r{:width$}\r", "");
        }
    }
}

impl SignInUi for Terminal {
    fn may_replace(&self, other_issuer: &str) -> bool {
        if !self.screen.is_terminal || !std::io::stdin().is_terminal() {
            return false;
        }
        self.explain(&format!(
            "This profile holds a session of {}. A sign-in here replaces it.",
            text::printable(other_issuer, 200)
        ));
        let _ = write!(std::io::stderr(), "  Replace it? [y/N] ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
    }

    fn replaced_without_revocation(&self, other_issuer: &str) {
        self.explain(&format!(
            "The session of {} was replaced. It was not revoked there: sign out at that provider if it should end.",
            text::printable(other_issuer, 200)
        ));
    }

    fn begins(&self, why: Option<&str>) {
        interrupt::watch(|stopped| {
            keyboard::give_back();
            let (what, remedy) = match stopped {
                Stopped::InTime => (
                    "you stopped the sign-in; nothing has changed",
                    "gatepass login",
                ),
                Stopped::TooLate => (
                    "you stopped the sign-in while its session was being stored",
                    "gatepass status shows whether it was",
                ),
            };
            let failure = Failure::new(Id::SignInFailed, what, remedy);
            let _ = std::io::stderr().write_all(format!("\n{failure}\n").as_bytes());
            std::process::exit(i32::from(failure.id.exit_code()));
        });
        let gateway = self
            .gateway
            .as_ref()
            .map_or_else(String::new, |url| format!(", for the gateway {url}"));
        self.say(&format!(
            "Signing in at {}{gateway}",
            self.strong(&self.organisation)
        ));
        if let Some(why) = why {
            self.explain(&format!(
                "This is needed because {}.",
                text::printable(why, 300)
            ));
        }
    }

    fn browser_opened(&self, link: AuthorizationLink<'_>) {
        let since = link
            .since
            .map_or_else(String::new, |since| format!(" (note that {since})"));
        self.explain(&format!(
            "Your browser has been opened{since}. If it has not, open this address:"
        ));
        // In one piece, so that terminals know it as a link and it can be copied.
        self.say(link.address.as_str());
        self.offer_to_take_the_address(link);
    }

    fn browser_missing(&self, link: AuthorizationLink<'_>, why: &str) -> Result<()> {
        let mut why = text::printable(why, 200);
        if let Some(first) = why.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let place = if link.redirect.is_some() && self.screen.is_terminal {
            "in a browser"
        } else {
            "in a browser on this machine"
        };
        self.explain(&format!("{why}. Open this address {place}:"));
        self.say(link.address.as_str());
        self.offer_to_take_the_address(link);
        Ok(())
    }

    fn invited(&self, instructions: &DeviceInstructions, since: Option<&'static str>) {
        if let Some(since) = since {
            self.explain(&format!(
                "You sign in with a code on any device, since {since}."
            ));
        }
        self.say(&format!("  Open    {}", self.strong(&instructions.address)));
        self.say(&format!(
            "  Enter   {}",
            self.strong(&instructions.user_code)
        ));
        if let Some(complete) = &instructions.complete_address {
            self.draw_qr_code(complete);
        }
        self.explain(&format!(
            "The code is good for {}. Enter it only if you started this sign-in yourself.",
            text::duration(instructions.expires_in.as_secs())
        ));
    }

    fn waiting(&self, so_far: Duration, at_most: Duration) {
        if !self.screen.is_terminal {
            return;
        }
        let at_most = text::duration(at_most.as_secs());
        if !self.screen.is_capable {
            if !self.told.replace(true) {
                self.say(&format!(
                    "  waiting for you, {at_most} at most (Ctrl-C stops)"
                ));
            }
            return;
        }
        let line = format!(
            "  waiting for you: {} of {at_most} (Ctrl-C stops)",
            text::duration(so_far.as_secs())
        );
        // One that reaches the edge would move the screen each time.
        let line: String = line
            .chars()
            .take(self.screen.columns.saturating_sub(1))
            .collect();
        let width = line.chars().count();
        let before = self.progress.replace(width).max(width);
        let _ = write!(std::io::stderr(), "\r{line:before$}");
    }

    fn handed_over(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.keyboard.borrow().as_ref().and_then(Keyboard::line)
    }

    fn not_the_address(&self) {
        self.explain(
            "That is not the address that belongs to this sign-in. Copy all of it from the browser's address bar, after you have signed in there.",
        );
    }

    fn has_stopped(&self) -> bool {
        interrupt::happened()
    }

    fn done(&self) {
        self.erase();
        drop(self.keyboard.take());
    }
}
