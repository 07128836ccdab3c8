//! `LemonLDAP::NG`, an OpenID provider written in Perl.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::server::Server;
use super::{AnyProvider, ClientKey};
use crate::port;

const GIVEN: &str = "/var/lib/lemonldap-ng";

/// `LemonLDAP::NG` with its demonstration accounts (`dwho`, password `dwho`) and the public client `gatepass`. Its issuer ends
/// with a slash, refresh tokens do not rotate, and there is neither a device flow nor revocation.
#[derive(Debug)]
pub struct LemonLdap {
    base: String,
    server: Server,
}

impl LemonLdap {
    /// Starts it, for this redirect address.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(redirect: &str, audience: &str) -> Self {
        let mut server = Server::prepare("lemonldap");
        let port = port::free().to_string();
        let base = format!("http://127.0.0.1:{port}/");
        let folder = server.folder().display().to_string();
        let given = |path: &str| {
            fs::read_to_string(path)
                .unwrap_or_else(|e| {
                    panic!("{path}: {e} (`cargo xtask test --interop` installs it)")
                })
                .replace(GIVEN, &folder)
        };
        for name in [
            "conf",
            "sessions/lock",
            "psessions/lock",
            "cache",
            "notifications",
            "captcha",
        ] {
            fs::create_dir_all(server.folder().join(name)).expect("own folder");
        }
        let mut configuration: Value =
            serde_json::from_str(&given(&format!("{GIVEN}/conf/lmConf-1.json"))).expect("JSON");
        let own = Self::configuration(&base, redirect, audience);
        for (key, value) in own.as_object().expect("an object") {
            configuration[key] = value.clone();
        }
        server.write("conf/lmConf-1.json", &configuration.to_string());
        server.write("llng.ini", &given("/etc/lemonldap-ng/lemonldap-ng.ini"));
        // Several workers: a browser keeps connections open, and each holds one.
        let mut command = Command::new("starman");
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--workers", "5"])
            .arg("/usr/share/lemonldap-ng/portal/htdocs/index.psgi")
            .env("LLNG_DEFAULTCONFFILE", server.folder().join("llng.ini"));
        server.start(&command, &format!("{base}.well-known/openid-configuration"));
        Self { base, server }
    }

    fn configuration(base: &str, redirect: &str, audience: &str) -> Value {
        let (key, certificate) = ClientKey::new("RSA", &[]).pem();
        json!({
            "portal": base,
            "domain": "127.0.0.1",
            "securedCookie": 0,
            "requireToken": 0,
            "notification": 0,
            // What sends mail needs further packages.
            "registerDB": "Null",
            "portalDisplayRegister": 0,
            "portalDisplayResetPassword": 0,
            "portalDisplayCertificateResetByMail": 0,
            "issuerDBOpenIDConnectActivation": 1,
            "oidcServiceMetaDataIssuer": base,
            "oidcServicePrivateKeySig": key,
            "oidcServicePublicKeySig": certificate,
            "oidcServiceKeyIdSig": "lab",
            "oidcServiceAllowAuthorizationCodeFlow": 1,
            "oidcRPMetaDataOptions": {"gatepass": {
                "oidcRPMetaDataOptionsClientID": "gatepass",
                "oidcRPMetaDataOptionsPublic": 1,
                "oidcRPMetaDataOptionsRequirePKCE": 1,
                "oidcRPMetaDataOptionsAllowOffline": 1,
                "oidcRPMetaDataOptionsRefreshToken": 1,
                "oidcRPMetaDataOptionsRedirectUris": redirect,
                "oidcRPMetaDataOptionsAccessTokenJWT": 1,
                "oidcRPMetaDataOptionsAccessTokenSignAlg": "RS256",
                "oidcRPMetaDataOptionsIDTokenSignAlg": "RS256",
                "oidcRPMetaDataOptionsBypassConsent": 1,
                "oidcRPMetaDataOptionsAdditionalAudiences": audience,
                "oidcRPMetaDataOptionsUserIDAttr": "uid",
            }},
            "oidcRPMetaDataExportedVars": {"gatepass": {"email": "mail", "name": "cn"}},
        })
    }

    /// An administrator ends every session, and with it every refresh token.
    ///
    /// # Panics
    /// Where there was none.
    pub fn end_sessions(&self) {
        let mut ended = 0;
        for entry in fs::read_dir(self.server.folder().join("sessions"))
            .expect("own folder")
            .flatten()
        {
            if entry.path().is_file() {
                fs::remove_file(entry.path()).expect("own file");
                ended += 1;
            }
        }
        assert!(ended > 0, "nobody was signed in");
        let cache = self.server.folder().join("cache");
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir(&cache).expect("own folder");
    }

    /// Everything it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.server.said()
    }
}

impl AnyProvider for LemonLdap {
    fn issuer(&self) -> String {
        self.base.clone()
    }

    fn forget(&self) {}
}
