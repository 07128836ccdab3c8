//! `gatepass export`: writes a host's configuration, and finds what is wrong with one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use gatepass_host::document::LibraryEntry;
use gatepass_host::lint::{Context, Severity};
use gatepass_host::plan::Scheme;
use gatepass_host::value::Members;
use gatepass_host::{
    ConfigDocument, ErrorKind, Export, FileMode, Format, HOSTS, HostInfo, HostPlan, Notes, Object,
    Target, time_to_live,
};
use serde_json::Value;
use url::Url;

use super::args::{Args, ExportArgs};
use super::files;
use super::run::profile;
use crate::config::layers::Layers;
use crate::config::policy::export::{ExportedPolicy, POLICY_WAIT, PolicyChoices};
use crate::config::profile::ProfileName;
use crate::config::settings::{AuthScheme, Kind, Settings};
use crate::config::{self, Sources, UserFile};
use crate::error::{Failure, Id, Result};
use crate::usecase::host_lint;
use crate::{output, text, usecase};

impl From<gatepass_host::Error> for Failure {
    fn from(error: gatepass_host::Error) -> Self {
        let id = match error.kind {
            ErrorKind::Usage => Id::Usage,
            ErrorKind::Config => Id::Config,
        };
        Self::new(id, error.what, error.remedy)
    }
}

pub(super) fn run(args: &Args, export: &ExportArgs) -> Result<()> {
    match (export.host, &export.check) {
        (Some(host), _) => write(args, export, host),
        (None, Some(file)) => check(args, file),
        (None, None) => Err(Failure::new(
            Id::Usage,
            "export needs a host, or --check FILE",
            format!("gatepass export {}", host_names()),
        )),
    }
}

/// The hosts, for people.
fn host_names() -> String {
    let names: Vec<&str> = HOSTS.iter().map(|host| host.name).collect();
    names.join(", ")
}

