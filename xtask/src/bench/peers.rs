//! Other programs that print a stored token, where they are installed: the same token of the same provider.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use gatepass_testkit::provider::client;

use super::PAIRS;
use super::stage::Stage;
use super::time::{self, Pairs};
use crate::install::{self, Part};
use crate::process::{self, find};

/// What oidc-agent wants of a client, and the provider then expects.
const SECRET: &str = "of-the-bench";

/// How long a daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the others.
pub(super) struct Peer {
    /// What is run, and what stands behind it.
    pub(super) name: &'static str,
    /// gatepass and the other by turns, or why not.
    pub(super) measured: Result<Pairs, String>,
}

/// Installs those that this system has packages for. Without them their lines stay empty.
pub(super) fn provide() {
    let parts = [(Part::Program("oidc-token"), "oidc-agent-cli")];
    if let Err(why) = install::missing_of(&parts) {
        println!("{why}");
    }
}

/// Measures them. The provider wants a client secret afterwards.
pub(super) fn measure(stage: &Stage) -> Vec<Peer> {
    vec![
        Peer {
            name: "`pizauth show` (a daemon has the token)",
            measured: pizauth(stage),
        },
        Peer {
            name: "`oidc-token` of oidc-agent (a daemon has the token)",
            measured: oidc_token(stage),
        },
        Peer {
            name: "`ortie token show` (the keychain has the token)",
            measured: missing("ortie"),
        },
    ]
}

fn missing(program: &str) -> Result<Pairs, String> {
    Err(match find(program) {
        None => format!("{program} is not installed"),
        Some(_) => {
            format!("{program} is there, and nobody has taught the benchmark to sign in with it")
        }
    })
}

/// A daemon that ends with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn oidc_token(stage: &Stage) -> Result<Pairs, String> {
    let find = |name: &str| {
        find(name).ok_or("not installed: apt-get install --no-install-recommends oidc-agent-cli")
    };
    let (agent, token, add) = (find("oidc-agent")?, find("oidc-token")?, find("oidc-gen")?);
    let refresh_token = stage.spare_refresh_token()?;
    stage
        .provider
        .set(|settings| settings.client_secret = Some(SECRET.to_owned()));
    let folder = stage.folder().join("oidc-agent");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let socket = folder.join("socket");
    let command = |program: &PathBuf| {
        let mut command = stage.command(program);
        command
            .env("OIDC_SOCK", &socket)
            .env("OIDC_CONFIG_DIR", &folder);
        command
    };
    let daemon = command(&agent)
        .arg("--console")
        .arg("--socket-path")
        .arg(&socket)
        .spawn()
        .map_err(|e| format!("oidc-agent cannot be started: {e}"))?;
    let _daemon = Daemon(daemon);
    let ends = Instant::now() + PATIENCE;
    while !socket.exists() && Instant::now() < ends {
        thread::sleep(Duration::from_millis(20));
    }
    let issuer = stage.provider.issuer();
    let mut account = command(&add);
    account
        .args([
            "lab",
            "--flow=refresh",
            "--prompt=none",
            "--pw-cmd=echo bench",
        ])
        .args(["--confirm-default", "--redirect-uri=http://localhost:4242"])
        .args([
            "--scope=openid profile email offline_access",
            "--client-id=gatepass",
        ])
        .arg(format!("--client-secret={SECRET}"))
        .arg(format!("--issuer={issuer}"))
        .arg(format!("--rt={refresh_token}"));
    said(&mut account)?;
    let mut other = command(&token);
    other.arg("lab");
    time::pairs((&mut stage.gatepass(&[]), 0), (&mut other, 0), PAIRS)
}

fn pizauth(stage: &Stage) -> Result<Pairs, String> {
    let program = find("pizauth")
        .ok_or("not installed: cargo install --git https://github.com/ltratt/pizauth")?;
    let folder = stage.folder().join("pizauth");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let document = format!(
        "{}/.well-known/openid-configuration",
        stage.provider.issuer()
    );
    let document = client::get(&document).map_err(|e| format!("{document}: {e}"))?;
    let document: serde_json::Value =
        serde_json::from_str(&document.text()).map_err(|e| format!("discovery: {e}"))?;
    let browser = process::itself()?;
    let configuration = folder.join("pizauth.conf");
    let text = format!(
        "auth_notify_cmd = \"{} bench visit $PIZAUTH_URL\";\nhttps_listen = none;\n\
         account \"lab\" {{\n auth_uri = {};\n token_uri = {};\n client_id = \"gatepass\";\n \
         redirect_uri = \"http://127.0.0.1/callback\";\n scopes = [\"openid\", \"offline_access\"];\n}}\n",
        browser.display(),
        document["authorization_endpoint"],
        document["token_endpoint"],
    );
    fs::write(&configuration, text).map_err(|e| format!("{}: {e}", configuration.display()))?;
    let command = |words: &[&str]| {
        let mut command = stage.command(&program);
        command
            .args(words)
            .env("XDG_RUNTIME_DIR", &folder)
            .env("SHELL", "/bin/sh");
        command
    };
    let daemon = command(&["server", "-d", "-c"])
        .arg(&configuration)
        .spawn()
        .map_err(|e| format!("pizauth cannot be started: {e}"))?;
    let _daemon = Daemon(daemon);
    // The first call begins the sign-in.
    let mut show = command(&["show", "lab"]);
    let ends = Instant::now() + PATIENCE;
    while let Err(why) = said(&mut show) {
        if Instant::now() > ends {
            return Err(why);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let mut show = command(&["show", "lab"]);
    time::pairs((&mut stage.gatepass(&[]), 0), (&mut show, 0), PAIRS)
}

/// Runs it to its end; a failure is what it says last.
fn said(command: &mut Command) -> Result<(), String> {
    let output = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()
        .map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    let name = command.get_program().to_string_lossy().into_owned();
    Err(format!(
        "{name}: {}",
        all.lines().last().unwrap_or_default()
    ))
}
