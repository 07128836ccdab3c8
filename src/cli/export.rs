//! `gatepass export`: writes a host's configuration, and finds what is wrong with one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::args::{self, Args, ExportArgs, ExportFormat, ExportHost};
use super::run::profile;
use crate::config::layers::Layers;
use crate::config::profile::ProfileName;
use crate::config::settings::Settings;
use crate::config::{self, Sources, UserFile};
use crate::error::{Failure, Id, Result};
use crate::host::file::{self, Readers};
use crate::host::json::{Json, Object};
use crate::host::lint::{self, Context, Severity};
use crate::host::plan::{Notes, Plan};
use crate::host::policy::Policy;
use crate::host::{Target, claude_code, claude_desktop, codex, intune, mobileconfig, registry};
use crate::{output, usecase};

pub(super) fn run(args: &Args, export: &ExportArgs) -> Result<()> {
    match (export.host, &export.check) {
        (Some(host), _) => write(args, export, host),
        (None, Some(file)) => check(args, file),
        (None, None) => Err(Failure::new(
            Id::Usage,
            "export needs a host, or --check FILE",
            "gatepass export claude-desktop, claude-code or codex",
        )),
    }
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
    let found = lint::check(&bytes, &context(args));
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
        context.min_validity = Some(settings.min_validity);
        context.interactive_timeout = Some(settings.interactive_timeout.as_secs());
    }
    context
}

/// What comes out.
enum Product {
    /// A document of its own, which never replaces a file.
    Whole(Vec<u8>, Readers),
    /// The same, judged already in another form.
    Judged(Vec<u8>, Readers),
    /// JSON that a present file is merged with.
    Json(Object, Readers),
    /// An entry of a configuration library: its id, its name and its content.
    Entry(String, String, Object),
    /// A provider that a present file is merged with.
    Provider(codex::Provider),
}

fn write(args: &Args, export: &ExportArgs, host: ExportHost) -> Result<()> {
    let sources = Sources::read(args.config.as_deref())?;
    let profile = profile(args)?;
    let layers = Layers::new(&sources, &profile)?;
    let settings = Settings::resolve(&layers, &profile)?;
    let (format, target) = format(export, host)?;
    let plan = plan(export, &settings, target)?;
    let mut notes = Notes::default();
    let policy = plan.with_policy.then(|| {
        let ttl = crate::host::time_to_live(plan.token_lifetime);
        let policy = Policy::new(&layers, &profile, ttl, target, &mut notes);
        try_out(&policy, &profile, &mut notes);
        for other in sources.profiles().iter().filter(|name| **name != profile) {
            notes.say(format!(
                "the policy holds the profile {profile} and not {other}: export that one as well if people need it"
            ));
        }
        policy
    });
    let product = match host {
        ExportHost::ClaudeDesktop => desktop(&plan, format, policy.as_ref(), &mut notes)?,
        ExportHost::ClaudeCode => {
            let settings = claude_code::settings(&plan, &mut notes)?;
            match format {
                ExportFormat::Mobileconfig => Product::Whole(
                    claude_code::mobileconfig(&plan, &settings).into_bytes(),
                    Readers::Everybody,
                ),
                ExportFormat::Reg => {
                    Product::Whole(claude_code::reg(&settings), Readers::Everybody)
                }
                ExportFormat::Managed => Product::Json(settings, Readers::Everybody),
                _ => Product::Json(settings, Readers::Owner),
            }
        }
        ExportHost::Codex => Product::Provider(codex::provider(&plan, &mut notes)?),
    };
    judge(&product, &plan, &mut notes)?;
    // On Linux the policy is a file of its own: beside the host's, or shown where that is printed.
    let policy = policy
        .filter(|_| target == Target::Linux)
        .map(|policy| policy.to_toml());
    match (&export.output, policy) {
        (None, policy) => {
            print(&product, target, &mut notes)?;
            if let Some(text) = policy {
                notes.say(format!(
                    "gatepass's policy, for /etc/gatepass/policy.toml:\n\n{text}"
                ));
            }
        }
        (Some(path), None) => save(&product, path, &plan, &mut notes)?,
        (Some(path), Some(text)) => {
            let beside = path.with_file_name("policy.toml");
            file::create(&beside, text.as_bytes(), Readers::Everybody)?;
            save(&product, path, &plan, &mut notes).inspect_err(|_| {
                // One without the other would be half an export.
                let _ = std::fs::remove_file(&beside);
            })?;
            notes.say(format!(
                "{} is gatepass's policy: install it as /etc/gatepass/policy.toml, owned by root",
                beside.display()
            ));
        }
    }
    tell(&notes);
    Ok(())
}

