//! Completions and the man page, made from the same definition that parses the command line.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::args::Args;
use crate::error::{Failure, Result};
use crate::output;

/// The command line without what only gatepass itself says: generators would offer hidden commands and options, too.
fn public() -> Command {
    let full = Args::command();
    public_part("gatepass", &full)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
}

/// A command with its visible options and commands. What clap was told about groups of options only its parser needs.
fn public_part(name: &'static str, full: &Command) -> Command {
    let options = full.get_arguments().filter(|option| !option.is_hide_set());
    let commands = full
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let mut public = Command::new(name)
        .args(options.cloned())
        .subcommands(commands.map(|command| {
            // clap keeps names for as long as the program runs, and tells them for as long as the command is there.
            public_part(command.get_name().to_owned().leak(), command)
        }));
    if let Some(about) = full.get_about() {
        public = public.about(about.clone());
    }
    if let Some(after) = full.get_after_help() {
        public = public.after_help(after.clone());
    }
    public
}

/// Prints the completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut public(), "gatepass", &mut script);
    output::print(&script)
}

/// Prints one page with every command on it: users do not look for `man gatepass-config-init`.
pub(super) fn man() -> Result<()> {
    let page = page().map_err(|error| Failure::internal(error.to_string()))?;
    output::print(&page)
}

fn page() -> std::io::Result<Vec<u8>> {
    let command = public();
    let top = Man::new(command.clone())
        .section("1")
        .source(format!("gatepass {}", env!("CARGO_PKG_VERSION")))
        .manual("gatepass");
    let mut page = Vec::new();
    top.render_title(&mut page)?;
    top.render_name_section(&mut page)?;
    top.render_synopsis_section(&mut page)?;
    top.render_description_section(&mut page)?;
    top.render_options_section(&mut page)?;
    Roff::new()
        .control("SH", ["COMMANDS"])
        .to_writer(&mut page)?;
    for sub in command.get_subcommands() {
        describe("gatepass", sub, &mut page)?;
    }
    section("NOTES", &verbatim(command.get_after_help()), &mut page)?;
    for (title, text) in APPENDIX {
        section(title, text, &mut page)?;
    }
    Ok(page)
}

/// A command with its options and examples, then those below it.
fn describe(path: &str, command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let path = format!("{path} {}", command.get_name());
    let own: Vec<&Command> = command.get_subcommands().collect();
    if own.is_empty() {
        let mut head = Roff::new();
        head.control("SS", [path.as_str()]);
        if let Some(about) = command.get_about() {
            head.text([roman(format!("{about}."))]);
        }
        head.to_writer(page)?;
        let mut options = Vec::new();
        let plain = command.clone().disable_help_flag(true);
        if plain.get_arguments().next().is_some() {
            Man::new(plain).render_options_section(&mut options)?;
        }
        // The generator makes this a section of its own; here it belongs to the command.
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
        page.extend_from_slice(options.as_bytes());
        let after = verbatim(command.get_after_help());
        if !after.is_empty() {
            preformatted(&after).to_writer(page)?;
        }
    }
    for sub in own {
        describe(&path, sub, page)?;
    }
    Ok(())
}

fn verbatim(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn section(title: &str, text: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    Roff::new().control("SH", [title]).to_writer(page)?;
    preformatted(text).to_writer(page)
}

/// Text whose line breaks mean something.
fn preformatted(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("PP", []).control("nf", []);
    for line in text.lines() {
        // An empty line in running text would be a paragraph; here it is a line like any other.
        roff.text([roman(if line.is_empty() { " " } else { line })]);
    }
    roff.control("fi", []);
    roff
}

/// What belongs on a man page and on no help page.
const APPENDIX: [(&str, &str); 3] = [
    (
        "ENVIRONMENT",
        "\
GATEPASS_PROFILE  the profile, if neither --profile nor a link named gatepass-NAME says it
GATEPASS_LOG      error, warn, info or debug: say on standard error what is done
NO_COLOR          no colours",
    ),
    (
        "FILES",
        "\
Linux    ~/.config/gatepass/config.toml, ~/.local/state/gatepass
macOS    ~/Library/Application Support/gatepass
Windows  %APPDATA%\\gatepass\\config.toml, %USERPROFILE%\\.gatepass

gatepass config path prints the one in use.",
    ),
    ("SEE ALSO", "https://github.com/gatepass/gatepass"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_man_page_has_every_command_that_people_run_and_no_other() {
        let page = text(page().unwrap());
        for command in ["token", "login", "logout", "status", "doctor"] {
            assert!(page.contains(&format!("gatepass {command}")), "{command}");
        }
        assert!(page.contains("\n.SS \"gatepass config init\"\n"), "{page}");
        assert!(page.contains("min\\-validity"), "options are there");
        assert!(
            !page.contains("detached"),
            "the worker is no command for users"
        );
        assert_eq!(page.matches(".SH OPTIONS").count(), 1);
    }

    #[test]
    fn completions_offer_nothing_hidden() {
        use clap_complete::Shell::{Bash, Elvish, Fish, PowerShell, Zsh};
        for shell in [Bash, Elvish, Fish, PowerShell, Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut public(), "gatepass", &mut script);
            let script = text(script);
            assert!(script.contains("doctor"), "{shell}");
            assert!(script.contains("force-refresh"), "{shell}");
            for hidden in ["detached", "asker"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
        }
    }
}
