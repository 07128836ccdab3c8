//! Keycloak, an OpenID provider written in Java.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::{fmt, fs};

use serde_json::{Value, json};

use super::AnyProvider;
use super::server::Server;
use crate::port;
use crate::provider::client;

/// Java that ends with the script that starts it, however that ends.
const JAVA: &str = "#!/bin/sh\nexec setpriv --pdeathsig KILL -- java \"$@\"\n";

/// Keycloak in its developer's mode, with everything in memory. Realms are imported while it runs.
#[derive(Debug)]
pub struct Keycloak {
    base: String,
    server: Server,
}

/// A realm with the account `alice` (password `alicepw`).
pub struct Realm {
    issuer: String,
}

impl fmt::Debug for Realm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Realm({})", self.issuer)
    }
}

impl Keycloak {
    /// The version that is installed and driven.
    pub const VERSION: &str = "26.4.0";

    /// Where it is kept between runs.
    #[must_use]
    pub fn folder() -> PathBuf {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        PathBuf::from(home).join(format!(".cache/gatepass-lab/keycloak-{}", Self::VERSION))
    }

    /// Starts it, which takes about half a minute.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Server::prepare("keycloak");
        server.write("java", JAVA);
        let java = server.folder().join("java");
        fs::set_permissions(&java, fs::Permissions::from_mode(0o755)).expect("own file");
        let port = port::free().to_string();
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(Self::folder().join("bin/kc.sh"));
        command
            .args(["start-dev", "--http-host=127.0.0.1", "--http-port", &port])
            .env("HOME", server.folder())
            .env("JAVA", &java)
            .envs([
                ("KC_DB", "dev-mem"),
                ("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"),
                ("KC_BOOTSTRAP_ADMIN_PASSWORD", "adminpw"),
                ("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m"),
            ]);
        server.start(&command, &format!("{base}/realms/master"));
        Self { base, server }
    }

    /// Imports a realm with these keys beside its name, its account and what lets it be reached without TLS.
    ///
    /// # Panics
    /// Where Keycloak does not take it.
    #[must_use]
    pub fn realm(&self, name: &str, keys: &Value) -> Realm {
        let mut realm = json!({
            "realm": name,
            "enabled": true,
            "sslRequired": "none",
            "users": [{
                "username": "alice",
                "enabled": true,
                "email": "alice@example.test",
                "emailVerified": true,
                "firstName": "Alice",
                "lastName": "Lab",
                // An import gives no roles by itself, not even those that everybody has.
                "realmRoles": [format!("default-roles-{name}")],
                "credentials": [{"type": "password", "value": "alicepw", "temporary": false}],
            }],
        });
        for (key, value) in keys.as_object().into_iter().flatten() {
            realm[key] = value.clone();
        }
        let bearer = format!("Bearer {}", self.administrator());
        let url = format!("{}/admin/realms", self.base);
        let reply = client::post_json(&url, &[("Authorization", &bearer)], &realm)
            .expect("Keycloak answers");
        assert_eq!(reply.status, 201, "{}\n{}", reply.text(), self.said());
        Realm {
            issuer: format!("{}/realms/{name}", self.base),
        }
    }

    /// Everything it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.server.said()
    }

    fn administrator(&self) -> String {
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", "adminpw"),
        ];
        let reply = client::post_form(&url, &form).expect("Keycloak answers");
        assert_eq!(reply.status, 200, "{}\n{}", reply.text(), self.said());
        let token = reply.json()["access_token"].as_str().map(str::to_owned);
        token.expect("a token")
    }
}

impl AnyProvider for Realm {
    fn issuer(&self) -> String {
        self.issuer.clone()
    }

    fn forget(&self) {}
}
