//! The device authorization grant (RFC 8628).

use std::sync::Mutex;
use std::time::Duration;

use oauth2::basic::BasicErrorResponseType;
use oauth2::{
    DeviceCodeErrorResponseType, EmptyExtraDeviceAuthorizationFields, PkceCodeChallenge,
    RequestTokenError, Scope, StandardDeviceAuthorizationResponse, StandardErrorResponse,
};
use url::Url;

use super::client_auth::client::Client;
use super::tokens::{self, Grant, Refusal, endpoint, extra};
use super::transport::http::{Http, HttpError};
use crate::clock;
use crate::config::address::check_url;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::secret::Secret;

/// Longest time for which a code is polled, whatever the provider says.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Pause between two polls where the provider names none.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest pause between two polls that fail.
const BACK_OFF: Duration = Duration::from_secs(10);

/// What the user needs to see (section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInstructions {
    /// Where to go. Validated; a host name outside ASCII is in punycode.
    pub address: String,
    /// The same with the code in it, if the provider offers that.
    pub complete_address: Option<String>,
    /// What to type there.
    pub user_code: String,
    /// How long the code is good.
    pub expires_in: Duration,
}

/// A device authorization that was begun.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// What the person needs to see.
    pub instructions: DeviceInstructions,
    response: StandardDeviceAuthorizationResponse,
    /// Belongs to the challenge of the request, where that had one.
    verifier: Option<Secret>,
}

/// Whether a request has a PKCE challenge (RFC 7636). RFC 8628 knows none; Keycloak demands one for clients that must
/// use PKCE, and other providers refuse parameters that they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pkce {
    Without,
    With,
}

impl DeviceAuthorization {
    /// Asks the provider for a device code: without PKCE unless the preset knows better, and after `invalid_request`
    /// once more with it.
    ///
    /// # Errors
    /// `config`: the provider offers no device codes, or not to this client. `sign-in-failed`: it refuses.
    /// `unavailable`: no answer. `untrusted-response`: an answer that must not be shown.
    pub fn begin(
        http: &Http,
        client: &Client,
        settings: &Settings,
        issuer_hosts: &[&str],
        at_most: Duration,
    ) -> Result<Self> {
        let first = match settings.preset {
            Some(preset) if preset.about().device_pkce => Pkce::With,
            _ => Pkce::Without,
        };
        let (response, verifier) = match ask(http, client, settings, first)? {
            Err(error) if first == Pkce::Without && is_invalid_request(&error) => {
                log::info!("the provider refuses the device request, trying once more with PKCE");
                ask(http, client, settings, Pkce::With)?
            }
            result => result,
        }
        .map_err(begin_failed)?;
        let instructions = instructions(&response, settings, issuer_hosts, at_most)?;
        Ok(Self {
            instructions,
            response,
            verifier,
        })
    }

    /// Polls until the person has decided, the code has expired or `pause` says to stop.
    ///
    /// `pause` sleeps for the time it is given, and fails to end the waiting.
    ///
    /// # Errors
    /// [`Refusal::GrantOver`] where the user or the provider refuses or the code has expired; else why there is no
    /// answer (`unavailable`, `untrusted-response`), or what `pause` fails with.
    pub fn wait(
        &self,
        http: &Http,
        client: &Client,
        settings: &Settings,
        pause: impl Fn(Duration) -> Result<()>,
    ) -> Result<Grant, Refusal> {
        let stopped: Mutex<Option<Failure>> = Mutex::new(None);
        let has_stopped = || stopped.lock().is_ok_and(|failure| failure.is_some());
        let rest = |time: Duration| {
            let time = interval(time).min(self.instructions.expires_in);
            if let (Err(failure), Ok(mut stopped)) = (pause(time), stopped.lock()) {
                stopped.get_or_insert(failure);
            }
        };
        // The protocol library's loop ends by itself only when the code's time is over: so it is, for one that
        // was told to stop.
        let now = || {
            if has_stopped() {
                chrono::DateTime::<chrono::Utc>::MAX_UTC
            } else {
                chrono::DateTime::from_timestamp_millis(
                    i64::try_from(clock::now_millis()).unwrap_or(i64::MAX),
                )
                .unwrap_or_default()
            }
        };
        // Section 3.5: the interval is the least time between polls; a user who has not seen the code yet
        // cannot have confirmed it.
        pause(interval(self.response.interval()).min(self.instructions.expires_in))?;
        let mut request = client
            .exchange_device_access_token(&self.response)
            .set_max_backoff_interval(interval(self.response.interval()).clamp(BACK_OFF, LONGEST))
            .set_time_fn(now);
        for (name, value) in extra(settings) {
            request = request.add_extra_param(name, value);
        }
        if let Some(verifier) = &self.verifier {
            request = request.add_extra_param("code_verifier", verifier.expose());
        }
        let time = self.instructions.expires_in;
        let response = request.request(&endpoint(http, client), rest, Some(time));
        if let Ok(mut stopped) = stopped.lock()
            && let Some(failure) = stopped.take()
        {
            return Err(failure.into());
        }
        Ok(tokens::grant(response.map_err(refused)?, client, settings)?)
    }
}