/// What a machine would say that has this policy and nothing else.
fn try_out(policy: &Policy, profile: &ProfileName, notes: &mut Notes) {
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
fn format(export: &ExportArgs, host: ExportHost) -> Result<(ExportFormat, Target)> {
    let usual = |target: Target| match (host, target) {
        (ExportHost::ClaudeDesktop, Target::Linux) => ExportFormat::Linux,
        (ExportHost::ClaudeDesktop, Target::Macos) => ExportFormat::Mobileconfig,
        (ExportHost::ClaudeDesktop, Target::Windows) => ExportFormat::Reg,
        (ExportHost::ClaudeCode, _) => ExportFormat::Settings,
        (ExportHost::Codex, _) => ExportFormat::Toml,
    };
    let format = export
        .format
        .unwrap_or_else(|| usual(export.system.unwrap_or(Target::here())));
    let of_host = host.formats();
    if !of_host.contains(&format) {
        let words: Vec<String> = of_host.iter().map(|format| args::word(*format)).collect();
        return Err(Failure::new(
            Id::Usage,
            format!(
                "there is no format {} of {}",
                args::word(format),
                args::word(host)
            ),
            format!("--format {}", words.join(", ")),
        ));
    }
    let target = match (format.system(), export.system) {
        (Some(fixed), Some(asked)) if fixed != asked => {
            return Err(Failure::new(
                Id::Usage,
                format!(
                    "--format {} is for {}, and --for says {}",
                    args::word(format),
                    fixed.name(),
                    asked.name()
                ),
                "leave one of them out",
            ));
        }
        (Some(fixed), _) => fixed,
        (None, asked) => asked.unwrap_or(Target::here()),
    };
    let carries_policy = host == ExportHost::ClaudeDesktop
        && matches!(
            format,
            ExportFormat::Mobileconfig
                | ExportFormat::Reg
                | ExportFormat::Intune
                | ExportFormat::Linux
        );
    if export.with_policy && !carries_policy {
        return Err(Failure::new(
            Id::Usage,
            format!(
                "--with-policy does not go with {} --format {}",
                args::word(host),
                args::word(format)
            ),
            "gatepass export claude-desktop --with-policy --format mobileconfig, reg, intune or linux",
        ));
    }
    Ok((format, target))
}

fn plan<'s>(export: &ExportArgs, settings: &'s Settings, target: Target) -> Result<Plan<'s>> {
    let bare = export.host == Some(ExportHost::ClaudeCode) && target == Target::Windows;
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
    if !export.mcp.is_empty() && export.host != Some(ExportHost::ClaudeDesktop) {
        return Err(Failure::new(
            Id::Usage,
            "--mcp is for Claude Desktop",
            "gatepass export claude-desktop --mcp NAME=URL",
        ));
    }
    for (name, url) in &export.mcp {
        config::address::check_url(url).map_err(|reason| {
            Failure::new(
                Id::Usage,
                format!("--mcp {name}: the address {reason}"),
                "--mcp NAME=https://mcp.example.com/mcp",
            )
        })?;
    }
    Ok(Plan {
        settings,
        target,
        helper_path: export.helper_path.clone(),
        use_args: export.use_args,
        models: export.model.clone(),
        headers: export.header.clone(),
        further: export
            .set
            .iter()
            .map(|(name, value)| (name.clone(), further_value(value)))
            .collect(),
        servers: export.mcp.clone(),
        token_lifetime: export
            .token_lifetime
            .or_else(|| usecase::lifetime::of_tokens(settings)),
        with_policy: export.with_policy,
    })
}

