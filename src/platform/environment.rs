//! What kind of desktop or terminal session this is: whether the user would see a browser that we open, and if not, why.

#[cfg(target_os = "linux")]
use std::path::Path;

/// The kind of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// A desktop of this machine.
    Desktop,
    /// A desktop whose screen is somewhere else: the browser opens there, but may be another machine's.
    RemoteDesktop,
    /// Reached over SSH: a browser would open on the wrong machine, or nowhere.
    Ssh,
    /// Linux inside Windows: the person's browser is a Windows program.
    Wsl,
    /// A container without a display.
    Container,
    /// No graphical session (server, bare environment).
    NoDisplay,
}

/// What can be seen of the session.
#[derive(Clone, Copy, Debug, Default)]
struct EnvironmentSigns {
    has_display: bool,
    ssh: bool,
    wsl: bool,
    container: bool,
    remote_desktop: bool,
}

/// Variables that programs for remote desktops set.
const REMOTE_DESKTOPS: [&str; 5] = [
    "XRDP_SESSION",
    "VNCDESKTOP",
    "X2GO_SESSION",
    "NXSESSIONID",
    "CITRIX_SESSION_ID",
];

impl Environment {
    /// Looks at this process's environment. This costs some system calls, so only sign-ins do it.
    pub fn look() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let ssh = set("SSH_CONNECTION") || set("SSH_TTY");
        // Windows and macOS have one desktop; a user who comes over SSH does not sit in front of it.
        let has_display = if cfg!(any(windows, target_os = "macos")) {
            !ssh
        } else {
            set("DISPLAY") || set("WAYLAND_DISPLAY")
        };
        let windows_session = std::env::var_os("SESSIONNAME").filter(|_| cfg!(windows));
        let is_far = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy().to_ascii_uppercase();
            name.starts_with("RDP-") || name.starts_with("ICA-")
        };
        Self::recognise(EnvironmentSigns {
            has_display,
            ssh,
            wsl: is_wsl(),
            container: is_container(),
            remote_desktop: REMOTE_DESKTOPS.into_iter().any(set)
                || windows_session.as_ref().is_some_and(is_far),
        })
    }

    fn recognise(signs: EnvironmentSigns) -> Self {
        match signs {
            EnvironmentSigns { wsl: true, .. } => Self::Wsl,
            // With a display (X forwarding), the user sees a browser.
            EnvironmentSigns {
                ssh: true,
                has_display: false,
                ..
            } => Self::Ssh,
            EnvironmentSigns {
                has_display: false,
                container: true,
                ..
            } => Self::Container,
            EnvironmentSigns {
                has_display: false, ..
            } => Self::NoDisplay,
            EnvironmentSigns {
                remote_desktop: true,
                ..
            } => Self::RemoteDesktop,
            _ => Self::Desktop,
        }
    }

    /// Whether the user sees a browser that we open.
    pub fn shows_browsers(self) -> bool {
        matches!(self, Self::Desktop | Self::RemoteDesktop)
    }

    /// For people: what follows "since".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Desktop => "this is a desktop session",
            Self::RemoteDesktop => "this is a remote desktop",
            Self::Ssh => "this is an SSH session",
            Self::Wsl => "this is Linux inside Windows (WSL)",
            Self::Container => "this is a container without a display",
            Self::NoDisplay => "this session has no display",
        }
    }
}

/// Whether the kernel is that of the Windows Subsystem for Linux.
#[cfg(target_os = "linux")]
pub fn is_wsl() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .is_ok_and(|release| release.to_ascii_lowercase().contains("microsoft"))
}

/// Whether the kernel is that of the Windows Subsystem for Linux.
#[cfg(not(target_os = "linux"))]
pub fn is_wsl() -> bool {
    false
}

/// What Docker and Podman put into a container's root, and what systemd-nspawn and LXC say in the environment.
#[cfg(target_os = "linux")]
fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .into_iter()
        .any(|sign| Path::new(sign).exists())
        || std::env::var_os("container").is_some_and(|value| !value.is_empty())
}

#[cfg(not(target_os = "linux"))]
fn is_container() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::{Environment, EnvironmentSigns};

    #[test]
    fn sessions_are_recognised() {
        let none = EnvironmentSigns::default();
        let display = EnvironmentSigns {
            has_display: true,
            ..none
        };
        for (signs, environment, shows_browsers) in [
            (none, Environment::NoDisplay, false),
            (display, Environment::Desktop, true),
            (
                EnvironmentSigns { ssh: true, ..none },
                Environment::Ssh,
                false,
            ),
            (
                EnvironmentSigns {
                    ssh: true,
                    ..display
                },
                Environment::Desktop,
                true,
            ),
            (
                EnvironmentSigns {
                    wsl: true,
                    ..display
                },
                Environment::Wsl,
                false,
            ),
            (
                EnvironmentSigns {
                    wsl: true,
                    ssh: true,
                    ..none
                },
                Environment::Wsl,
                false,
            ),
            (
                EnvironmentSigns {
                    container: true,
                    ..none
                },
                Environment::Container,
                false,
            ),
            (
                EnvironmentSigns {
                    container: true,
                    ssh: true,
                    ..none
                },
                Environment::Ssh,
                false,
            ),
            (
                EnvironmentSigns {
                    container: true,
                    ..display
                },
                Environment::Desktop,
                true,
            ),
            (
                EnvironmentSigns {
                    remote_desktop: true,
                    ..display
                },
                Environment::RemoteDesktop,
                true,
            ),
            (
                EnvironmentSigns {
                    remote_desktop: true,
                    ..none
                },
                Environment::NoDisplay,
                false,
            ),
        ] {
            assert_eq!(Environment::recognise(signs), environment, "{signs:?}");
            assert_eq!(environment.shows_browsers(), shows_browsers);
        }
    }
}
