//! Policies to start from: what `gatepass export claude-desktop --with-policy` writes for an organisation that is not
//! there.

use std::path::PathBuf;

use gatepass::config::document::Document;
use gatepass::config::layers::Layers;
use gatepass::config::profile::ProfileName;
use gatepass::config::settings::Settings;
use gatepass::config::{Sources, UserFile};
use gatepass::host::plan::{Notes, Plan};
use gatepass::host::policy::Policy;
use gatepass::host::{Target, claude_desktop, intune, registry, time_to_live};

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
    let example = |target| {
        let plan = Plan {
            settings: &settings,
            target,
            helper_path: None,
            use_args: false,
            models: vec![
                "claude-sonnet-4-5".to_owned(),
                "claude-haiku-4-5".to_owned(),
            ],
            headers: Vec::new(),
            further: Vec::new(),
            servers: Vec::new(),
            token_lifetime: LIFETIME,
            with_policy: true,
        };
        let mut notes = Notes::default();
        let policy = Policy::new(
            &layers,
            &profile,
            time_to_live(LIFETIME),
            target,
            &mut notes,
        );
        let told = claude_desktop::settings(&plan, &mut notes).map_err(|failure| failure.what)?;
        if !notes.0.is_empty() {
            return Err(notes.0.join("\n"));
        }
        Ok((plan, told, policy))
    };
    let (mac, told, policy) = example(Target::Macos)?;
    let profile = claude_desktop::mobileconfig(&mac, &told, Some(&policy));
    let (windows, told, policy) = example(Target::Windows)?;
    let sections = claude_desktop::sections(&told, Some(&policy));
    let custom = intune::write("", &windows.title("Claude Desktop"), &sections);
    Ok(vec![
        ("packaging/macos/example.mobileconfig", profile.into_bytes()),
        ("packaging/windows/example.reg", registry::write(&sections)),
        (
            "packaging/mdm/intune/example.json",
            custom.pretty().into_bytes(),
        ),
    ])
}
