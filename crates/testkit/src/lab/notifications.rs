//! The part of a desktop that shows notifications.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zbus::blocking::{Connection, connection};
use zbus::zvariant::OwnedValue;

use super::Keyring;
use super::process::wait_until;

/// One notification, as the desktop got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Who sent it.
    pub application: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// A notification service on a keychain's session bus, which keeps what it is sent.
#[derive(Debug)]
pub struct Notifications {
    shown: Arc<Mutex<Vec<Notification>>>,
    _connection: Connection,
}

struct Service {
    shown: Arc<Mutex<Vec<Notification>>>,
    pause: Duration,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Service {
    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    fn notify(
        &self,
        application: String,
        _replaces: u32,
        _icon: String,
        title: String,
        text: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _expiry: i32,
    ) -> u32 {
        let mut shown = self.shown.lock().expect("no panic in here");
        shown.push(Notification {
            application,
            title,
            text,
        });
        std::thread::sleep(self.pause);
        u32::try_from(shown.len()).expect("a few")
    }
}

impl Notifications {
    /// Begins to show what is sent over this session bus.
    ///
    /// # Panics
    /// Where the bus does not take it.
    #[must_use]
    pub fn start(keyring: &Keyring) -> Self {
        Self::that_answer_after(keyring, Duration::ZERO)
    }

    /// The same, of a desktop that takes its time.
    ///
    /// # Panics
    /// Where the bus does not take it.
    #[must_use]
    pub fn that_answer_after(keyring: &Keyring, pause: Duration) -> Self {
        let shown = Arc::<Mutex<Vec<Notification>>>::default();
        let (_, address) = keyring
            .env()
            .into_iter()
            .find(|(name, _)| name == "DBUS_SESSION_BUS_ADDRESS")
            .expect("a session bus");
        let service = Service {
            shown: Arc::clone(&shown),
            pause,
        };
        let connection = connection::Builder::address(address.as_str())
            .and_then(|builder| builder.name("org.freedesktop.Notifications"))
            .and_then(|builder| builder.serve_at("/org/freedesktop/Notifications", service))
            .and_then(connection::Builder::build)
            .expect("the bus takes a notification service");
        Self {
            shown,
            _connection: connection,
        }
    }

    /// What was shown so far.
    ///
    /// # Panics
    /// Never, unless the service has.
    #[must_use]
    pub fn shown(&self) -> Vec<Notification> {
        self.shown.lock().expect("no panic in here").clone()
    }

    /// Waits for a notification.
    #[must_use]
    pub fn shown_within(&self, limit: Duration) -> Vec<Notification> {
        wait_until(limit, || !self.shown().is_empty());
        self.shown()
    }
}
