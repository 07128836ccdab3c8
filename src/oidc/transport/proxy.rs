//! Which proxy a request goes through: the configured one, else the environment's, else the system's.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::config::address::{self, NotAProxy, is_loopback};
use crate::config::settings::Settings;
use crate::error::{Failure, Result};

/// The rules of one run.
#[derive(Clone, Debug)]
pub struct Proxies {
    rules: std::sync::Arc<Rules>,
    source: &'static str,
}

#[derive(Debug)]
enum Rules {
    /// As the configuration or the environment has them.
    Written(Written),
    /// As the system's own settings have them (Windows, macOS).
    #[cfg(not(target_os = "linux"))]
    System(Matcher),
}

/// One proxy for `https`, and the hosts that are reached without it.
#[derive(Default, PartialEq, Eq)]
struct Written {
    proxy: String,
    except: String,
}

/// It may carry a password.
impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written")
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

/// A proxy on the way to a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    /// With name and password, if it has some.
    address: Url,
}

impl Route {
    /// A proxy at this address.
    #[cfg(test)]
    pub(super) fn to(address: Url) -> Self {
        Self { address }
    }

    /// The address that is connected to, with what is needed to get in.
    pub(super) fn address(&self) -> &Url {
        &self.address
    }

    /// Its host, as an address writes it.
    pub fn host(&self) -> &str {
        self.address.host_str().unwrap_or_default()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port_or_known_default().unwrap_or(80)
    }

    /// Whether name and password go with it.
    pub(super) fn has_password(&self) -> bool {
        !self.address.username().is_empty()
    }
}

/// For people: never with name or password.
impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}:{}",
            self.address.scheme(),
            self.host(),
            self.port()
        )
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Route({self})")
    }
}

impl Proxies {
    /// The rules in force.
    pub fn new(settings: &Settings) -> Self {
        if let Some(proxy) = &settings.proxy {
            let written = Written {
                proxy: proxy.clone(),
                except: settings.no_proxy.join(","),
            };
            return Self::by(Rules::Written(written), "`proxy`");
        }
        // What is no text stays visible: it is a proxy whose address cannot be understood, and not none.
        let environment =
            |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        match Written::of(&environment) {
            Some(written) => Self::by(Rules::Written(written), "the environment"),
            None => {
                let except = environment("NO_PROXY").or_else(|| environment("no_proxy"));
                Self::by(Self::of_system(except), "the system's settings")
            }
        }
    }

    fn by(rules: Rules, source: &'static str) -> Self {
        Self {
            rules: std::sync::Arc::new(rules),
            source,
        }
    }

    /// Who named the proxy.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// A host application started from a menu, or with an empty environment, was told of no proxy. On Linux what an
    /// administrator sets for every session stands in one file.
    #[cfg(target_os = "linux")]
    fn of_system(except: Option<String>) -> Rules {
        const LIMIT: u64 = 64 * 1024;
        let file = std::fs::File::open("/etc/environment").and_then(|file| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::io::Read::take(file, LIMIT), &mut text)?;
            Ok(text)
        });
        let text = file.unwrap_or_default();
        let mut written = Written::of(&|name| line_of(&text, name)).unwrap_or_default();
        if let Some(except) = except {
            written.except = except;
        }
        Rules::Written(written)
    }

    /// Windows and macOS keep them where every program finds them.
    #[cfg(not(target_os = "linux"))]
    fn of_system(_: Option<String>) -> Rules {
        Rules::System(Matcher::from_system())
    }

    /// The way to an address. This machine is never reached through another one.
    pub fn route(&self, url: &Url) -> Option<Route> {
        self.written_route(url)?.ok()
    }

    /// Refuses a proxy that gatepass cannot speak to or whose address it cannot understand: going past it in silence
    /// would be no better. Nothing of the address is shown, which may have a password anywhere.
    pub fn check(&self, url: &Url) -> Result<()> {
        let proxy = format!("the proxy from {}", self.source);
        match self.written_route(url) {
            Some(Err(NotAProxy::Kind(kind))) => Err(Failure::config(
                format!("{proxy} is of the kind \"{kind}\", which gatepass does not use"),
                "set `proxy` to an http or https proxy, or HTTPS_PROXY in the environment",
            )),
            Some(Err(NotAProxy::Malformed)) => Err(Failure::config(
                format!("{proxy} has an address that cannot be understood (it is not shown)"),
                format!(
                    "write it as http://NAME:PASSWORD@HOST:PORT; {}",
                    address::SPECIAL_CHARACTERS
                ),
            )),
            _ => Ok(()),
        }
    }

    fn written_route(&self, url: &Url) -> Option<Result<Route, NotAProxy>> {
        if is_loopback(url) || url.scheme() != "https" {
            return None;
        }
        match &*self.rules {
            Rules::Written(written) => written.route(url),
            #[cfg(not(target_os = "linux"))]
            Rules::System(matcher) => {
                let uri = url.as_str().parse().ok()?;
                parse(&matcher.intercept(&uri)?.uri().to_string())
            }
        }
    }
}

