//! What the provider remembers: authorization codes, sign-ins with their refresh tokens, device codes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::codes::{secret, user_code, verifier_matches};
use super::error::OauthError;
use super::settings::Settings;

const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// RFC 8628 section 3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// What a person granted to a client.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) client_id: String,
    pub(crate) account: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) auth_time: u64,
    pub(crate) audience: Vec<String>,
}

impl Grant {
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|one| one == scope)
    }
}

struct Code {
    grant: Grant,
    redirect_uri: String,
    challenge: String,
    expires: Instant,
    redeemed_as: Option<FamilyId>,
}

/// All refresh tokens that descend from one sign-in.
struct Family {
    grant: Grant,
    revoked: bool,
    ends: Option<Instant>,
}

type FamilyId = usize;

struct RefreshToken {
    family: FamilyId,
    consumed: bool,
    /// When it was first consumed.
    consumed_at: Option<Instant>,
}

enum Decision {
    Pending,
    Confirmed,
    Refused,
    Redeemed,
}

struct Device {
    code: String,
    user_code: String,
    grant: Grant,
    expires: Instant,
    interval: Duration,
    polled: Option<Instant>,
    decision: Decision,
    /// The S256 challenge, where the client sent one.
    challenge: Option<String>,
}

/// The provider's memory.
#[derive(Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Code>,
    families: Vec<Family>,
    refresh_tokens: HashMap<String, RefreshToken>,
    devices: Vec<Device>,
    thefts: usize,
}

/// The tokens' source after a grant was used: what was granted, and the refresh token to hand out.
pub(crate) struct Redeemed {
    pub(crate) grant: Grant,
    pub(crate) refresh_token: Option<String>,
    /// What is left of the session, where sessions end.
    pub(crate) session_seconds: Option<u64>,
}

impl Grants {
    /// How often the second use of a code or of a refresh token revoked a family.
    pub(crate) fn thefts(&self) -> usize {
        self.thefts
    }

    pub(crate) fn add_code(&mut self, grant: Grant, redirect_uri: &str, challenge: &str) -> String {
        let code = secret("code");
        self.codes.insert(
            code.clone(),
            Code {
                grant,
                redirect_uri: redirect_uri.to_owned(),
                challenge: challenge.to_owned(),
                expires: Instant::now() + CODE_LIFETIME,
                redeemed_as: None,
            },
        );
        code
    }

    pub(crate) fn redeem_code(
        &mut self,
        code: &str,
        client_id: &str,
        redirect_uri: &str,
        verifier: &str,
        settings: &Settings,
    ) -> Result<Redeemed, OauthError> {
        let refuse = |description| Err(OauthError::invalid_grant(description));
        let Some(entry) = self.codes.get_mut(code) else {
            return refuse("unknown code");
        };
        if let Some(family) = entry.redeemed_as {
            self.revoke_stolen(family);
            return refuse("the code was used before");
        }
        if entry.expires < Instant::now() {
            return refuse("the code has expired");
        }
        if entry.grant.client_id != client_id {
            return refuse("the code belongs to another client");
        }
        if entry.redirect_uri != redirect_uri {
            return refuse("redirect_uri differs from the one in the authorization request");
        }
        if !verifier_matches(verifier, &entry.challenge) {
            return refuse("code_verifier does not belong to the code_challenge");
        }
        let grant = entry.grant.clone();
        let family = self.families.len();
        entry.redeemed_as = Some(family);
        Ok(self.open_family(grant, settings))
    }

    /// A new sign-in, with its first refresh token if the settings want one.
    pub(crate) fn open_family(&mut self, grant: Grant, settings: &Settings) -> Redeemed {
        let family = self.families.len();
        self.families.push(Family {
            grant: grant.clone(),
            revoked: false,
            ends: settings
                .session_seconds
                .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        });
        Redeemed {
            grant,
            refresh_token: settings
                .issue_refresh_token
                .then(|| self.add_refresh_token(family, settings)),
            session_seconds: settings.session_seconds,
        }
    }

    fn add_refresh_token(&mut self, family: FamilyId, settings: &Settings) -> String {
        let padding = "x".repeat(settings.refresh_token_padding);
        let token = secret("rt") + &padding;
        let entry = RefreshToken {
            family,
            consumed: false,
            consumed_at: None,
        };
        self.refresh_tokens.insert(token.clone(), entry);
        token
    }

