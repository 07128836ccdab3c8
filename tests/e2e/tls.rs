//! Real TLS servers with certificates that nobody should trust, and one with a certificate that `ca_file` vouches for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gatepass_testkit::lab::{Gatepass, Home, Keyring, Outcome, node};
use tempfile::TempDir;

/// Answers every request with the same JSON, which is no discovery document of ours: whoever gets so far trusts it.
const SERVER: &str = r"
const fs = require('fs'), [dir, protocol] = process.argv.slice(1);
const tls = { key: fs.readFileSync(dir + '/leaf.key'), cert: fs.readFileSync(dir + '/chain.pem'),
  ciphers: 'DEFAULT@SECLEVEL=0', ...(protocol ? { minVersion: protocol, maxVersion: protocol } : {}) };
const server = require('https').createServer(tls, (request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end('{}');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

/// A certificate authority of the test's own, and what it signs.
struct Authority {
    folder: TempDir,
}

/// How a server's certificate is made.
#[derive(Clone, Copy)]
struct Leaf {
    name: &'static str,
    /// `subjectAltName`; none for a certificate that has only a common name.
    names: Option<&'static str>,
    from: &'static str,
    until: &'static str,
    digest: &'static str,
    signed_by: Signer,
    protocol: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    Authority,
    Itself,
    /// Another leaf, which may sign nothing.
    NoAuthority,
}

const GOOD: Leaf = Leaf {
    name: "good",
    names: Some("DNS:localhost"),
    from: "20200101000000Z",
    until: "20990101000000Z",
    digest: "sha256",
    signed_by: Signer::Authority,
    protocol: "",
};

use crate::GATEPASS;

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A key and a request for a certificate.
fn request(folder: &Path, name: &str, common_name: &str) {
    openssl(
        folder,
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.csr"),
            "-subj",
            &format!("/CN={common_name}"),
        ],
    );
}

/// Signs a request; `by` names the signer's key and certificate. (`openssl x509` of older versions takes no dates.)
fn sign(folder: &Path, name: &str, by: Option<&str>, extensions: &str, leaf: &Leaf) {
    fs::write(folder.join("extensions"), extensions).unwrap();
    fs::write(folder.join("index.txt"), "").unwrap();
    let serial = fs::read_dir(folder).unwrap().count();
    fs::write(folder.join("serial"), format!("{serial:04X}\n")).unwrap();
    fs::write(
        folder.join("ca.conf"),
        "[ca]\ndefault_ca=test\n[test]\nserial=serial\ndatabase=index.txt\nnew_certs_dir=.\nunique_subject=no\npolicy=any\n[any]\ncommonName=supplied\n",
    )
    .unwrap();
    let (csr, pem) = (format!("{name}.csr"), format!("{name}.pem"));
    let (key, certificate) = (
        format!("{}.key", by.unwrap_or(name)),
        format!("{}.pem", by.unwrap_or(name)),
    );
    let mut arguments = vec![
        "ca",
        "-config",
        "ca.conf",
        "-batch",
        "-notext",
        "-in",
        &csr,
        "-out",
        &pem,
        "-extfile",
        "extensions",
        "-md",
        leaf.digest,
        "-startdate",
        leaf.from,
        "-enddate",
        leaf.until,
        "-keyfile",
        &key,
    ];
    match by {
        Some(_) => arguments.extend(["-cert", &certificate]),
        None => arguments.push("-selfsign"),
    }
    openssl(folder, &arguments);
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        request(folder.path(), "ca", "Test Authority");
        sign(
            folder.path(),
            "ca",
            None,
            "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n",
            &GOOD,
        );
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn serve(&self, leaf: &Leaf) -> Server {
        let folder = self.folder.path();
        request(folder, "leaf", "localhost");
        let names = leaf
            .names
            .map_or_else(String::new, |names| format!("subjectAltName={names}\n"));
        let extensions = format!("basicConstraints=CA:FALSE\n{names}");
        let by = match leaf.signed_by {
            Signer::Authority => Some("ca"),
            Signer::Itself => None,
            Signer::NoAuthority => {
                request(folder, "middle", "middle");
                sign(
                    folder,
                    "middle",
                    Some("ca"),
                    "basicConstraints=CA:FALSE\n",
                    &GOOD,
                );
                Some("middle")
            }
        };
        sign(folder, "leaf", by, &extensions, leaf);
        let mut chain = fs::read(folder.join("leaf.pem")).unwrap();
        if leaf.signed_by == Signer::NoAuthority {
            chain.extend(fs::read(folder.join("middle.pem")).unwrap());
        }
        fs::write(folder.join("chain.pem"), chain).unwrap();
        Server::start(folder, leaf.protocol)
    }
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path, protocol: &str) -> Self {
        let mut process = Command::new(node())
            .args(["-e", SERVER])
            .arg(folder)
            .arg(protocol)
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().parse().expect("a port");
        Self { process, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Lab {
    keyring: Keyring,
    home: Home,
}

impl Lab {
    fn login(
        &self,
        issuer: &str,
        authority: Option<&Path>,
        environment: &[(&str, &str)],
    ) -> Outcome {
        let trust = authority.map_or_else(String::new, |file| {
            format!("ca_file = '{}'\n", file.display())
        });
        self.home.config(&format!(
            "issuer = '{issuer}'\nclient_id = 'gatepass'\nbrowser = ['/bin/false']\n{trust}"
        ));
        let run = Gatepass::new(GATEPASS, &self.home)
            .keyring(&self.keyring)
            .args(["login", "--browser"]);
        environment
            .iter()
            .fold(run, |run, (name, value)| run.env(name, value))
            .run()
    }
}

#[test]
fn only_certificates_that_the_system_or_ca_file_vouch_for_are_trusted() {
    let lab = Lab {
        keyring: Keyring::start(),
        home: Home::new(),
    };
    let authority = Authority::new();
    let ca = authority.file();
    let bad = [
        Leaf {
            name: "another host",
            names: Some("DNS:other.example"),
            ..GOOD
        },
        Leaf {
            name: "a host below",
            names: Some("DNS:*.localhost"),
            ..GOOD
        },
        Leaf {
            name: "only a common name",
            names: None,
            ..GOOD
        },
        Leaf {
            name: "expired",
            until: "20210101000000Z",
            ..GOOD
        },
        Leaf {
            name: "not valid yet",
            from: "20980101000000Z",
            ..GOOD
        },
        Leaf {
            name: "signed by itself",
            signed_by: Signer::Itself,
            ..GOOD
        },
        Leaf {
            name: "signed by no authority",
            signed_by: Signer::NoAuthority,
            ..GOOD
        },
        Leaf {
            name: "SHA-1",
            digest: "sha1",
            ..GOOD
        },
        Leaf {
            name: "TLS 1.1",
            protocol: "TLSv1.1",
            ..GOOD
        },
    ];
    for leaf in bad {
        let server = authority.serve(&leaf);
        let outcome = lab.login(
            &format!("https://localhost:{}", server.port),
            Some(&ca),
            &[],
        );
        outcome.expect(6);
        let said = &outcome.stderr;
        assert!(
            said.contains("no secure connection to localhost"),
            "{}: {said}",
            leaf.name
        );
    }

    let server = authority.serve(&GOOD);
    let issuer = format!("https://localhost:{}", server.port);
    // Nobody vouches for it, and whoever starts us cannot do so by a variable.
    let file = ca.display().to_string();
    let folder = authority.folder.path().display().to_string();
    for environment in [
        vec![],
        vec![
            ("SSL_CERT_FILE", file.as_str()),
            ("SSL_CERT_DIR", folder.as_str()),
        ],
        vec![
            ("REQUESTS_CA_BUNDLE", file.as_str()),
            ("CURL_CA_BUNDLE", file.as_str()),
        ],
        vec![
            ("NODE_EXTRA_CA_CERTS", file.as_str()),
            ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ],
    ] {
        let outcome = lab.login(&issuer, None, &environment);
        outcome.expect(6);
        assert!(
            outcome.stderr.contains("no secure connection"),
            "{environment:?}: {}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains("`ca_file`"), "{}", outcome.stderr);
    }
    // With `ca_file` the same server is understood, and its document refused.
    let key_log = authority
        .folder
        .path()
        .join("keys.log")
        .display()
        .to_string();
    let outcome = lab.login(&issuer, Some(&ca), &[("SSLKEYLOGFILE", key_log.as_str())]);
    outcome.expect(8);
    assert!(
        !Path::new(&key_log).exists(),
        "the session's keys were written down"
    );

    // The name is checked whatever it is: the address has no name in the certificate.
    lab.login(
        &format!("https://127.0.0.1:{}", server.port),
        Some(&ca),
        &[],
    )
    .expect(6);
    let by_address = Leaf {
        name: "an address",
        names: Some("IP:127.0.0.1"),
        ..GOOD
    };
    let server = authority.serve(&by_address);
    lab.login(
        &format!("https://127.0.0.1:{}", server.port),
        Some(&ca),
        &[],
    )
    .expect(8);
    // Somebody who speaks plain HTTP where TLS belongs.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            use std::io::Write;
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            );
        }
    });
    lab.login(&format!("https://localhost:{port}"), Some(&ca), &[])
        .expect(6);
}
