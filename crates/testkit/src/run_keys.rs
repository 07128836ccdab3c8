//! Private keys that all tests of a run share: RSA keys take long to make, and their secrecy is nobody's subject.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
#[cfg(target_os = "linux")]
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rsa::pkcs8::EncodePrivateKey as _;

/// The variable that names the file which [`write`] has made.
pub const VARIABLE: &str = "GATEPASS_LAB_KEYS";

/// How many RSA keys there are.
const KEYS: usize = 5;

/// Which of them the provider with Node signs with. Those before it are the scripted provider's.
#[cfg(target_os = "linux")]
pub(crate) const RSA_OF_NODE: usize = KEYS - 1;

/// Makes the keys for a run of tests, and writes them to this file, which only its owner may read.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(file: &Path) -> std::io::Result<()> {
    let _ = fs::remove_file(file);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lines: Vec<String> = make().iter().map(|key| STANDARD.encode(key)).collect();
    options.open(file)?.write_all(lines.join("\n").as_bytes())
}

/// An RSA key with 2048 bits (PKCS #8): the run's, or one made for this process where a test is run by itself.
///
/// # Panics
/// Where there are not so many.
pub(crate) fn rsa(number: usize) -> &'static [u8] {
    static KEYS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let given = std::env::var_os(VARIABLE).and_then(|file| fs::read_to_string(file).ok());
        given.map_or_else(make, |text| {
            let decoded = text.lines().map(|line| STANDARD.decode(line));
            decoded.collect::<Result<_, _>>().expect("keys of a run")
        })
    });
    keys.get(number).expect("more RSA keys than a run has")
}

/// A new key for P-256 (PKCS #8), which costs nothing.
///
/// # Panics
/// Where the system has no random numbers.
#[must_use]
#[cfg(target_os = "linux")]
pub fn p256() -> Vec<u8> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.expect("a new P-256 key").as_ref().to_vec()
}

fn make() -> Vec<Vec<u8>> {
    thread::scope(|scope| {
        let making: Vec<_> = (0..KEYS)
            .map(|_| {
                scope.spawn(|| {
                    let key = rsa::RsaPrivateKey::new(&mut SystemSource, 2048);
                    let key = key.expect("a new RSA key").to_pkcs8_der();
                    key.expect("PKCS #8 of the new key").as_bytes().to_vec()
                })
            })
            .collect();
        making
            .into_iter()
            .map(|key| key.join().expect("a new key"))
            .collect()
    })
}

/// ring's random source with the interface that the `rsa` crate wants.
struct SystemSource;

impl rsa::rand_core::CryptoRng for SystemSource {}

impl rsa::rand_core::RngCore for SystemSource {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        let filled = SystemRandom::new().fill(target);
        filled.expect("the system's random source");
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(target);
        Ok(())
    }
}