type Begun = Result<(StandardDeviceAuthorizationResponse, Option<Secret>), BeginError>;

/// One device authorization request (section 3.1).
fn ask(http: &Http, client: &Client, settings: &Settings, pkce: Pkce) -> Result<Begun> {
    let mut request = client
        .exchange_device_code()
        .map_err(|_| {
            Failure::config(
                "the provider offers no sign-in by device code",
                "gatepass login --browser",
            )
        })?
        .add_scopes(settings.scopes.iter().cloned().map(Scope::new));
    for (name, value) in extra(settings) {
        request = request.add_extra_param(name, value);
    }
    let verifier = match pkce {
        Pkce::Without => None,
        Pkce::With => {
            let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
            request = request
                .add_extra_param("code_challenge", challenge.as_str().to_owned())
                .add_extra_param(
                    "code_challenge_method",
                    challenge.method().as_str().to_owned(),
                );
            Some(Secret::new(verifier.into_secret()))
        }
    };
    Ok(request
        .request::<_, EmptyExtraDeviceAuthorizationFields>(&endpoint(http, client))
        .map(|response| (response, verifier)))
}

fn is_invalid_request(error: &BeginError) -> bool {
    matches!(error, RequestTokenError::ServerResponse(response)
        if *response.error() == BasicErrorResponseType::InvalidRequest)
}

/// The pause that a provider asks for. None at all is what RFC 8628 section 3.2 says about a missing one.
fn interval(given: Duration) -> Duration {
    if given.is_zero() {
        INTERVAL
    } else {
        given.min(LONGEST)
    }
}

pub(crate) fn instructions(
    response: &StandardDeviceAuthorizationResponse,
    settings: &Settings,
    issuer_hosts: &[&str],
    at_most: Duration,
) -> Result<DeviceInstructions> {
    let user_code = response.user_code().secret();
    let code_character = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b' ';
    if !(4..=20).contains(&user_code.len()) || !user_code.bytes().all(code_character) {
        return Err(Failure::untrusted(
            "the provider's device code is malformed",
        ));
    }
    let address = address(response.verification_uri(), settings, issuer_hosts)?;
    let complete_address = response
        .verification_uri_complete()
        .map(|uri| self::address(uri.secret(), settings, issuer_hosts))
        .transpose()?;
    Ok(DeviceInstructions {
        address,
        complete_address,
        user_code: user_code.clone(),
        expires_in: response.expires_in().min(LONGEST).min(at_most),
    })
}

/// A verification address that may be shown: `https`, on a host of the provider's or one that is configured.
fn address(given: &str, settings: &Settings, issuer_hosts: &[&str]) -> Result<String> {
    let wrong = |what: String| Failure::untrusted(format!("the verification address {what}"));
    let url = Url::parse(given).map_err(|_| wrong("is no address".to_owned()))?;
    check_url(url.as_str()).map_err(|_| wrong("is not https".to_owned()))?;
    let host = url.host_str().unwrap_or_default();
    let allowed = if settings.device_hosts.is_empty() {
        issuer_hosts.iter().any(|known| same_site(host, known))
    } else {
        settings
            .device_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
    };
    if !allowed {
        return Err(wrong(format!(
            "is on {host}, which is none of the provider's hosts (`device_hosts` can allow it)"
        )));
    }
    Ok(url.into())
}

/// The same host, or one below it. (A common parent proves nothing: it may be a public suffix.)
fn same_site(host: &str, known: &str) -> bool {
    let is_name = known.parse::<std::net::IpAddr>().is_err();
    host == known || (is_name && host.ends_with(&format!(".{known}")))
}

type BeginError = RequestTokenError<HttpError, StandardErrorResponse<BasicErrorResponseType>>;

