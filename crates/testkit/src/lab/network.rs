//! A corporate network: a proxy, and behind it every name of the world.

use std::process::{ChildStdin, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::ClientKey;
use super::process::{self, Part, Ready};

/// How the proxy treats those who ask for a tunnel.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// `name:password` that it asks for.
    pub password: Option<&'static str>,
    /// The ways of signing in that it offers; `Basic` where none is given.
    pub schemes: Vec<&'static str>,
    /// A status with which it refuses everybody.
    pub refuses: Option<u16>,
    /// Whether it is itself reached by TLS.
    pub secure: bool,
}

/// A real HTTP proxy. Whatever host is asked for, one server answers, behind TLS with the given certificate.
#[derive(Debug)]
pub struct Network {
    port: u16,
    guard: Guard,
    tunnels: Arc<Mutex<Vec<Value>>>,
    _commands: ChildStdin,
    _part: Part,
}

impl Network {
    /// A network in which every name leads to this port of 127.0.0.1.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(backend: u16, certificate: &ClientKey, guard: Guard) -> Self {
        let (key, certificate) = certificate.pem();
        let mut settings = json!({
            "backend": backend,
            "key": key,
            "certificate": certificate,
            "secureProxy": guard.secure,
            "password": guard.password,
            "refuses": guard.refuses,
        });
        if !guard.schemes.is_empty() {
            settings["schemes"] = json!(guard.schemes);
        }
        let mut command = Command::new(super::node());
        command
            .arg(super::scripts().join("network.mjs"))
            .arg(settings.to_string());
        let Ready {
            part,
            commands,
            address: port,
            lines,
        } = process::ready("the corporate network (network.mjs)", &command);
        let port = port.parse().expect("a port");
        let tunnels = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&tunnels);
        thread::spawn(move || {
            for line in lines {
                let tunnel = serde_json::from_str(&line).expect("one tunnel per line");
                writer.lock().expect("never poisoned").push(tunnel);
            }
        });
        Self {
            port,
            guard,
            tunnels,
            _commands: commands,
            _part: part,
        }
    }

    /// The proxy's address, with `credentials` (`name:password@`) in it.
    #[must_use]
    pub fn proxy(&self, credentials: &str) -> String {
        let scheme = if self.guard.secure { "https" } else { "http" };
        format!("{scheme}://{credentials}127.0.0.1:{}", self.port)
    }

    /// The hosts to which tunnels were asked for, in order.
    ///
    /// # Panics
    /// Never: nobody panics while writing the list.
    #[must_use]
    pub fn tunnels(&self) -> Vec<String> {
        let tunnels = self.tunnels.lock().expect("never poisoned");
        tunnels
            .iter()
            .map(|tunnel| tunnel["to"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
