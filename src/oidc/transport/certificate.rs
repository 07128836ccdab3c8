//! Who signed a server's certificate, also where this machine does not trust them: what the user must know of a
//! network that inspects TLS.
//!
//! The look is a handshake of its own that always ends in a refusal, so that nothing can be sent over a
//! connection whose certificate was not verified.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use url::Url;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use super::connection;
use super::proxy::Proxies;
use crate::caller::Deadline;
use crate::config::settings::Settings;
use crate::text;

/// Largest certificate that is looked at, in bytes.
const LIMIT: usize = 64 * 1024;

/// What a server's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCertificate {
    /// Who signed it, as people write it.
    pub issuer: String,
    /// When it ends, in seconds since 1970.
    pub not_after: u64,
}

impl SeenCertificate {
    fn read(certificate: &[u8]) -> Option<Self> {
        let leaf = Certificate::from_der(certificate).ok()?.tbs_certificate;
        Some(Self {
            issuer: name(&leaf.issuer),
            not_after: leaf.validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

/// The certificate's issuer for people: common name and organisation, else everything.
fn name(name: &Name) -> String {
    let full = name.to_string();
    // RFC 4514 separates the parts by commas and escapes those inside values.
    let parts = full.replace("\\,", "\u{1}");
    let part = |kind: &str| {
        let start = format!("{kind}=");
        parts
            .split(',')
            .find_map(|part| part.trim().strip_prefix(&start))
            .map(|value| value.replace('\u{1}', ","))
    };
    let shown = match (part("CN"), part("O")) {
        (Some(common), Some(organisation)) if !common.contains(&organisation) => {
            format!("{common} ({organisation})")
        }
        (Some(common), _) => common,
        (None, Some(organisation)) => organisation,
        (None, None) => full,
    };
    text::printable(&shown, 120)
}

/// Looks at the certificate of an address. `None` where there is none to be seen.
pub fn look(settings: &Settings, address: &Url, deadline: Deadline) -> Option<SeenCertificate> {
    look_through(&Proxies::new(settings), address, deadline)
}

/// The same by way of these proxies.
pub(super) fn look_through(
    proxies: &Proxies,
    address: &Url,
    deadline: Deadline,
) -> Option<SeenCertificate> {
    let recorder = Arc::new(Recorder::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Recorder>::clone(&recorder))
        .with_no_client_auth();
    let client = connection::builder(proxies, Some(address))
        .tls_backend_preconfigured(config)
        .timeout(deadline.left().max(Duration::from_millis(1)))
        .build()
        .ok()?;
    // It fails, as every request of this client does; what it was refused for is what was recorded.
    let _ = client.head(address.origin().ascii_serialization()).send();
    let certificate = recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
    SeenCertificate::read(&certificate)
}

/// Takes note of a certificate and refuses it.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<u8>>);

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.len() <= LIMIT {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end_entity.to_vec();
        }
        Err(refusal())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refusal())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn refusal() -> Error {
    Error::General("this connection was made to look at its certificate".to_owned())
}
