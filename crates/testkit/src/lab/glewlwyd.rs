//! Glewlwyd, an OpenID provider written in C.

use std::process::Command;

use serde_json::{Value, json};

use super::server::Server;
use super::{AnyProvider, ClientKey};
use crate::port;
use crate::provider::client;

/// Makes the database and the configuration out of what the package brings.
const PREPARE: &str = r#"
import gzip, pathlib, sqlite3, sys
folder, port = pathlib.Path(sys.argv[1]), sys.argv[2]
given = pathlib.Path("/usr/share/doc/glewlwyd")
database = sqlite3.connect(folder / "g.db")
database.executescript(gzip.open(given / "database/init.sqlite3.sql.gz", "rt").read())
database.commit()
text = gzip.open(given / "glewlwyd.conf.sample.gz", "rt").read()
for old, new in [
    ("port=4593\n", f"port={port}\n"),
    ('external_url="http://localhost:4593"', f'external_url="http://127.0.0.1:{port}"\nbind_address="127.0.0.1"'),
    ('cookie_domain="localhost"', 'cookie_domain="127.0.0.1"'),
    ("cookie_secure=1", "cookie_secure=0"),
    ("/var/cache/glewlwyd/glewlwyd.db", str(folder / "g.db")),
]:
    assert old in text, old
    text = text.replace(old, new)
(folder / "g.conf").write_text(text)
"#;

/// Glewlwyd with the account `bob` (password `bobpw`) and the public client `gatepass`. It knows one redirect address only,
/// rotates refresh tokens and takes the second use of one for a theft.
#[derive(Debug)]
pub struct Glewlwyd {
    base: String,
    key: (String, String),
    server: Server,
}

impl Glewlwyd {
    /// Starts it, for this redirect address.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(redirect: &str) -> Self {
        let mut server = Server::prepare("glewlwyd");
        let port = port::free().to_string();
        let prepared = Command::new("/usr/bin/python3")
            .args(["-c", PREPARE])
            .arg(server.folder())
            .arg(&port)
            .output()
            .expect("python3");
        assert!(
            prepared.status.success(),
            "{}",
            String::from_utf8_lossy(&prepared.stderr)
        );
        let base = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("glewlwyd");
        command.arg("--config-file=g.conf");
        server.start(&command, &format!("{base}/config"));
        let pair = ClientKey::new("RSA", &[]);
        let this = Self {
            base,
            key: pair.pem(),
            server,
        };
        this.set_up(redirect);
        this
    }

    /// The provider asks device codes for patience, in seconds.
    pub fn device_interval(&self, seconds: u32) {
        self.change("PUT", "mod/plugin/oidc", &self.plugin(seconds));
        self.change("PUT", "mod/plugin/oidc/reset", &json!({}));
    }

    /// Everything it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.server.said()
    }

    fn set_up(&self, redirect: &str) {
        self.change("POST", "mod/plugin", &self.plugin(5));
        self.change(
            "POST",
            "scope",
            &json!({
                "name": "gateway.invoke",
                "display_name": "Gateway",
                "description": "The gateway",
                "password_required": true,
                "scheme": {},
            }),
        );
        let scopes = json!(["openid", "gateway.invoke"]);
        self.change(
            "POST",
            "user",
            &json!({
                "username": "bob",
                "name": "Bob",
                "email": "bob@example.test",
                "password": "bobpw",
                "scope": scopes,
                "enabled": true,
            }),
        );
        self.change(
            "POST",
            "client",
            &json!({
                "client_id": "gatepass",
                "name": "gatepass",
                "confidential": false,
                "enabled": true,
                "redirect_uri": [redirect],
                "authorization_type": ["code", "refresh_token", "device_authorization"],
                "scope": scopes,
                "token_endpoint_auth_method": ["none"],
            }),
        );
    }

    fn plugin(&self, device_interval: u32) -> Value {
        let (key, certificate) = &self.key;
        json!({
            "module": "oidc",
            "name": "oidc",
            "display_name": "OpenID Connect",
            "enabled": true,
            "parameters": {
                "iss": self.issuer(),
                "jwt-type": "rsa",
                "jwt-key-size": "256",
                "key": key,
                "cert": certificate,
                "access-token-duration": 3600,
                "refresh-token-duration": 86400,
                "code-duration": 600,
                "refresh-token-rolling": true,
                "refresh-token-one-use": "always",
                "allow-non-oidc": true,
                "auth-type-code-enabled": true,
                "auth-type-code-revoke-replayed": true,
                "auth-type-token-enabled": false,
                "auth-type-id-token-enabled": true,
                "auth-type-none-enabled": false,
                "auth-type-password-enabled": false,
                "auth-type-client-enabled": false,
                "auth-type-refresh-enabled": true,
                "auth-type-device-enabled": true,
                "device-authorization-expiration": 600,
                "device-authorization-interval": device_interval,
                "pkce-allowed": true,
                "pkce-method-plain-allowed": false,
                "pkce-required": true,
                "pkce-required-public-client": true,
                "introspection-revocation-allowed": true,
                "introspection-revocation-auth-scope": [],
                "introspection-revocation-allow-target-client": true,
                "scope": [
                    {"name": "openid", "refresh-token-rolling": true},
                    {"name": "gateway.invoke", "refresh-token-rolling": true},
                ],
                "subject-type": "public",
                "name-claim": "on-demand",
                "email-claim": "on-demand",
                "scope-claim": "on-demand",
                "oauth-par-allowed": false,
            },
        })
    }

    /// One request of the administrator's, who signs in for it.
    fn change(&self, method: &str, path: &str, body: &Value) {
        let admin = json!({"username": "admin", "password": "password"});
        let signed_in = client::post_json(&format!("{}/api/auth/", self.base), &[], &admin)
            .expect("glewlwyd answers");
        let cookie = signed_in
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next())
            .expect("a session")
            .to_owned();
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Content-Type", "application/json"),
        ];
        let url = format!("{}/api/{path}", self.base);
        let reply = client::send(method, &url, &headers, body.to_string().as_bytes())
            .expect("glewlwyd answers");
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
    }
}

impl AnyProvider for Glewlwyd {
    fn issuer(&self) -> String {
        format!("{}/api/oidc", self.base)
    }

    fn forget(&self) {}
}
