//! Handing a command over to the Windows binary, where this Linux is inside Windows (`wsl`).

use std::ffi::OsString;

use super::args::{Args, Command, HandedOverAsker};
use super::run;
use crate::caller::CallerOption;
use crate::config::Sources;
use crate::config::layers::Layers;
use crate::config::profile::ProfileName;
use crate::config::schema::Key;
use crate::config::value::ConfigValue;
use crate::error::Result;
use crate::platform::wsl;

/// Becomes the Windows binary, if this command is about a session and the session is Windows's. Comes back where it
/// is ours.
pub(super) fn hand_over(args: &Args, arguments: &[OsString]) -> Result<()> {
    if !wsl::may_be() || !is_about_a_session(args) {
        return Ok(());
    }
    let Some(binary) = wsl::windows_binary()? else {
        return Ok(());
    };
    let profile = run::profile(args)?;
    if is_separate(&profile)? {
        return Ok(());
    }
    let mut given: Vec<OsString> = arguments.iter().skip(1).cloned().collect();
    // A profile that the name of a link or the environment has chosen, Windows would not see.
    if args.profile.is_none() && !profile.is_default() {
        given.extend(["--profile".into(), profile.as_str().into()]);
    }
    if let Some(asker) = asker(args) {
        given.extend(["--asker".into(), asker.to_string().into()]);
    }
    Err(wsl::become_windows(binary, given))
}

/// Which process asks, where that matters: the Windows side sees no Linux processes.
fn asker(args: &Args) -> Option<HandedOverAsker> {
    let Some(Command::Token(token)) = &args.command else {
        return None;
    };
    matches!(token.caller, CallerOption::ClaudeCode | CallerOption::Codex)
        .then(|| HandedOverAsker(run::asker(token)))
}

/// Files that people write and read are on this side, and so is `--config`.
fn is_about_a_session(args: &Args) -> bool {
    let command = matches!(
        &args.command,
        None | Some(
            Command::Token(_)
                | Command::Login(_)
                | Command::Logout { .. }
                | Command::Status { .. }
                | Command::Doctor(_)
        )
    );
    command && args.config.is_none()
}

/// What the configuration on this side says. There need be none, and it need not know the profile.
fn is_separate(profile: &ProfileName) -> Result<bool> {
    let sources = Sources::read(None)?;
    let layers = Layers::new(&sources, profile)
        .or_else(|_| Layers::new(&sources, &ProfileName::default()))?;
    let effective = Key::find("wsl").and_then(|key| layers.effective(key));
    Ok(effective.is_some_and(|(value, _)| *value == ConfigValue::from("separate")))
}
