//! What a worker tells the user, whose application has no place for it: desktop notifications.

use std::thread;

use crate::caller::Host;
use crate::config::settings::Settings;
use crate::error::Failure;
use crate::platform::notify;
use crate::sign_in_ui::{AuthorizationLink, SignInUi};

/// The user at a desktop, for whom a tab opens that they did not ask for.
pub(super) struct AtDesktop<'a> {
    pub(super) settings: &'a Settings,
    pub(super) host: Host,
}

impl SignInUi for AtDesktop<'_> {
    fn browser_opened(&self, _: AuthorizationLink<'_>) {
        if !self.settings.notify {
            return;
        }
        let title = format!("Sign in at {}", self.settings.display_name);
        let asker = self.host.name().unwrap_or("An application");
        let gateway = self
            .settings
            .gateway_url
            .as_ref()
            .map_or_else(String::new, |url| format!(" for the gateway {url}"));
        let text = format!(
            "{asker} needs a sign-in{gateway}, so a tab has been opened in your browser. If you expected none, close it."
        );
        // The user may be quicker than the desktop.
        let shown = thread::Builder::new().spawn(move || notify::show(&title, &text));
        if let Err(error) = shown {
            log::info!("no notification was shown: {error}");
        }
    }
}

/// Tells the user that a session has ended in a host's call, and how to sign in again.
pub(super) fn tell_the_end(settings: &Settings, host: Host, failure: &Failure) {
    let title = format!("Please sign in again at {}", settings.display_name);
    let profile = if settings.profile.is_default() {
        String::new()
    } else {
        format!(" --profile {}", settings.profile)
    };
    let way = match host {
        Host::ClaudeDesktop(_) => "Start a new session in Claude, or run",
        _ => "In a terminal, run",
    };
    let text = format!(
        "{}. {way}: gatepass login{profile}",
        sentence(&failure.what)
    );
    notify::show(&title, &text);
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
