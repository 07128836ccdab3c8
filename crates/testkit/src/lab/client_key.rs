//! Keys and certificates, as an administrator makes them: with the `openssl` command.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A private key and a self-signed certificate for it, each in a PEM file.
#[derive(Debug)]
pub struct ClientKey {
    folder: TempDir,
}

impl ClientKey {
    /// A key of this kind, as `openssl genpkey` names it: `RSA`, `ed25519`, `P-256`, `P-384`. The certificate is for
    /// this machine, and for these names.
    ///
    /// # Panics
    /// Where `openssl` does not make it.
    #[must_use]
    pub fn new(kind: &str, names: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gatepass-key-")
            .tempdir()
            .expect("a temporary folder");
        let this = Self { folder };
        let mut options: Vec<String> = vec!["genpkey".into(), "-algorithm".into()];
        match kind {
            "RSA" => options.extend(["RSA", "-pkeyopt", "rsa_keygen_bits:2048"].map(str::to_owned)),
            curve if curve.starts_with("P-") => options.extend([
                "EC".to_owned(),
                "-pkeyopt".to_owned(),
                format!("ec_paramgen_curve:{curve}"),
            ]),
            other => options.push(other.to_owned()),
        }
        options.extend(["-out".to_owned(), this.key().display().to_string()]);
        openssl(&options);
        fs::set_permissions(this.key(), Permissions::from_mode(0o600)).expect("own file");
        let also: String = names.iter().map(|name| format!(",DNS:{name}")).collect();
        openssl(&[
            "req".to_owned(),
            "-x509".to_owned(),
            "-new".to_owned(),
            "-key".to_owned(),
            this.key().display().to_string(),
            "-subj".to_owned(),
            "/O=Test lab/CN=gatepass lab".to_owned(),
            "-days".to_owned(),
            "2".to_owned(),
            "-addext".to_owned(),
            format!("subjectAltName=IP:127.0.0.1{also}"),
            "-addext".to_owned(),
            "basicConstraints=critical,CA:FALSE".to_owned(),
            "-out".to_owned(),
            this.certificate().display().to_string(),
        ]);
        this
    }

    /// The key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The certificate's file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Both as PEM text: key, certificate.
    ///
    /// # Panics
    /// Where they are gone.
    #[must_use]
    pub fn pem(&self) -> (String, String) {
        let read = |path: &Path| fs::read_to_string(path).expect("own file");
        (read(&self.key()), read(&self.certificate()))
    }

    /// The public half as a registration has it: a JWK set, with the certificate.
    ///
    /// # Panics
    /// Where Node.js cannot read the key.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let script = "const { createPublicKey } = require('node:crypto'); \
             const { readFileSync } = require('node:fs'); \
             console.log(JSON.stringify(createPublicKey(readFileSync(process.argv[1])).export({ format: 'jwk' })))";
        let output = Command::new(super::node())
            .args(["-e", script])
            .arg(self.key())
            .output()
            .expect("node runs");
        let mut jwk: Value = serde_json::from_slice(&output.stdout).expect("a JWK");
        let (_, certificate) = self.pem();
        let body: String = certificate
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        STANDARD.decode(&body).expect("Base64");
        jwk["x5c"] = json!([body]);
        json!({"keys": [jwk]})
    }
}

fn openssl(options: &[String]) {
    let output = Command::new("openssl")
        .args(options)
        .output()
        .expect("the command openssl is installed");
    assert!(
        output.status.success(),
        "openssl {options:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
