//! `LiteLLM`, the gateway, with a check of tokens.

use std::path::PathBuf;
use std::process::Command;

use super::server::Server;
use crate::port;

/// `LiteLLM`'s proxy with its hook for checking who calls (`custom_auth`): a JWT of one issuer for one audience. It answers
/// `POST /v1/messages` itself, for the model `demo`.
#[derive(Debug)]
pub struct LiteLlm {
    url: String,
    server: Server,
}

impl LiteLlm {
    /// The version that is installed and driven.
    pub const VERSION: &str = "1.106.2";

    /// Where its Python environment is kept between runs.
    #[must_use]
    pub fn environment() -> PathBuf {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        PathBuf::from(home).join(format!(".cache/gatepass-lab/litellm-{}", Self::VERSION))
    }

    /// Starts it.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(issuer: &str, jwks: &str, audience: &str) -> Self {
        let mut server = Server::prepare("litellm");
        server.write(
            "config.yaml",
            include_str!("../../../../docs/gateways/litellm/config.yaml"),
        );
        server.write(
            "custom_auth.py",
            include_str!("../../../../docs/gateways/litellm/custom_auth.py"),
        );
        let port = port::free().to_string();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(Self::environment().join("bin/litellm"));
        command
            .args([
                "--config",
                "config.yaml",
                "--host",
                "127.0.0.1",
                "--port",
                &port,
            ])
            .envs([
                ("ISSUER", issuer),
                ("JWKS_URL", jwks),
                ("AUDIENCE", audience),
                // Prices of models would be fetched from the Internet.
                ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
            ])
            .env("HOME", server.folder());
        server.start(&command, &format!("{url}/health/liveliness"));
        Self { url, server }
    }

    /// The base URL, without `/v1`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.server.said()
    }
}