/// Largest file that is checked, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Every problem of a file that is there.
fn check(args: &Args, path: &Path) -> Result<()> {
    let shown = path.display();
    let unreadable = |what: String| {
        Failure::config(
            format!("{shown} cannot be read: {what}"),
            "give --check the file that the host reads",
        )
    };
    let about = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    // A pipe or a device has no end.
    if !about.is_file() {
        return Err(unreadable("it is not a plain file".to_owned()));
    }
    if about.len() > LIMIT {
        return Err(unreadable("it is too large".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let found = host_lint::check(&bytes, &context(args));
    let report: String = found.iter().map(|finding| format!("{finding}\n")).collect();
    let errors: Vec<_> = found
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    let Some(first) = errors.first() else {
        let last = match found.len() {
            0 => format!("{shown}: no problem found\n"),
            1 => format!("{shown}: no problem found, one warning\n"),
            more => format!("{shown}: no problem found, {more} warnings\n"),
        };
        return output::print(format!("{report}{last}").as_bytes());
    };
    output::print(report.as_bytes())?;
    let key = if first.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", first.key)
    };
    Err(Failure::config(
        format!("{shown}: {key}{} ({} in all)", first.what, errors.len()),
        &first.remedy,
    ))
}

/// What this machine's configuration says beside the file. A missing or broken one says nothing.
fn context(args: &Args) -> Context {
    let mut context = Context {
        look_for_programs: true,
        ..Context::default()
    };
    let Ok(sources) = Sources::read(args.config.as_deref()) else {
        return context;
    };
    context.profiles = sources.profiles().iter().map(ToString::to_string).collect();
    let settings = profile(args).and_then(|profile| config::load(&sources, &profile));
    if let Ok(settings) = settings {
        context.token_lifetime = usecase::lifetime::of_tokens(&settings);
        context.min_validity = (settings.kind != Kind::Key).then_some(settings.min_validity);
        context.gateway_url.clone_from(&settings.gateway_url);
        context.interactive_timeout = Some(settings.interactive_timeout.as_secs());
    }
    context
}

fn write(args: &Args, export: &ExportArgs, host: &HostInfo) -> Result<()> {
    let sources = Sources::read(args.config.as_deref())?;
    let profile = profile(args)?;
    let layers = Layers::new(&sources, &profile)?;
    let settings = Settings::resolve(&layers, &profile)?;
    for (option, given) in [
        ("--lock-all", export.lock_all),
        ("--with-client-secret", export.with_client_secret),
    ] {
        if given && !export.with_policy {
            return Err(Failure::new(
                Id::Usage,
                format!("{option} is about gatepass's policy, which only --with-policy writes"),
                format!("gatepass export {} --with-policy {option}", host.name),
            ));
        }
    }
    let (format, target) = format(export, host)?;
    let mut notes = Notes::default();
    let mut plan = plan(export, host, &settings, target, &mut notes)?;
    let policy = export.with_policy.then(|| {
        let choices = PolicyChoices {
            lock_all: export.lock_all,
            client_secret: export.with_client_secret,
        };
        let policy = ExportedPolicy::new(&layers, &profile, plan.ttl, target, choices, &mut notes);
        try_out(&policy, &profile, &mut notes);
        for other in sources.profiles().iter().filter(|name| **name != profile) {
            notes.say(format!(
                "the policy holds the profile {profile} and not {other}: export that one as well if people need it"
            ));
        }
        policy
    });
    plan.policy = policy.as_ref().map(ExportedPolicy::payload);
    let made = (host.write)(&plan, format.name, &mut notes)?;
    // What is written now must be right; what was in a file before is only remarked.
    let context = Context {
        target: Some(target),
        gateway_url: settings.gateway_url.clone(),
        receivers: Some(export.send_token_to.clone()),
        ..Context::default()
    };
    judge(&made.document.to_judge()?, &context, &mut notes)?;
    // On Linux the policy is a file of its own: beside the host's, or shown where that is printed.
    let policy = policy
        .filter(|_| target == Target::Linux)
        .map(|policy| policy.to_toml());
    match (&export.output, &policy) {
        (None, _) => print(&made, &mut notes)?,
        (Some(path), None) => save(&made, path, target, &mut notes)?,
        (Some(path), Some(text)) => {
            let beside = path.with_file_name("policy.toml");
            files::create(&beside, text.as_bytes(), FileMode::Everyone)?;
            save(&made, path, target, &mut notes).inspect_err(|_| {
                // The host's file without the policy would be half an export.
                let _ = std::fs::remove_file(&beside);
            })?;
            notes.say(format!(
                "{} is gatepass's policy: install it as /etc/gatepass/policy.toml, owned by root",
                beside.display()
            ));
        }
    }
    tell(&notes);
    if let (None, Some(text)) = (&export.output, policy) {
        let shown = format!(
            "gatepass: note: gatepass's policy, for /etc/gatepass/policy.toml:\n\n{text}\n"
        );
        // A closed standard error changes nothing about the export.
        let _ = std::io::stderr().write_all(shown.as_bytes());
    }
    Ok(())
}

/// What a machine would say that has this policy and nothing else.
fn try_out(policy: &ExportedPolicy, profile: &ProfileName, notes: &mut Notes) {
    let alone = config::policy::Policy::parse(policy.to_toml().as_bytes()).map(|policy| Sources {
        policy: Some(policy),
        file: UserFile {
            path: PathBuf::new(),
            document: None,
        },
    });
    let problems: Vec<String> = match alone {
        Err(problems) => problems.into_iter().map(|problem| problem.what).collect(),
        Ok(sources) => match Layers::new(&sources, profile)
            .map_err(|failure| vec![failure])
            .and_then(|layers| Settings::resolve_all(&layers, profile))
        {
            Ok(_) => Vec::new(),
            Err(failures) => failures.into_iter().map(|failure| failure.what).collect(),
        },
    };
    for problem in problems {
        notes.warn(format!(
            "with this policy alone gatepass would not run: {problem}"
        ));
    }
}

/// The form and the system it is for.
fn format(export: &ExportArgs, host: &HostInfo) -> Result<(&'static Format, Target)> {
    let format = match export.format {
        None => host.usual_format(export.system.unwrap_or(Target::here())),
        Some(name) => host.format(name),
    };
    let Some(format) = format else {
        let words: Vec<&str> = host.formats.iter().map(|format| format.name).collect();
        return Err(Failure::new(
            Id::Usage,
            format!(
                "there is no format {} of {}",
                export.format.unwrap_or_default(),
                host.name
            ),
            format!("--format {}", words.join(", ")),
        ));
    };
    let target = match (format.target, export.system) {
        (Some(fixed), Some(asked)) if fixed != asked => {
            return Err(Failure::new(
                Id::Usage,
                format!(
                    "--format {} is for {}, and --for says {}",
                    format.name,
                    fixed.name(),
                    asked.name()
                ),
                "leave one of them out",
            ));
        }
        (Some(fixed), _) => fixed,
        (None, asked) => asked.unwrap_or(Target::here()),
    };
    if export.with_policy && !format.carries_policy {
        return Err(Failure::new(
            Id::Usage,
            format!(
                "--with-policy does not go with {} --format {}",
                host.name, format.name
            ),
            "gatepass export claude-desktop --with-policy --format mobileconfig, reg, intune or linux",
        ));
    }
    Ok((format, target))
}

fn plan(
    export: &ExportArgs,
    host: &HostInfo,
    settings: &Settings,
    target: Target,
    notes: &mut Notes,
) -> Result<HostPlan> {
    let bare = host.name == "claude-code" && target == Target::Windows;
    if let Some(path) = &export.helper_path
        && !bare
        && !target.is_absolute(path)
    {
        return Err(Failure::new(
            Id::Usage,
            format!(
                "--helper-path {path} is not an absolute path on {}; hosts expand neither ~ nor variables",
                target.name()
            ),
            format!("--helper-path '{}'", target.installed()),
        ));
    }
    let base_url = base_url(settings)?;
    for (name, url) in &export.mcp {
        receiver(&format!("--mcp {name}"), url, &base_url, export)?;
    }
    if let Some(url) = &export.otel_endpoint {
        receiver("--otel-endpoint", url, &base_url, export)?;
    }
    let headers = export.header.iter().cloned().collect();
    config::header_names::check_headers(&headers).map_err(|reason| {
        Failure::new(
            Id::Usage,
            reason.replace('%', "--header"),
            "give --header NAME=VALUE with a name that the gateway defines",
        )
    })?;
    let lifetime = export
        .token_lifetime
        .or_else(|| usecase::lifetime::of_tokens(settings));
    let ttl = time_to_live(lifetime);
    // A pasted key has no end that gatepass knows of.
    if settings.kind != Kind::Key {
        about_lifetime(lifetime, ttl, notes);
    }
    about_program(export, target, bare, notes);
    let profile = &settings.profile;
    Ok(HostPlan {
        target,
        program: export.helper_path.clone(),
        profile: (!profile.is_default()).then(|| profile.to_string()),
        use_args: export.use_args,
        organisation: settings.display_name.clone(),
        base_url,
        scheme: match settings.auth_scheme {
            AuthScheme::Bearer => Scheme::Bearer,
            AuthScheme::XApiKey => Scheme::XApiKey,
        },
        ttl,
        wait: if export.with_policy {
            POLICY_WAIT
        } else {
            settings.interactive_timeout.as_secs()
        },
        min_validity: (!export.with_policy && settings.kind != Kind::Key)
            .then_some(settings.min_validity),
        models: export.model.clone(),
        headers: export.header.clone(),
        configured_headers: settings.headers.clone().into_iter().collect(),
        secret_headers: settings.secret_headers.clone(),
        extra: export
            .set
            .iter()
            .map(|(name, value)| (name.clone(), further_value(value)))
            .collect(),
        servers: export.mcp.clone(),
        telemetry: export.otel_endpoint.clone(),
        policy: None,
    })
}

/// The gateway's address, as the hosts want it.
fn base_url(settings: &Settings) -> Result<String> {
    let Some(url) = &settings.gateway_url else {
        return Err(Failure::config(
            "`gateway_url` is not configured, and the host must know the gateway",
            "add gateway_url = \"https://gateway.example.com\" to the configuration, without /v1",
        ));
    };
    settings.check_gateway_url()?;
    Ok(url.clone())
}

/// An address that is to get the gateway's token. The server there could use the gateway as each user, so another
/// host than the gateway's must be named explicitly.
fn receiver(option: &str, url: &str, gateway: &str, export: &ExportArgs) -> Result<()> {
    config::address::check_url(url).map_err(|reason| {
        Failure::new(
            Id::Usage,
            format!("{option}: the address {reason}"),
            "give an address such as https://gateway.example.com/mcp",
        )
    })?;
    let place = |text: &str| {
        let url = Url::parse(text).ok()?;
        Some((url.host_str()?.to_owned(), url.port_or_known_default()))
    };
    let asked = place(url);
    if asked.is_some() && asked == place(gateway) {
        return Ok(());
    }
    let host = asked.map(|(host, _)| host).unwrap_or_default();
    if export
        .send_token_to
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(&host))
    {
        return Ok(());
    }
    Err(Failure::new(
        Id::Usage,
        format!(
            "{option}: {url} is on another host than the gateway, and that host could use the gateway with each person's token"
        ),
        format!("add --send-token-to {host} if that is meant"),
    ))
}

/// Whether the program that the host is told to run is there, where that can be seen.
fn about_program(export: &ExportArgs, target: Target, bare: bool, notes: &mut Notes) {
    let program = export.helper_path.as_deref().unwrap_or(target.installed());
    if bare || target != Target::here() || Path::new(program).exists() {
        return;
    }
    let here = std::env::current_exe().and_then(|path| path.canonicalize());
    let here = here.map_or_else(
        |_| "--helper-path \"$(realpath gatepass)\"".to_owned(),
        |path| format!("--helper-path '{}'", path.display()),
    );
    notes.warn(format!(
        "there is no {program} on this system; for this machine's own gatepass add {here}"
    ));
}

/// How long the host may keep a token, and why.
fn about_lifetime(lifetime: Option<u64>, ttl: u64, notes: &mut Notes) {
    match lifetime {
        None => notes.say(format!(
            "how long tokens live is not known here (nobody is signed in): {ttl} seconds fit tokens that live 450 or longer; --token-lifetime says it"
        )),
        Some(life) if life < ttl + 150 => notes.warn(format!(
            "tokens live {life} seconds only; the host may use one that has ended now and then"
        )),
        Some(_) => (),
    }
}

/// What is JSON is taken as JSON, everything else as a string.
fn further_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// The export is judged like any other file: what would not work is not handed out.
fn judge(bytes: &[u8], context: &Context, notes: &mut Notes) -> Result<()> {
    for finding in host_lint::check(bytes, context) {
        match finding.severity {
            Severity::Error => {
                return Err(Failure::config(
                    format!("{}: {}", finding.key, finding.what),
                    finding.remedy,
                ));
            }
            // Said before, with more detail.
            Severity::Warning if finding.key.ends_with("inferenceModels") => (),
            Severity::Warning => {
                notes.warn(format!(
                    "{}: {} ({})",
                    finding.key, finding.what, finding.remedy
                ));
            }
        }
    }
    Ok(())
}

fn print(made: &Export, notes: &mut Notes) -> Result<()> {
    if let Some(LibraryEntry { id, name, folder }) = &made.entry {
        notes.say(format!(
            "this belongs into {folder}{id}.json, with {{\"id\":\"{id}\",\"name\":{}}} under entries in _meta.json; --output FOLDER writes both",
            Value::from(name.as_str()),
        ));
    }
    output::print(&made.document.to_bytes()?)
}

fn save(made: &Export, path: &Path, target: Target, notes: &mut Notes) -> Result<()> {
    match &made.entry {
        None => merge(path, &made.document, made.mode, target, notes)?,
        Some(entry) => save_entry(path, entry, made, target, notes)?,
    }
    notes.say(format!("wrote {}", path.display()));
    Ok(())
}

/// Writes a file, or merges the document into the one that is there.
fn merge(
    path: &Path,
    document: &ConfigDocument,
    mode: FileMode,
    target: Target,
    notes: &mut Notes,
) -> Result<()> {
    if !document.can_merge() {
        return files::create(path, &document.to_bytes()?, mode);
    }
    let Some(text) = files::present(path)?.filter(|text| !text.trim().is_empty()) else {
        if path.exists() {
            return files::replace(path, &document.to_bytes()?);
        }
        return files::create(path, &document.to_bytes()?, mode);
    };
    let unchanged = |failure: Failure| Failure {
        what: format!("{} is not changed: {}", path.display(), failure.what),
        ..failure
    };
    let merged = document.merge_into(&text, notes);
    let Some(merged) = merged.map_err(|error| unchanged(error.into()))? else {
        notes.say("the provider is there already");
        return Ok(());
    };
    let context = Context {
        target: Some(target),
        ..Context::default()
    };
    judge(merged.as_bytes(), &context, notes).map_err(unchanged)?;
    files::replace(path, merged.as_bytes())
}

/// An entry of a configuration library, and its line in the list. A name that ends in `.json` is the entry's own.
fn save_entry(
    path: &Path,
    entry: &LibraryEntry,
    made: &Export,
    target: Target,
    notes: &mut Notes,
) -> Result<()> {
    let is_file = path
        .extension()
        .is_some_and(|extension| extension == "json")
        && !path.is_dir();
    let (folder, file, id) = if is_file {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        if !LibraryEntry::is_id(stem) {
            notes.say(format!(
                "Claude Desktop reads entries named by their id: call it {}.json in {}",
                entry.id, entry.folder
            ));
            return merge(path, &made.document, made.mode, target, notes);
        }
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        (folder, path.to_owned(), stem)
    } else {
        if !path.exists() {
            crate::platform::files::PrivateDir::create(path).map_err(|reason| {
                Failure::config(
                    format!("{} cannot be used: {reason}", path.display()),
                    "give --output a folder of your own",
                )
            })?;
        }
        let id = entry.id.as_str();
        (path.to_owned(), path.join(format!("{id}.json")), id)
    };
    merge(&file, &made.document, made.mode, target, notes)?;
    let list: PathBuf = folder.join("_meta.json");
    let present = files::present(&list)?.filter(|text| !text.trim().is_empty());
    let mut meta = match &present {
        Some(text) => library(&list, text)?,
        None => Object::new(),
    };
    let listed = LibraryEntry {
        id: id.to_owned(),
        ..entry.clone()
    };
    if !listed.list_in(&mut meta) {
        notes.warn("another entry is applied: choose this one in Claude Desktop's window for third-party inference");
    }
    let text = meta.pretty();
    if list.exists() {
        files::replace(&list, text.as_bytes())
    } else {
        files::create(&list, text.as_bytes(), made.mode)
    }
}

/// The list of a configuration library.
fn library(path: &Path, text: &str) -> Result<Object> {
    serde_json::from_str(text).map_err(|error| {
        Failure::config(
            format!(
                "{} is not changed: it is no JSON object: {error}",
                path.display()
            ),
            "correct it, or give --output another name",
        )
    })
}

/// Longest note, in characters.
const LONGEST_NOTE: usize = 20_000;

/// What a person should know, beside the document on standard output.
pub(super) fn tell(notes: &Notes) {
    let lines: String = notes
        .0
        .iter()
        .map(|note| format!("gatepass: {}\n", text::printable(note, LONGEST_NOTE)))
        .collect();
    // A closed standard error changes nothing about the export.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
