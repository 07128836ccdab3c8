//! The keys that Claude Desktop reads, as far as gatepass has to know them.
//!
//! Names follow the app's published configuration reference and its changelog; a key that is missing here is not
//! wrong, it is only not known.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    Text,
    /// An address.
    Url,
    /// The absolute path of a program.
    Program,
    /// A whole number within the bounds, both included.
    Whole(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list.
    List,
    /// An object.
    Object,
    /// An object of header names and values.
    Headers,
    /// gatepass does not look at it.
    Any,
}

/// Where a credential may come from.
pub const CREDENTIAL_KINDS: &[&str] = &[
    "static",
    "helper-script",
    "interactive",
    "external-idp",
    "vendor-profile",
    "workforce",
];

use KeyType::{Any, Choice, Flag, Headers, List, Object, Program, Text, Url, Whole};

const DAYS: u64 = 400 * 86_400;

/// The keys and what they take.
#[rustfmt::skip]
pub const KEYS: &[(&str, KeyType)] = &[
    ("inferenceProvider", Choice(&["gateway", "anthropic", "bedrock", "mantle", "vertex", "foundry"])),
    ("inferenceCredentialKind", Choice(CREDENTIAL_KINDS)),
    ("inferenceCredentialHelper", Program),
    ("inferenceCredentialHelperArgs", List),
    ("inferenceCredentialHelperWindows", Program),
    ("inferenceCredentialHelperTtlSec", Whole(0, DAYS)),
    ("inferenceCredentialHelperTimeoutSec", Whole(1, 600)),
    ("inferenceCredentialHelperSilentRefreshEnabled", Flag),
    ("inferenceCustomHeaders", Headers),
    ("inferenceSessionLifetimeSec", Whole(0, DAYS)),
    ("inferenceStreamIdleTimeoutSec", Whole(0, DAYS)),
    ("inferenceGatewayBaseUrl", Url),
    ("inferenceGatewayApiKey", Text),
    ("inferenceGatewayAuthScheme", Choice(&["bearer", "x-api-key"])),
    ("inferenceGatewayOidc", Object),
    ("inferenceGatewayOidcAuthFlow", Choice(&["browser", "broker"])),
    ("inferenceIdpOidc", Object),
    ("inferenceIdpAuthFlow", Choice(&["browser", "broker"])),
    ("inferenceModels", List),
    ("inferenceModelPricing", List),
    ("inferenceModelPricingEnabled", Flag),
    ("inferenceModelPricingMultiplier", Any),
    ("inferenceMaxTokensPerWindow", Whole(0, u64::MAX)),
    ("inferenceTokenWindowHours", Whole(0, u64::MAX)),
    ("inferenceAnthropicApiKey", Text),
    ("inferenceBedrockAwsCliPath", Text),
    ("inferenceBedrockAwsDir", Text),
    ("inferenceBedrockBaseUrl", Text),
    ("inferenceBedrockBearerToken", Text),
    ("inferenceBedrockProfile", Text),
    ("inferenceBedrockRegion", Text),
    ("inferenceBedrockServiceTier", Text),
    ("inferenceBedrockSsoAccountId", Text),
    ("inferenceBedrockSsoRegion", Text),
    ("inferenceBedrockSsoRoleName", Text),
    ("inferenceBedrockSsoStartUrl", Text),
    ("inferenceBedrockWebIdentityRoleArn", Text),
    ("inferenceFoundryApiKey", Text),
    ("inferenceFoundryAuthFlow", Text),
    ("inferenceFoundryBaseUrl", Text),
    ("inferenceFoundryClientId", Text),
    ("inferenceFoundryResource", Text),
    ("inferenceFoundryTenantId", Text),
    ("inferenceVertexBaseUrl", Text),
    ("inferenceVertexCredentialsFile", Text),
    ("inferenceVertexOAuthClientId", Text),
    ("inferenceVertexOAuthClientSecret", Text),
    ("inferenceVertexOAuthLoginHint", Text),
    ("inferenceVertexOAuthScopes", Any),
    ("inferenceVertexProjectId", Text),
    ("inferenceVertexRegion", Text),
    ("inferenceVertexWorkforceAudience", Text),
    ("inferenceVertexWorkforceAuthFlow", Text),
    ("inferenceVertexWorkforceOidc", Object),
    ("inferenceVertexWorkforceUserProject", Text),
    ("allowedPluginMarketplaces", List),
    ("allowedWorkspaceFolders", List),
    ("autoModeEnabled", Flag),
    ("autoUpdaterEnforcementHours", Whole(0, DAYS)),
    ("banner", Object),
    ("bootstrapEnabled", Flag),
    ("bootstrapHeaders", Headers),
    ("bootstrapHeadersHelper", Program),
    ("bootstrapOidc", Object),
    ("bootstrapUrl", Url),
    ("builtinToolPolicy", Object),
    ("chatTabEnabled", Flag),
    ("claudeAiImport", Object),
    ("configRecheckIntervalMinutes", Whole(0, DAYS)),
    ("coworkEgressAllowedHosts", List),
    ("coworkTabEnabled", Flag),
    ("deploymentDisplayName", Text),
    ("deploymentDisplaySubtitle", Text),
    ("deploymentOrganizationUuid", Text),
    ("disableAutoUpdates", Flag),
    ("disableBundledSkills", Flag),
    ("disableBypassPermissionsMode", Flag),
    ("disableConfigDeprecationWarnings", Flag),
    ("disableDeepLinkRegistration", Flag),
    ("disableDeploymentModeChooser", Flag),
    ("disableEssentialTelemetry", Flag),
    ("disableFeatureDiscovery", Flag),
    ("disableNonessentialServices", Flag),
    ("disableNonessentialTelemetry", Flag),
    ("disabledBuiltinTools", List),
    ("egressProxyPacUrl", Text),
    ("egressProxyUrl", Text),
    ("endUserAttribution", Flag),
    ("isClaudeCodeForDesktopEnabled", Flag),
    ("isDesktopExtensionDirectoryEnabled", Flag),
    ("isDesktopExtensionEnabled", Flag),
    ("isDesktopExtensionSignatureRequired", Flag),
    ("isLocalDevMcpEnabled", Flag),
    ("managedMcpServers", List),
    ("mcpPersistentAlwaysAllowEnabled", Flag),
    ("mcpToolTimeoutSec", Whole(0, DAYS)),
    ("microsoftAuthBroker", Text),
    ("modelDiscoveryEnabled", Flag),
    ("modelPrefer1mContext", Flag),
    ("orgPluginSettings", Any),
    ("organizationInstructions", Text),
    ("otlpAuthMode", Text),
    ("otlpContentCapture", List),
    ("otlpDesktopLogLevel", Text),
    ("otlpEndpoint", Text),
    ("otlpHeaders", Headers),
    ("otlpHeadersHelper", Program),
    ("otlpProtocol", Text),
    ("otlpResourceAttributes", Object),
    ("otlpTracesEnabled", Flag),
    ("relaunchEnforcementHours", Whole(0, DAYS)),
    ("scheduledTasksEnabled", Flag),
    ("selfHostedCredentialHelper", Program),
    ("skillCreationEnabled", Flag),
    ("skipWebFetchPreflight", Flag),
    ("sshClientPath", Text),
    ("sshHostAllowlist", List),
    ("toolSearchEnabled", Flag),
    ("trustBootstrapDelivery", Flag),
    ("updateViaUpdatesHost", Flag),
    ("userContentRendererUrl", Text),
    ("userPluginMarketplacesEnabled", Flag),
    ("userPluginUploadsEnabled", Flag),
];