impl Written {
    /// What the variables say; nothing if none of them is set. An empty one says that there is no proxy.
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let first = |names: [&str; 2]| {
            let mut given = names.into_iter().filter_map(variable).peekable();
            let any = given.peek().is_some();
            let value = given.find(|value| !value.trim().is_empty());
            (any, value)
        };
        let (https_given, https) = first(["HTTPS_PROXY", "https_proxy"]);
        let (all_given, all) = first(["ALL_PROXY", "all_proxy"]);
        let (_, except) = first(["NO_PROXY", "no_proxy"]);
        (https_given || all_given).then(|| Self {
            proxy: https.or(all).unwrap_or_default(),
            except: except.unwrap_or_default(),
        })
    }

    fn route(&self, url: &Url) -> Option<Result<Route, NotAProxy>> {
        let proxy = parse(self.proxy.trim())?;
        (!self.excepts(url)).then_some(proxy)
    }

    /// The rules of curl, and what people write beyond them: spaces between entries, `*.` before a domain, a port
    /// after a host, brackets around an IPv6 address.
    fn excepts(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let entries = self
            .except
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter_map(|entry| entry_for(entry, port));
        let list = entries.collect::<Vec<_>>().join(",");
        if list.split(',').any(|entry| entry == "*") {
            return true;
        }
        let matcher = Matcher::builder().all("http://proxy").no(list).build();
        url.as_str()
            .parse()
            .is_ok_and(|uri| matcher.intercept(&uri).is_none())
    }
}

/// An entry of an exception list as the matcher understands it; nothing if it is about another port.
fn entry_for(entry: &str, port: Option<u16>) -> Option<&str> {
    let entry = entry
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(entry);
    let (host, of_port) = match entry
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match entry.split_once(':') {
            // More than one colon: an IPv6 address without brackets.
            Some((host, rest)) if !rest.contains(':') => (host, Some(rest)),
            _ => (entry, None),
        },
    };
    let fits = of_port.is_none_or(|of| of.parse().ok() == port);
    (fits && !host.is_empty()).then_some(host)
}

/// A proxy as people write it, or why it is none. An empty text says that there is no proxy.
fn parse(text: &str) -> Option<Result<Route, NotAProxy>> {
    (!text.is_empty()).then(|| address::parse_proxy(text).map(|address| Route { address }))
}

