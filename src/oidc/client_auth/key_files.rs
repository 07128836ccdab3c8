//! The files that hold the client's secret, private key and certificate.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::config::settings::{ClientAuth, Settings};
use crate::error::{Failure, Result};
use crate::oidc::jws::SigningKey;
use crate::platform::files::{self, Access};
use crate::secret::Secret;

/// Largest file of a secret or key, in bytes.
const SECRET: u64 = 16 * 1024;

/// Largest file of certificates, in bytes.
const CERTIFICATES: u64 = 256 * 1024;

/// The client secret.
pub(super) fn client_secret(path: &Path) -> Result<Secret> {
    let bytes = private("client_secret_file", path)?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(secret) if !secret.is_empty() && !secret.contains(char::is_control) => {
            Ok(Secret::new(secret))
        }
        _ => Err(unusable(
            "client_secret_file",
            path,
            "it does not hold one line of text",
            "write the client secret into it, alone",
        )),
    }
}

/// The key that signs assertions.
pub(super) fn signing_key(settings: &Settings) -> Result<SigningKey> {
    let path = configured("client_key_file", settings.client_key_file.as_deref())?;
    SigningKey::from_pem(&private("client_key_file", path)?).map_err(|why| {
        unusable(
            "client_key_file",
            path,
            why,
            "openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.pem, with KEY.pem as `client_key_file`",
        )
    })
}

/// The certificate (DER) that belongs to the key of assertions, if one is configured.
pub(super) fn certificate_of_assertions(settings: &Settings) -> Result<Option<Vec<u8>>> {
    let Some(path) = &settings.client_cert_file else {
        return Ok(None);
    };
    let bytes = public("client_cert_file", path)?;
    match CertificateDer::from_pem_slice(&bytes) {
        Ok(certificate) => Ok(Some(certificate.to_vec())),
        Err(_) => Err(unusable(
            "client_cert_file",
            path,
            "it holds no certificate in PEM form",
            "give `client_cert_file` a PEM file",
        )),
    }
}

/// Certificate and key that show the client to the provider's TLS (RFC 8705), if that is configured.
pub(super) fn tls_identity(settings: &Settings) -> Result<Option<reqwest::Identity>> {
    if settings.client_auth != ClientAuth::Tls {
        return Ok(None);
    }
    let certificate = configured("client_cert_file", settings.client_cert_file.as_deref())?;
    let key = configured("client_key_file", settings.client_key_file.as_deref())?;
    let mut pem = private("client_key_file", key)?;
    let chain = public("client_cert_file", certificate)?;
    // One buffer for both, made large enough at once: a growing one would leave copies of the key behind.
    let mut both = Zeroizing::new(Vec::with_capacity(pem.len() + chain.len() + 1));
    both.append(&mut pem);
    both.push(b'\n');
    both.extend_from_slice(&chain);
    reqwest::Identity::from_pem(&both).map(Some).map_err(|_| {
        unusable(
            "client_cert_file",
            certificate,
            "it and `client_key_file` are no PEM certificate and private key",
            "give both keys PEM files that belong together",
        )
    })
}

fn configured<'a>(key: &str, path: Option<&'a Path>) -> Result<&'a Path> {
    path.ok_or_else(|| {
        Failure::config(
            format!("`client_auth` needs `{key}`"),
            "gatepass config path",
        )
    })
}

/// A file that only its owner may read.
fn private(key: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read(key, path, Access::OwnerOnly, SECRET, "chmod 600").map(Zeroizing::new)
}

/// A file that only its owner may change.
fn public(key: &str, path: &Path) -> Result<Vec<u8>> {
    read(key, path, Access::OwnerWrites, CERTIFICATES, "chmod 644")
}

fn read(key: &str, path: &Path, access: Access, limit: u64, mend: &str) -> Result<Vec<u8>> {
    files::read(path, access, limit)
        .map_err(|reason| {
            let remedy = format!("{mend} '{}'", path.display());
            unusable(key, path, &reason.to_string(), &remedy)
        })?
        .ok_or_else(|| {
            unusable(
                key,
                path,
                "there is no such file",
                "create it, readable by yourself alone",
            )
        })
}

fn unusable(key: &str, path: &Path, why: &str, remedy: &str) -> Failure {
    Failure::config(
        format!("`{key}` {} cannot be used: {why}", path.display()),
        remedy,
    )
}
