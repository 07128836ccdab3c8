//! Apache as a validator of tokens in front of something else.

use std::process::Command;

use super::ClientKey;
use super::server::Server;
use crate::port;

/// Apache with `mod_auth_openidc`: lets requests pass that carry a token of these keys and for this audience.
#[derive(Debug)]
pub struct Apache {
    url: String,
    _server: Server,
    _key: ClientKey,
}

const MODULES: [(&str, &str); 9] = [
    ("mpm_event", "mpm_event"),
    ("authn_core", "authn_core"),
    ("authz_core", "authz_core"),
    ("authz_user", "authz_user"),
    ("proxy", "proxy"),
    ("proxy_http", "proxy_http"),
    ("socache_shmcb", "socache_shmcb"),
    ("ssl", "ssl"),
    ("auth_openidc", "auth_openidc"),
];

impl Apache {
    /// Starts it in front of `behind`.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(jwks: &str, audience: &str, behind: &str) -> Self {
        let mut server = Server::prepare("apache");
        let key = ClientKey::new("RSA", &[]);
        let (port, keys_port) = (port::free(), port::free());
        let modules: String = MODULES
            .iter()
            .map(|(name, file)| format!("LoadModule {name}_module modules/mod_{file}.so\n"))
            .collect();
        let (folder, key_file, certificate) = (
            server.folder().display(),
            key.key().display().to_string(),
            server.folder().join("keys.pem").display().to_string(),
        );
        // Where its workers, who are not root, can read it.
        server.write("keys.pem", &key.pem().1);
        // The module takes keys over TLS only, and the lab's provider has none: a second host of this server hands them on.
        let configuration = format!(
            "ServerRoot /usr/lib/apache2\nServerName 127.0.0.1\nPidFile {folder}/pid\nDefaultRuntimeDir {folder}\n\
             Mutex sem default\nErrorLog {folder}/log\nListen 127.0.0.1:{port}\nListen 127.0.0.1:{keys_port}\n{modules}\
             User www-data\nGroup www-data\n\
             OIDCOAuthVerifyJwksUri https://127.0.0.1:{keys_port}/jwks\nOIDCCABundlePath {certificate}\n\
             OIDCOAuthSSLValidateServer On\n\
             <VirtualHost 127.0.0.1:{keys_port}>\nSSLEngine on\nSSLCertificateFile {certificate}\n\
             SSLCertificateKeyFile {key_file}\nProxyPass /jwks {jwks}\n</VirtualHost>\n\
             <VirtualHost 127.0.0.1:{port}>\nProxyPass / {behind}/\n\
             <Location /v1>\nAuthType oauth20\nRequire claim aud:{audience}\n</Location>\n</VirtualHost>\n"
        );
        server.write("apache.conf", &configuration);
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new("apache2");
        command
            .arg("-f")
            .arg(server.folder().join("apache.conf"))
            .arg("-DFOREGROUND");
        server.start(&command, &format!("{url}/ready"));
        Self {
            url,
            _server: server,
            _key: key,
        }
    }

    /// The base URL, without `/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