    pub(crate) fn refresh(
        &mut self,
        token: &str,
        client_id: &str,
        settings: &Settings,
    ) -> Result<Redeemed, OauthError> {
        let refuse = |description| Err(OauthError::invalid_grant(description));
        let Some(entry) = self.refresh_tokens.get_mut(token) else {
            return refuse("unknown refresh token");
        };
        let family = entry.family;
        let Family {
            grant,
            revoked,
            ends,
        } = &self.families[family];
        if grant.client_id != client_id {
            return refuse("the refresh token belongs to another client");
        }
        if *revoked {
            return refuse("the refresh token is revoked");
        }
        let grace = Duration::from_secs(settings.reuse_grace_seconds);
        let is_forgiven = entry.consumed_at.is_some_and(|at| at.elapsed() < grace);
        if entry.consumed && !is_forgiven {
            if settings.reuse_detection {
                self.revoke_stolen(family);
            }
            return refuse("the refresh token was used before");
        }
        let left = ends.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return refuse("the session has ended");
        }
        let grant = grant.clone();
        entry.consumed = settings.refresh_rotation;
        entry.consumed_at = entry.consumed_at.or_else(|| Some(Instant::now()));
        Ok(Redeemed {
            grant,
            refresh_token: settings
                .refresh_rotation
                .then(|| self.add_refresh_token(family, settings)),
            session_seconds: left.map(|left| left.as_secs()),
        })
    }

    fn revoke_stolen(&mut self, family: FamilyId) {
        let family = &mut self.families[family];
        if !family.revoked {
            family.revoked = true;
            self.thefts += 1;
        }
    }

    /// RFC 7009: the refresh token's whole family goes. Another client's token, or no token at all, stays as it is.
    pub(crate) fn revoke(&mut self, token: &str, client_id: &str) {
        if let Some(entry) = self.refresh_tokens.get(token) {
            let family = &mut self.families[entry.family];
            family.revoked |= family.grant.client_id == client_id;
        }
    }

    pub(crate) fn revoke_all(&mut self) {
        for family in &mut self.families {
            family.revoked = true;
        }
    }

    /// Whether this refresh token would be accepted now.
    pub(crate) fn is_live(&self, token: &str) -> bool {
        self.refresh_tokens.get(token).is_some_and(|entry| {
            let family = &self.families[entry.family];
            !entry.consumed && !family.revoked && family.ends.is_none_or(|end| end > Instant::now())
        })
    }

    /// A new device code and its user code.
    pub(crate) fn add_device(
        &mut self,
        grant: Grant,
        challenge: Option<&str>,
        settings: &Settings,
    ) -> (String, String) {
        let (code, user_code) = (secret("dc"), user_code());
        self.devices.push(Device {
            code: code.clone(),
            user_code: user_code.clone(),
            grant,
            expires: Instant::now() + Duration::from_secs(settings.device_expires_seconds),
            interval: Duration::from_secs(settings.device_interval_seconds),
            polled: None,
            decision: Decision::Pending,
            challenge: challenge.map(str::to_owned),
        });
        (code, user_code)
    }

    fn undecided(&self, device: &Device) -> bool {
        matches!(device.decision, Decision::Pending) && device.expires > Instant::now()
    }

    /// The user codes that wait for a person.
    pub(crate) fn pending_user_codes(&self) -> Vec<String> {
        self.devices
            .iter()
            .filter(|device| self.undecided(device))
            .map(|device| device.user_code.clone())
            .collect()
    }

    /// The client that a waiting user code belongs to.
    pub(crate) fn client_of_user_code(&self, user_code: &str) -> Option<String> {
        self.devices
            .iter()
            .find(|device| device.user_code == user_code && self.undecided(device))
            .map(|device| device.grant.client_id.clone())
    }

    /// A person confirms as `account`, or refuses. False where the code doesn't wait.
    pub(crate) fn decide_device(
        &mut self,
        user_code: &str,
        account: Option<&str>,
        now: u64,
    ) -> bool {
        if self.client_of_user_code(user_code).is_none() {
            return false;
        }
        for device in &mut self.devices {
            if device.user_code == user_code {
                match account {
                    Some(account) => {
                        device.grant.account = account.to_owned();
                        device.grant.auth_time = now;
                        device.decision = Decision::Confirmed;
                    }
                    None => device.decision = Decision::Refused,
                }
            }
        }
        true
    }

    pub(crate) fn poll_device(
        &mut self,
        code: &str,
        client_id: &str,
        verifier: &str,
        settings: &Settings,
    ) -> Result<Redeemed, OauthError> {
        let now = Instant::now();
        let device = self
            .devices
            .iter_mut()
            .find(|device| device.code == code && device.grant.client_id == client_id)
            .ok_or(OauthError::invalid_grant("unknown device code"))?;
        if let Some(challenge) = &device.challenge
            && !verifier_matches(verifier, challenge)
        {
            return Err(OauthError::invalid_grant("PKCE verification failed"));
        }
        let early = device
            .polled
            .replace(now)
            .is_some_and(|last| now - last < device.interval);
        if device.expires <= now {
            return Err(OauthError::new(
                "expired_token",
                "the device code has expired",
            ));
        }
        match device.decision {
            Decision::Refused => Err(OauthError::new("access_denied", "the person refused")),
            Decision::Redeemed => Err(OauthError::invalid_grant("the device code was used before")),
            _ if early => {
                device.interval += SLOW_DOWN;
                Err(OauthError::new(
                    "slow_down",
                    "polled before the interval was over",
                ))
            }
            Decision::Pending => Err(OauthError::new(
                "authorization_pending",
                "nobody has decided yet",
            )),
            Decision::Confirmed => {
                device.decision = Decision::Redeemed;
                let grant = device.grant.clone();
                Ok(self.open_family(grant, settings))
            }
        }
    }
}
