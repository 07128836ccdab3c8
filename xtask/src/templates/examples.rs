//! Policies to start from: what `gatepass export claude-desktop --with-policy` writes for an organisation that is not
//! there.

use std::path::PathBuf;

use gatepass::config::document::Document;
use gatepass::config::layers::Layers;
use gatepass::config::policy::export::{ExportedPolicy, POLICY_WAIT, PolicyChoices};
use gatepass::config::profile::ProfileName;
use gatepass::config::settings::Settings;
use gatepass::config::{Sources, UserFile};
use gatepass_host::plan::Scheme;
use gatepass_host::{HostPlan, Notes, Target, claude_desktop, time_to_live};

/// The configuration of that organisation's administrator.
const CONFIGURATION: &str = "\
display_name = 'Example Corp'
support_text = 'ask #it-help'
issuer = 'https://idp.example.com'
client_id = 'gatepass'
gateway_url = 'https://gateway.example.com'
";

/// How long that organisation's tokens live, in seconds.
const LIFETIME: Option<u64> = Some(3600);

/// The files, by their path in the repository.
pub(super) fn all() -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let document = Document::parse(CONFIGURATION.as_bytes()).map_err(|problem| problem.what)?;
    let sources = Sources {
        policy: None,
        file: UserFile {
            path: PathBuf::new(),
            document: Some(document),
        },
    };
    let profile = ProfileName::default();
    let layers = Layers::new(&sources, &profile).map_err(|failure| failure.what)?;
    let settings = Settings::resolve(&layers, &profile).map_err(|failure| failure.what)?;
    let example = |target, format| {
        let mut notes = Notes::default();
        let ttl = time_to_live(LIFETIME);
        let policy = ExportedPolicy::new(
            &layers,
            &profile,
            ttl,
            target,
            PolicyChoices::default(),
            &mut notes,
        );
        let plan = HostPlan {
            target,
            program: None,
            profile: None,
            use_args: false,
            organisation: settings.display_name.clone(),
            base_url: settings.gateway_url.clone().unwrap_or_default(),
            scheme: Scheme::Bearer,
            ttl,
            wait: POLICY_WAIT,
            min_validity: None,
            models: vec![
                "claude-sonnet-4-5".to_owned(),
                "claude-haiku-4-5".to_owned(),
            ],
            headers: Vec::new(),
            configured_headers: Vec::new(),
            secret_headers: Vec::new(),
            extra: Vec::new(),
            servers: Vec::new(),
            telemetry: None,
            policy: Some(policy.payload()),
        };
        let made = (claude_desktop::INFO.write)(&plan, format, &mut notes);
        let bytes = made.and_then(|made| made.document.to_bytes());
        let bytes = bytes.map_err(|error| error.to_string())?;
        if !notes.0.is_empty() {
            return Err(notes.0.join("\n"));
        }
        Ok(bytes)
    };
    Ok(vec![
        (
            "packaging/macos/example.mobileconfig",
            example(Target::Macos, "mobileconfig")?,
        ),
        (
            "packaging/windows/example.reg",
            example(Target::Windows, "reg")?,
        ),
        (
            "packaging/mdm/intune/example.json",
            example(Target::Windows, "intune")?,
        ),
    ])
}