/// What is JSON is taken as JSON, everything else as a string.
fn further_value(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|_| Json::from(text))
}

fn desktop(
    plan: &Plan<'_>,
    format: ExportFormat,
    policy: Option<&Policy>,
    notes: &mut Notes,
) -> Result<Product> {
    let settings = claude_desktop::settings(plan, notes)?;
    Ok(match format {
        ExportFormat::Mobileconfig => Product::Whole(
            claude_desktop::mobileconfig(plan, &settings, policy).into_bytes(),
            Readers::Everybody,
        ),
        ExportFormat::Reg => Product::Whole(
            registry::write(&claude_desktop::sections(&settings, policy)),
            Readers::Everybody,
        ),
        ExportFormat::Intune => {
            let sections = claude_desktop::sections(&settings, policy);
            judge_bytes(&registry::write(&sections), plan, notes)?;
            let profile = &plan.settings.profile;
            let name = if profile.is_default() {
                ""
            } else {
                profile.as_str()
            };
            let made = intune::write(name, &plan.title("Claude Desktop"), &sections);
            Product::Judged(made.pretty().into_bytes(), Readers::Everybody)
        }
        ExportFormat::ConfigLibrary => Product::Entry(
            mobileconfig::uuid(&claude_desktop::identifier(plan)),
            plan.title("Claude Desktop"),
            settings,
        ),
        ExportFormat::EnterpriseConfig => {
            Product::Json(claude_desktop::enterprise_config(&settings), Readers::Owner)
        }
        ExportFormat::Linux => {
            notes.say("Claude Desktop on Linux reads /etc/claude-desktop/managed-settings.json, which must belong to root and be writable by root alone");
            Product::Json(settings, Readers::Everybody)
        }
        _ => Product::Json(settings, Readers::Everybody),
    })
}

/// The export is judged like any other file: what would not work is not handed out.
fn judge(product: &Product, plan: &Plan<'_>, notes: &mut Notes) -> Result<()> {
    let bytes = match product {
        Product::Judged(..) => return Ok(()),
        Product::Whole(bytes, _) => bytes.clone(),
        Product::Json(object, _) | Product::Entry(_, _, object) => object.pretty().into_bytes(),
        Product::Provider(provider) => provider.to_toml().into_bytes(),
    };
    judge_bytes(&bytes, plan, notes)
}