/// What becomes of an old key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deprecation {
    /// No longer read.
    Gone,
    /// Still read, under a newer name.
    Renamed,
}

/// A key that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldKey {
    /// What it was called.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Deprecation,
    /// The version or the day from which that holds, where it is known.
    pub since: Option<&'static str>,
    /// What takes its place.
    pub instead: &'static str,
}

/// The key that was given up under this name.
pub fn old(name: &str) -> Option<&'static OldKey> {
    OLD.iter().find(|key| key.name == name)
}

const fn gone(name: &'static str, since: Option<&'static str>, instead: &'static str) -> OldKey {
    let fate = Deprecation::Gone;
    OldKey {
        name,
        fate,
        since,
        instead,
    }
}

const fn renamed(name: &'static str, since: Option<&'static str>, instead: &'static str) -> OldKey {
    let fate = Deprecation::Renamed;
    OldKey {
        name,
        fate,
        since,
        instead,
    }
}

/// Keys that were given up. `docs/hosts.md` has a table of them.
#[rustfmt::skip]
pub const OLD: &[OldKey] = &[
    gone("inferenceGatewayHeaders", Some("2026-10-07"), "use inferenceCustomHeaders, a JSON object"),
    renamed("inferenceGatewayOidc", Some("2.7032"), "remove it: with gatepass the app needs no sign-in of its own (which is inferenceIdpOidc now, with inferenceCredentialKind = external-idp)"),
    renamed("inferenceGatewayOidcAuthFlow", Some("2.7032"), "remove it: with gatepass the app needs no sign-in of its own (which has inferenceIdpAuthFlow now)"),
    gone("isDxtEnabled", None, "use isDesktopExtensionEnabled"),
    gone("isDxtSignatureRequired", None, "use isDesktopExtensionSignatureRequired"),
    gone("trustBootstrapLocalExec", None, "use trustBootstrapDelivery"),
    gone("enduserAttribution", None, "use endUserAttribution"),
    gone("disableDefaultPlugins", None, "remove it"),
    gone("betaFeaturesEnabled", None, "remove it"),
    renamed("organizationPluginsUrl", None, "use allowedPluginMarketplaces"),
];

/// What a known key takes.
pub fn kind(name: &str) -> Option<KeyType> {
    KEYS.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::{Deprecation, KEYS, OLD};

    #[test]
    fn each_key_stands_once_and_gone_ones_are_no_keys() {
        let mut names: Vec<_> = KEYS.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
        for key in OLD {
            let known = KEYS.iter().any(|(known, _)| *known == key.name);
            assert!(!(known && key.fate == Deprecation::Gone), "{}", key.name);
        }
    }
}