fn begin_failed(error: BeginError) -> Failure {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let description = response.error_description().map(String::as_str);
            match tokens::by_code(response.error().as_ref(), description) {
                Refusal::Failure(failure) => failure,
                Refusal::GrantOver(said) => Failure::new(
                    Id::SignInFailed,
                    format!("the provider refused: {said}"),
                    "gatepass login --browser",
                )
                .told_by_provider(),
            }
        }
        RequestTokenError::Request(error) => error.into(),
        _ => Failure::untrusted("the provider's device authorization answer is malformed"),
    }
}

type PollError = RequestTokenError<HttpError, StandardErrorResponse<DeviceCodeErrorResponseType>>;

fn refused(error: PollError) -> Refusal {
    let failed = |what: &str| {
        Refusal::Failure(
            Failure::new(Id::SignInFailed, what, "gatepass login --device").told_by_provider(),
        )
    };
    match error {
        RequestTokenError::ServerResponse(response) => match response.error() {
            DeviceCodeErrorResponseType::AccessDenied => failed("the sign-in was refused"),
            DeviceCodeErrorResponseType::ExpiredToken => {
                failed("the sign-in was not completed in time")
            }
            other => {
                let description = response.error_description().map(String::as_str);
                match other.as_ref() {
                    "authorization_declined" => failed("the sign-in was refused"),
                    code => tokens::by_code(code, description),
                }
            }
        },
        RequestTokenError::Request(error) => Refusal::Failure(error.into()),
        _ => Refusal::Failure(Failure::untrusted(
            "the provider's token answer is malformed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{address, same_site};
    use crate::config::profile::ProfileName;
    use crate::config::{Sources, load};

    #[test]
    fn verification_hosts_are_the_providers_own() {
        for (host, known) in [
            ("idp.example.com", "idp.example.com"),
            ("idp.example.com", "example.com"),
        ] {
            assert!(same_site(host, known), "{host} {known}");
        }
        for (host, known) in [
            ("evil.example", "idp.example.com"),
            ("example.com", "idp.example.com"),
            ("evil.co.uk", "idp.co.uk"),
            ("1.127.0.0.1", "127.0.0.1"),
            ("example.com.evil.example", "idp.example.com"),
            ("evilexample.com", "idp.example.com"),
            ("other.com", "example.com"),
            ("127.0.0.2", "127.0.0.1"),
        ] {
            assert!(!same_site(host, known), "{host} {known}");
        }
    }

    #[test]
    fn what_is_shown_is_https_on_a_known_host_in_plain_characters() {
        let judge = |given: &str, more: &str| {
            let text = format!("issuer = 'https://idp.example'\nclient_id = 'c'\n{more}");
            let settings = load(&Sources::of_text(&text), &ProfileName::default()).unwrap();
            address(given, &settings, &["idp.example"]).map_err(|failure| {
                assert_eq!(failure.id.exit_code(), 8, "{given}");
                failure.what
            })
        };
        for (given, shown) in [
            ("https://idp.example/device", "https://idp.example/device"),
            ("HTTPS://IDP.Example/d", "https://idp.example/d"),
            (
                "https://login.idp.example/d?c=A-B",
                "https://login.idp.example/d?c=A-B",
            ),
            ("https://idp.example/a b", "https://idp.example/a%20b"),
            (
                "https://idp.example/\u{202e}x",
                "https://idp.example/%E2%80%AEx",
            ),
        ] {
            assert_eq!(judge(given, "").as_deref(), Ok(shown), "{given}");
        }
        for given in [
            "http://idp.example/device",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "ms-msdt:/id",
            "--remote-debugging-port=1",
            "//idp.example/device",
            "https://evil.example/",
            "https://idp.example.evil.example/",
            "https://evil.example/https://idp.example/",
            "https://evil.example#idp.example",
            "https://idp.example@evil.example/",
            "https://user:word@idp.example/",
            "https://idp.example./device",
            "https://idp.example/device#x",
            "https://idp.ex\u{430}mple/device",
            "https://xn--idp-.example/",
            "https://[::1]/",
            "https://2130706433/",
            "",
        ] {
            let refused = judge(given, "").unwrap_err();
            assert!(refused.is_ascii(), "{given}: {refused}");
        }
        // Two letters that look alike are told apart where it counts.
        let refused = judge("https://idp.ex\u{430}mple/device", "").unwrap_err();
        assert!(refused.contains("xn--"), "{refused}");
        let more = "device_hosts = ['microsoft.example']";
        assert!(judge("https://microsoft.example/devicelogin", more).is_ok());
        assert!(judge("https://idp.example/device", more).is_err());
        assert!(judge("https://login.microsoft.example/", more).is_err());
    }
}