fn judge_bytes(bytes: &[u8], plan: &Plan<'_>, notes: &mut Notes) -> Result<()> {
    let context = Context {
        target: Some(plan.target),
        ..Context::default()
    };
    for finding in lint::check(bytes, &context) {
        match finding.severity {
            Severity::Error => {
                return Err(Failure::config(
                    format!("{}: {}", finding.key, finding.what),
                    finding.remedy,
                ));
            }
            // Said already, and better.
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

fn print(product: &Product, target: Target, notes: &mut Notes) -> Result<()> {
    match product {
        Product::Whole(bytes, _) | Product::Judged(bytes, _) => output::print(bytes),
        Product::Json(object, _) => output::print(object.pretty().as_bytes()),
        Product::Entry(id, name, object) => {
            notes.say(format!(
                "this belongs into {}{id}.json, with {{\"id\":\"{id}\",\"name\":{}}} under entries in _meta.json; --output FOLDER writes both",
                claude_desktop::library_folder(target),
                Json::from(name.as_str()).compact(),
            ));
            output::print(object.pretty().as_bytes())
        }
        Product::Provider(provider) => output::print(provider.to_toml().as_bytes()),
    }
}

fn save(product: &Product, path: &Path, plan: &Plan<'_>, notes: &mut Notes) -> Result<()> {
    match product {
        Product::Whole(bytes, readers) | Product::Judged(bytes, readers) => {
            file::create(path, bytes, *readers)?
        }
        Product::Json(object, readers) => save_json(path, object, *readers, plan, notes)?,
        Product::Entry(id, name, object) => save_entry(path, id, name, object, plan, notes)?,
        Product::Provider(provider) => match file::present(path)? {
            None => file::create(path, provider.to_toml().as_bytes(), Readers::Owner)?,
            Some(present) => match codex::add_to(&present, provider, notes)? {
                Some(merged) => file::replace(path, merged.as_bytes())?,
                None => notes.say("the provider is there already"),
            },
        },
    }
    notes.say(format!("wrote {}", path.display()));
    Ok(())
}

fn save_json(
    path: &Path,
    ours: &Object,
    readers: Readers,
    plan: &Plan<'_>,
    notes: &mut Notes,
) -> Result<()> {
    let Some(text) = file::present(path)?.filter(|text| !text.trim().is_empty()) else {
        if path.exists() {
            return file::replace(path, ours.pretty().as_bytes());
        }
        return file::create(path, ours.pretty().as_bytes(), readers);
    };
    let mut present = object(path, &text)?;
    file::merge(&mut present, ours, "", notes);
    let merged = present.pretty();
    judge_bytes(merged.as_bytes(), plan, notes).map_err(|mut failure| {
        failure.what = format!("{} is not changed: {}", path.display(), failure.what);
        failure
    })?;
    file::replace(path, merged.as_bytes())
}

fn object(path: &Path, text: &str) -> Result<Object> {
    let refused = |why: &str| {
        Failure::config(
            format!("{} is not changed: {why}", path.display()),
            "correct it, or give --output another name",
        )
    };
    match Json::parse(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(refused("it is no JSON object")),
        Err(error) => Err(refused(&format!("it is no valid JSON: {error}"))),
    }
}

/// An entry of a configuration library, and its line in the list. A name that ends in `.json` is the entry's own.
fn save_entry(
    path: &Path,
    id: &str,
    name: &str,
    ours: &Object,
    plan: &Plan<'_>,
    notes: &mut Notes,
) -> Result<()> {
    let is_file = path
        .extension()
        .is_some_and(|extension| extension == "json")
        && !path.is_dir();
    let (folder, entry, id) = if is_file {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let listed = stem.len() == 36
            && stem
                .chars()
                .all(|c| matches!(c, 'a'..='f' | '0'..='9' | '-'));
        if !listed {
            notes.say(format!(
                "Claude Desktop reads entries named by their id: call it {id}.json in {}",
                claude_desktop::library_folder(plan.target)
            ));
            return save_json(path, ours, Readers::Owner, plan, notes);
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
        (path.to_owned(), path.join(format!("{id}.json")), id)
    };
    save_json(&entry, ours, Readers::Owner, plan, notes)?;
    let list: PathBuf = folder.join("_meta.json");
    let present = file::present(&list)?.filter(|text| !text.trim().is_empty());
    let mut meta = match &present {
        Some(text) => object(&list, text)?,
        None => Object::default(),
    };
    if !claude_desktop::in_library(&mut meta, id, name) {
        notes.warn("another entry is applied: choose this one in Claude Desktop's window for third-party inference");
    }
    let text = meta.pretty();
    if list.exists() {
        file::replace(&list, text.as_bytes())
    } else {
        file::create(&list, text.as_bytes(), Readers::Owner)
    }
}

/// What a person should know, beside the document on standard output.
pub(super) fn tell(notes: &Notes) {
    let text: String = notes
        .0
        .iter()
        .map(|note| format!("gatepass: {note}\n"))
        .collect();
    // A closed standard error changes nothing about the export.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
