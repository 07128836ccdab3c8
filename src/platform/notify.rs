//! Desktop notifications, for a user who looks at another program.
//!
//! No result depends on them: one that cannot be shown, or not in time, is dropped; nothing waits for it longer than a
//! second, and no caller that waits for a token waits for it at all.

use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::text;

/// Longest time for the desktop to take a notification.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest title and text, in characters.
const LENGTH: (usize, usize) = (100, 400);

/// Why a notification was not shown.
#[derive(Debug)]
pub enum NotShown {
    /// There is no way to do it here: on Windows a notification needs an application that is registered for them.
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "Linux has a way"))]
    Unsupported,
    /// The desktop did not take it in time.
    Silent,
    /// It refused, or there is none.
    Failed(String),
}

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("not supported on this system"),
            Self::Silent => f.write_str("the desktop did not answer in time"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Shows a notification, or logs why not.
pub fn show(title: &str, text: &str) {
    let (answer, wait) = mpsc::channel();
    let (title, text) = (plain(title, LENGTH.0), plain(text, LENGTH.1));
    let spawned = thread::Builder::new()
        .name("notification".to_owned())
        .spawn(move || answer.send(system(&title, &text)));
    let result = match spawned {
        Ok(_) => wait.recv_timeout(PATIENCE).unwrap_or(Err(NotShown::Silent)),
        Err(error) => Err(NotShown::Failed(error.to_string())),
    };
    match result {
        Ok(()) => log::info!("a notification was shown"),
        Err(why) => log::info!("no notification was shown: {why}"),
    }
}

/// Notification servers may read markup in texts, and links with it.
fn plain(text: &str, limit: usize) -> String {
    text::printable(text, limit).replace(['<', '>', '&'], " ")
}

/// Desktop Notifications Specification 1.2, `org.freedesktop.Notifications.Notify`.
#[cfg(target_os = "linux")]
fn system(title: &str, text: &str) -> Result<(), NotShown> {
    use std::collections::HashMap;

    use zbus::zvariant::Value;

    const ICON: &str = "dialog-password";
    /// As long as the desktop thinks right.
    const EXPIRY: i32 = -1;
    let failed = |error: zbus::Error| NotShown::Failed(error.to_string());
    let bus = zbus::blocking::Connection::session().map_err(failed)?;
    let (actions, replaces) = (Vec::<&str>::new(), 0_u32);
    let hints = HashMap::from([("urgency", Value::U8(1))]);
    bus.call_method(
        Some("org.freedesktop.Notifications"),
        "/org/freedesktop/Notifications",
        Some("org.freedesktop.Notifications"),
        "Notify",
        &(
            "gatepass", replaces, ICON, title, text, actions, hints, EXPIRY,
        ),
    )
    .map(drop)
    .map_err(failed)
}

/// By AppleScript: the script is fixed, and title and text are arguments, never part of it.
#[cfg(target_os = "macos")]
fn system(title: &str, text: &str) -> Result<(), NotShown> {
    use std::process::{Command, Stdio};

    let failed = |error: std::io::Error| NotShown::Failed(error.kind().to_string());
    let status = Command::new("/usr/bin/osascript")
        .args(["-e", "on run argv"])
        .args([
            "-e",
            "display notification (item 2 of argv) with title (item 1 of argv)",
        ])
        .args(["-e", "end run", "--", title, text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(NotShown::Failed("osascript failed".to_owned()))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn system(_: &str, _: &str) -> Result<(), NotShown> {
    Err(NotShown::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            plain("<a href=\"https://evil\">A & B</a>\u{202e}\n", 100),
            " a href=\"https://evil\" A   B /a "
        );
    }
}
