//! A policy as large as a large organisation writes it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gatepass_testkit::lab::PolicyFolder;

use crate::process::find;

/// So long is the policy, in bytes.
const POLICY: usize = 16 * 1024;

/// A policy that has something to say about dozens of profiles, and little about the one that is used.
fn policy() -> String {
    let mut text = "schema = 1\n\n[locked]\nnotify = false\n".to_owned();
    let mut number = 0;
    while text.len() < POLICY {
        let _ = write!(
            text,
            "\n# Team {number} of the organisation.\n[locked.profile.team-{number:04}]\ndisplay_name = \"Team {number}\"\n\
             support_text = \"extension {number}, or the desk on the {}th floor\"\naudience = \"https://api-{number}.example/\"\n\
             headers = {{ X-Team = \"team-{number}\", X-Cost-Centre = \"{}\" }}\n",
            number % 30,
            number * 7
        );
        number += 1;
    }
    text
}

/// A mount namespace in which there is such a policy, for as long as this is held. Only root can make one.
pub(super) struct Machine {
    keeper: Child,
    _policy: PolicyFolder,
}

impl Machine {
    pub(super) fn with_policy() -> Result<Self, String> {
        let policy = PolicyFolder::new(&policy());
        let [program, first @ ..] = policy.command();
        let mut keeper = Command::new(program)
            .args(first)
            .args(["/bin/sh", "-c", "echo ready; exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("unshare cannot be started: {e}"))?;
        let mut said = String::new();
        if let Some(output) = keeper.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut said);
        }
        let machine = Self {
            keeper,
            _policy: policy,
        };
        match said.trim() {
            "ready" => Ok(machine),
            _ => Err("only root can show a run another policy".to_owned()),
        }
    }

    /// The same command on this machine.
    pub(super) fn run(&self, command: &Command) -> Result<Command, String> {
        enter(&format!("/proc/{}/ns/mnt", self.keeper.id()), command)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The same command where it is, started in the same way: what is compared differs in the policy alone.
pub(super) fn run_here(command: &Command) -> Result<Command, String> {
    enter("/proc/self/ns/mnt", command)
}

fn enter(namespace: &str, command: &Command) -> Result<Command, String> {
    let nsenter = find("nsenter").ok_or("nsenter is not installed")?;
    let mut wrapped = Command::new(nsenter);
    wrapped
        .arg(format!("--mount={namespace}"))
        .arg(Path::new(command.get_program()))
        .args(command.get_args())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    Ok(wrapped)
}

#[cfg(test)]
mod tests {
    use gatepass::config::policy::Policy;

    use super::{POLICY, policy};

    #[test]
    fn the_policy_is_in_order_and_large() {
        let text = policy();
        assert!((POLICY..POLICY + 512).contains(&text.len()));
        assert!(Policy::parse(text.as_bytes()).is_ok());
    }
}
