//! A person at a terminal: plain words on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use url::Url;

use crate::config::settings::Settings;
use crate::error::Result;
use crate::oidc::device::Invitation;
use crate::person::Person;
use crate::text;
use crate::writer::sign_in::SignedIn;

/// Standard error as a person sees it.
pub(super) struct Terminal {
    organisation: String,
    gateway: Option<String>,
    is_terminal: bool,
    colour: bool,
}

impl Terminal {
    pub(super) fn new(settings: &Settings) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            organisation: text::printable(&settings.display_name, 100),
            gateway: settings.gateway_url.clone(),
            is_terminal,
            colour: is_terminal && !no_colour,
        }
    }

    fn say(&self, line: &str) {
        // A closed standard error is no reason to stop a sign-in.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn strong(&self, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn headline(&self) {
        let gateway = self
            .gateway
            .as_ref()
            .map_or_else(String::new, |url| format!(", for the gateway {url}"));
        self.say(&format!(
            "Signing in at {}{gateway}",
            self.strong(&self.organisation)
        ));
    }

    /// The result, with name and expiry.
    pub(super) fn signed_in(&self, signed_in: &SignedIn) {
        let account = text::from_server(signed_in.record.account());
        self.say(&format!("Signed in as {}", self.strong(&account)));
        let end = text::moment(signed_in.token.life.expires_at());
        match (&signed_in.record.refresh_token, signed_in.record.ends_at) {
            (Some(_), Some(end)) => self.say(&format!(
                "  The session renews itself until {}.",
                text::moment(end)
            )),
            (Some(_), None) => self.say("  The session renews itself until the provider ends it."),
            (None, _) => self.say(&format!(
                "  The provider issued no refresh token: you will be asked again at {end}."
            )),
        }
    }
}

impl Person for Terminal {
    fn browser_opened(&self, address: &Url) {
        self.headline();
        self.say("  Your browser has been opened. If it has not, open this address:");
        self.say(&format!("  {address}"));
    }

    fn browser_missing(&self, address: &Url, why: &str) -> Result<()> {
        self.headline();
        self.say(&format!(
            "  {}. Open this address on this machine:",
            text::printable(why, 200)
        ));
        self.say(&format!("  {address}"));
        Ok(())
    }

    fn invited(&self, invitation: &Invitation) {
        self.headline();
        self.say(&format!("  Open    {}", self.strong(&invitation.address)));
        self.say(&format!("  Enter   {}", self.strong(&invitation.user_code)));
        if let Some(complete) = &invitation.complete_address
            && self.is_terminal
            && let Ok(code) = QrCode::new(complete)
        {
            self.say("  or scan:");
            // Light modules are drawn, since most terminals are dark; with colours it is right on all of them.
            let image = code
                .render::<Dense1x2>()
                .dark_color(Dense1x2::Light)
                .light_color(Dense1x2::Dark)
                .quiet_zone(true)
                .build();
            for line in image.lines() {
                if self.colour {
                    self.say(&format!("  \u{1b}[40;97m{line}\u{1b}[0m"));
                } else {
                    self.say(&format!("  {line}"));
                }
            }
        }
        self.say(&format!(
            "  The code is good for {}. Enter it only if you started this sign-in yourself.",
            text::duration(invitation.expires_in.as_secs())
        ));
    }

    fn waiting(&self, so_far: Duration, at_most: Duration) {
        if self.is_terminal {
            let _ = write!(
                std::io::stderr(),
                "\r  waiting for you: {} of {} (Ctrl-C stops) ",
                text::duration(so_far.as_secs()),
                text::duration(at_most.as_secs())
            );
        }
    }

    fn done(&self) {
        if self.is_terminal {
            // Carriage return and "erase to the end of the line".
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
