# Intune, Remediations: detection. Assign it with "Run script in 64-bit PowerShell" and not with the signed-in user's
# credentials. Exit code 0: as it should be; 1: the remediation is run. The last line of output is what the portal
# shows and exports for each machine; it has no secret in it.

# The oldest version that may be installed.
$Oldest = '0.1.0'
# The policy_digest that `gatepass --version --json` prints on a machine that is right; empty: any policy.
$PolicyDigest = ''
# The profile that is checked.
$GatepassProfile = 'default'

function Complete-Detection([int] $Code, [string] $Line) {
    Write-Output $Line
    exit $Code
}

# 1.2.3 of 1.2.3-rc.1+build.
function Get-Release([string] $Version) {
    [version] ($Version -replace '[-+].*$', '')
}

$program = Join-Path $env:ProgramFiles 'Gatepass\gatepass.exe'
if (-not (Test-Path -LiteralPath $program)) {
    Complete-Detection 1 'not installed'
}
$about = & $program --version --json 2>$null | Out-String | ConvertFrom-Json
if (-not $about) {
    Complete-Detection 1 'does not run'
}
$version = $about.version
if ($about.policy_error) {
    Complete-Detection 1 "${version}: the policy must not be followed"
}
if ((Get-Release $version) -lt (Get-Release $Oldest)) {
    Complete-Detection 1 "${version}: older than $Oldest"
}
if (-not $about.policy_digest) {
    Complete-Detection 1 "${version}: no policy"
}
if ($PolicyDigest -and $about.policy_digest -ne $PolicyDigest) {
    Complete-Detection 1 "${version}: another policy, $($about.policy_digest)"
}
$report = & $program --profile $GatepassProfile doctor --machine --json 2>$null | Out-String | ConvertFrom-Json
if (-not $report) {
    Complete-Detection 1 "${version}: doctor does not answer"
}
$failed = @($report.checks | Where-Object { $_.outcome -eq 'failed' } | ForEach-Object { $_.id })
if ($failed.Count -gt 0) {
    Complete-Detection 1 "${version}: failed: $($failed -join ' ')"
}
Complete-Detection 0 "${version}: ok, policy $($about.policy_digest)"