/// The value of a line `NAME=value` or `export NAME="value"`.
#[cfg(any(target_os = "linux", test))]
fn line_of(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let (given, value) = line.split_once('=')?;
            (given.trim_end() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        })
        .next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(pairs: &[(&str, &str)], url: &str) -> Option<String> {
        let variable = |name: &str| {
            let found = pairs.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::by(
            Rules::Written(Written::of(&variable).unwrap_or_default()),
            "a test",
        );
        proxies
            .route(&Url::parse(url).unwrap())
            .map(|route| route.to_string())
    }

    #[test]
    fn variables_in_either_case_and_what_goes_before_what() {
        let idp = "https://idp.example/token";
        for (pairs, expected) in [
            (
                &[("HTTPS_PROXY", "http://p:3128")][..],
                Some("http://p:3128"),
            ),
            (&[("https_proxy", "http://p:3128")], Some("http://p:3128")),
            (&[("https_proxy", "p:3128")], Some("http://p:3128")),
            (&[("HTTPS_PROXY", "https://p")], Some("https://p:443")),
            (&[("all_proxy", "http://a:1")], Some("http://a:1")),
            (
                &[
                    ("ALL_PROXY", "socks5://dead:1"),
                    ("https_proxy", "http://p:1"),
                ],
                Some("http://p:1"),
            ),
            (
                &[("HTTPS_PROXY", ""), ("https_proxy", "http://p:1")],
                Some("http://p:1"),
            ),
            (
                &[("HTTPS_PROXY", "http://ann:s3cret@p:1")],
                Some("http://p:1"),
            ),
            (&[("HTTP_PROXY", "http://p:1")], None),
            (&[("HTTPS_PROXY", "")], None),
            (&[("ALL_PROXY", "socks5://p:1")], None),
        ] {
            assert_eq!(way(pairs, idp).as_deref(), expected, "{pairs:?}");
        }
        for url in [
            "https://127.0.0.1:9/",
            "https://localhost/",
            "https://[::1]:9/",
            "http://127.0.0.1/",
        ] {
            assert_eq!(way(&[("HTTPS_PROXY", "http://p:1")], url), None, "{url}");
        }
    }

    #[test]
    fn a_proxy_that_is_not_spoken_to_is_no_direct_way() {
        let written = Written {
            proxy: "socks5://ann:s3cret@p:1080".to_owned(),
            except: "direct.example".to_owned(),
        };
        assert!(!format!("{written:?}").contains("s3cret"));
        let proxies = Proxies::by(Rules::Written(written), "a test");
        let check = |url: &str| proxies.check(&Url::parse(url).unwrap());
        let failure = check("https://idp.example/").unwrap_err();
        assert!(failure.what.contains("socks5") && !failure.what.contains("s3cret"));
        assert!(check("https://direct.example/").is_ok());
        assert!(check("https://127.0.0.1:1/").is_ok());
    }

    #[test]
    fn a_proxy_that_cannot_be_understood_is_told_and_never_shown() {
        for proxy in [
            "http://xaver:4711/s3cret@p:1",
            "http://xaver:s3cret@p:x",
            "http://xaver:s3cret@",
        ] {
            let written = Written {
                proxy: proxy.to_owned(),
                except: String::new(),
            };
            let proxies = Proxies::by(Rules::Written(written), "the environment");
            let url = Url::parse("https://idp.example/").unwrap();
            let failure = proxies.check(&url).unwrap_err();
            assert!(failure.what.contains("the environment"), "{failure:?}");
            for part in ["xaver", "4711", "s3cret"] {
                assert!(!format!("{failure:?}").contains(part), "{failure:?}");
            }
            assert_eq!(proxies.route(&url), None);
        }
    }

    #[test]
    fn exceptions_as_people_write_them() {
        let name = "https://idp.corp.example:8443/";
        for (except, url, direct) in [
            ("corp.example", name, true),
            (".corp.example", name, true),
            ("*.corp.example", name, true),
            ("CORP.example", name, true),
            ("a.example, corp.example", name, true),
            ("a.example corp.example", name, true),
            (" a.example ,\tcorp.example ", name, true),
            ("idp.corp.example:8443", name, true),
            (".corp.example:8443", name, true),
            ("idp.corp.example:443", name, false),
            ("orp.example", name, false),
            ("corp.example.evil.example", name, false),
            ("*", name, true),
            ("a.example,*", name, true),
            ("", name, false),
            (",, ,", name, false),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("a.example, 10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.1.2.3", "https://10.1.2.3/", true),
            ("10.1.2.3:443", "https://10.1.2.3/", true),
            ("10.1.2.3:8443", "https://10.1.2.3/", false),
            ("11.0.0.0/8", "https://10.1.2.3/", false),
            ("fd00::/8", "https://[fd00::1]/", true),
            ("fd00::1", "https://[fd00::1]/", true),
            ("[fd00::1]", "https://[fd00::1]/", true),
            ("[fd00::1]:443", "https://[fd00::1]/", true),
            ("[fd00::1]:8443", "https://[fd00::1]/", false),
            ("[fd00::2]", "https://[fd00::1]/", false),
        ] {
            for variable in ["NO_PROXY", "no_proxy"] {
                let way = way(&[("HTTPS_PROXY", "http://p:1"), (variable, except)], url);
                assert_eq!(way.is_none(), direct, "{except:?} {url}");
            }
        }
    }

    #[test]
    fn lines_for_every_session() {
        let text = "# a comment\nPATH=/bin\nexport HTTPS_PROXY=\"http://p:3128\"\nno_proxy='a, b'\nHTTPS_PROXY_OLD=x";
        assert_eq!(
            line_of(text, "HTTPS_PROXY").as_deref(),
            Some("http://p:3128")
        );
        assert_eq!(line_of(text, "no_proxy").as_deref(), Some("a, b"));
        assert_eq!(line_of(text, "ALL_PROXY"), None);
    }
}
