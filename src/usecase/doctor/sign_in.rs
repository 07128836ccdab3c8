//! What a sign-in by browser needs of this machine.

use std::net::TcpStream;
use std::time::Duration;

use url::Url;

use super::CheckResult;
use crate::config::redirect_path::{IssuerNaming, Neighbour, about_neighbours};
use crate::config::settings::{Flow, Kind, Redirect, Settings};
use crate::error::Failure;
use crate::oidc::loopback::Loopback;
use crate::platform::browser;
use crate::platform::environment::Environment;

/// Longest wait for a connection to ourselves.
const LOCAL: Duration = Duration::from_secs(2);

/// Whether the redirect can be answered, and only this issuer can use it.
pub(super) fn redirect(
    settings: &Settings,
    naming: IssuerNaming,
    neighbours: &[Neighbour],
) -> CheckResult {
    let ports = redirect_ports(settings);
    if !settings.is_redirected() || matches!(ports, CheckResult::Failed(_)) {
        return ports;
    }
    match (
        settings.check_redirect_path(naming),
        about_neighbours(settings, neighbours),
    ) {
        (Err(failure), _) => failure.into(),
        (Ok(()), Some(what)) if naming == IssuerNaming::Unknown => CheckResult::warning(
            what,
            "set `redirect_path` of one profile to another path, and register that with its provider",
        ),
        (Ok(()), _) => ports,
    }
}

/// Binds each redirect port for a moment and connects to it, as the browser will.
fn redirect_ports(settings: &Settings) -> CheckResult {
    if settings.kind == Kind::Key {
        return CheckResult::skipped("the key is pasted: nothing is redirected");
    }
    if settings.flow == Flow::Device {
        return CheckResult::skipped("`flow` is \"device\": nothing is redirected");
    }
    let redirect = &settings.redirect;
    let mut taken = Vec::new();
    let mut free = 0;
    for port in &redirect.ports {
        let one = Redirect {
            ports: vec![*port],
            ..redirect.clone()
        };
        match Loopback::bind(&one) {
            Ok(bound) => {
                free += 1;
                if let Err(why) = connects(&bound.redirect_uri()) {
                    return Failure::config(
                        format!(
                            "programs on this machine cannot connect to {}: {why}",
                            redirect.host.as_str()
                        ),
                        "allow connections to this machine itself in its firewall or endpoint protection",
                    )
                    .into();
                }
            }
            Err(_) => taken.push(port.to_string()),
        }
    }
    let list = taken.join(", ");
    let uri = format!("http://{}{}", redirect.host.as_str(), redirect.path);
    if free == 0 {
        Failure::config(
            format!(
                "every redirect port is taken on {}: {list}",
                redirect.host.as_str()
            ),
            "close the program that uses the port, or add another one to `redirect_ports`",
        )
        .into()
    } else if !taken.is_empty() {
        CheckResult::warning(
            format!("of the redirect ports {list} is taken now; sign-ins use the others"),
            "close the program that uses the port, or take it out of `redirect_ports`",
        )
    } else if redirect.ports.contains(&0) {
        CheckResult::ok(format!(
            "any free port; the provider must have {uri} registered, without regard to the port"
        ))
    } else {
        let ports: Vec<String> = redirect.ports.iter().map(u16::to_string).collect();
        CheckResult::ok(format!(
            "{} free; registered must be http://{}:PORT{} for each",
            ports.join(", "),
            redirect.host.as_str(),
            redirect.path
        ))
    }
}

fn connects(uri: &str) -> Result<(), String> {
    let addresses = Url::parse(uri)
        .map_err(|error| error.to_string())?
        .socket_addrs(|| None)
        .map_err(|error| error.to_string())?;
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, LOCAL) {
            Ok(_) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// Where device codes are what attackers phish with, and the configuration allows them.
fn phished(settings: &Settings) -> Option<CheckResult> {
    let about = settings.preset?.about();
    (about.device_codes_are_phished && settings.flow != Flow::Browser).then(|| {
        CheckResult::warning(
            format!(
                "`flow` allows device codes, which attackers use to phish {} accounts and many tenants block",
                about.title
            ),
            "set flow = \"browser\"; gatepass login --device is still there for a machine without one",
        )
    })
}

/// Whether a browser could be opened. None is.
pub(super) fn browser(settings: &Settings, offers_codes: Option<bool>) -> CheckResult {
    if settings.kind == Kind::Key {
        return CheckResult::skipped("the key is pasted: no browser is opened");
    }
    if settings.flow == Flow::Device {
        return phished(settings)
            .unwrap_or_else(|| CheckResult::skipped("`flow` is \"device\": no browser is opened"));
    }
    if let Some(warning) = phished(settings) {
        return warning;
    }
    let environment = Environment::look();
    let found = browser::find(&settings.browser);
    let by_itself = environment.shows_browsers() || !settings.browser.is_empty();
    match (by_itself, found) {
        (true, Ok(program)) => CheckResult::ok(format!("{program} would be started")),
        (true, Err(why)) => Failure::config(
            why,
            if settings.browser.is_empty() {
                "install a browser (and xdg-utils), or set `browser`"
            } else {
                "correct `browser`: the program and its arguments, as a list"
            },
        )
        .into(),
        (false, _) => {
            let why = environment.in_words();
            if settings.flow == Flow::Browser {
                return CheckResult::warning(
                    format!(
                        "{why}, so no browser can be opened from here, and `flow` asks for one"
                    ),
                    "gatepass login --device, or sign in on the machine's own desktop",
                );
            }
            let way = match offers_codes {
                Some(false) => "the address is opened by hand",
                _ => "the address is opened by hand, or a device code is used",
            };
            CheckResult::ok(format!("{why}: {way}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile::ProfileName;
    use crate::config::{Sources, load};

    #[test]
    fn with_entra_people_sign_in_by_browser_and_other_ways_are_warned_of() {
        let settings = |more: &str| {
            let text = format!("issuer = 'https://idp.example'\nclient_id = 'c'\n{more}");
            load(&Sources::of_text(&text), &ProfileName::default()).unwrap()
        };
        let entra = settings("preset = 'entra'");
        assert_eq!(entra.flow, Flow::Browser);
        assert_eq!(phished(&entra), None);
        for flow in ["auto", "device"] {
            let warned = settings(&format!("preset = 'entra'\nflow = '{flow}'"));
            assert_eq!(browser(&warned, None).word(), "warning", "{flow}");
        }
        assert_eq!(phished(&settings("flow = 'device'")), None);
    }
}
