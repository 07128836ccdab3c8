//! Secret Services as they are elsewhere: one that refuses a read while another one is under way, one in which no
//! collection is the default one. Nothing can be written to them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use zbus::blocking::{Connection, connection};
use zbus::fdo;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

use super::Keyring;

const COLLECTION: &str = "/org/freedesktop/secrets/collection/lab";
const ITEM: &str = "/org/freedesktop/secrets/collection/lab/1";

/// A Secret Service on a session bus: empty, or with one entry that is given to one reader at a time.
#[derive(Debug)]
pub struct BusyKeychain {
    refused: Arc<AtomicUsize>,
    _connection: Connection,
}

impl BusyKeychain {
    /// Keeps this secret on the session bus, on which nobody else may keep any. Each read takes that long.
    ///
    /// # Panics
    /// Where the bus does not take it.
    #[must_use]
    pub fn start(keyring: &Keyring, secret: &str, read: Duration) -> Self {
        Self::with(keyring, Some(secret), read)
    }

    /// Keeps nothing in an open collection that is not the default one.
    ///
    /// # Panics
    /// Where the bus does not take it.
    #[must_use]
    pub fn without_default(keyring: &Keyring) -> Self {
        Self::with(keyring, None, Duration::ZERO)
    }

    fn with(keyring: &Keyring, secret: Option<&str>, read: Duration) -> Self {
        let (_, address) = keyring
            .env()
            .into_iter()
            .find(|(name, _)| name == "DBUS_SESSION_BUS_ADDRESS")
            .expect("a session bus");
        let refused = Arc::<AtomicUsize>::default();
        let item = Item {
            secret: secret.unwrap_or_default().as_bytes().to_vec(),
            read,
            busy: AtomicBool::new(false),
            refused: Arc::clone(&refused),
        };
        let service = Service {
            is_empty: secret.is_none(),
        };
        let connection = connection::Builder::address(address.as_str())
            .and_then(|builder| builder.name("org.freedesktop.secrets"))
            .and_then(|builder| builder.serve_at("/org/freedesktop/secrets", service))
            .and_then(|builder| builder.serve_at(COLLECTION, Collection))
            .and_then(|builder| builder.serve_at(ITEM, item))
            .and_then(connection::Builder::build)
            .expect("the bus takes a keychain");
        Self {
            refused,
            _connection: connection,
        }
    }

    /// How many reads were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

struct Service {
    is_empty: bool,
}

#[zbus::interface(name = "org.freedesktop.Secret.Service")]
impl Service {
    fn open_session(
        &self,
        _algorithm: String,
        _input: OwnedValue,
    ) -> (OwnedValue, OwnedObjectPath) {
        let nothing = Value::from("").try_to_owned().expect("a text");
        (nothing, path("/org/freedesktop/secrets/session/1"))
    }

    fn search_items(
        &self,
        _attributes: HashMap<String, String>,
    ) -> (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) {
        let found = if self.is_empty {
            Vec::new()
        } else {
            vec![path(ITEM)]
        };
        (found, Vec::new())
    }

    fn read_alias(&self, _name: String) -> OwnedObjectPath {
        path("/")
    }

    #[zbus(property)]
    fn collections(&self) -> Vec<OwnedObjectPath> {
        vec![path(COLLECTION)]
    }
}

struct Collection;

#[zbus::interface(name = "org.freedesktop.Secret.Collection")]
impl Collection {
    #[zbus(property)]
    fn label(&self) -> String {
        "Lab".to_owned()
    }

    #[zbus(property)]
    fn locked(&self) -> bool {
        false
    }
}

struct Item {
    secret: Vec<u8>,
    read: Duration,
    busy: AtomicBool,
    refused: Arc<AtomicUsize>,
}

#[zbus::interface(name = "org.freedesktop.Secret.Item")]
impl Item {
    async fn get_secret(
        &self,
        session: OwnedObjectPath,
    ) -> fdo::Result<(OwnedObjectPath, Vec<u8>, Vec<u8>, String)> {
        if self.busy.swap(true, Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(fdo::Error::Failed("another read is under way".to_owned()));
        }
        Pause::of(self.read).await;
        self.busy.store(false, Ordering::SeqCst);
        let kind = "application/octet-stream".to_owned();
        Ok((session, Vec::new(), self.secret.clone(), kind))
    }
}

fn path(path: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(path).expect("a path")
}

/// A pause in which other calls are answered.
struct Pause(Arc<Mutex<(bool, Option<Waker>)>>);

impl Pause {
    fn of(time: Duration) -> Self {
        let shared = Arc::<Mutex<(bool, Option<Waker>)>>::default();
        let over = Arc::clone(&shared);
        thread::spawn(move || {
            thread::sleep(time);
            let mut state = over.lock().expect("no panic in here");
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        Self(shared)
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().expect("no panic in here");
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}
