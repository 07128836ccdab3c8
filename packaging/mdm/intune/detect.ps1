# Intune, Remediations: detection. Runs as SYSTEM, in 64-bit PowerShell. Exit 0: as it should be; 1: run the remediation.
# The last line of output is what the portal shows and exports per machine.
param(
    # The oldest version that may be installed.
    [version] $Oldest = '0.1.0',
    # The digest of the policy that should be in force, as `gatepass --version --json` prints it; empty: any policy.
    [string] $PolicyDigest = ''
)
$program = Join-Path $env:ProgramFiles 'Gatepass\gatepass.exe'
if (-not (Test-Path -LiteralPath $program)) {
    Write-Output 'not installed'
    exit 1
}
$about = & $program --version --json 2>$null | ConvertFrom-Json
if (-not $about) {
    Write-Output 'does not run'
    exit 1
}
if ([version] $about.version -lt $Oldest) {
    Write-Output "version $($about.version) is older than $Oldest"
    exit 1
}
if (-not $about.policy_digest) {
    Write-Output "version $($about.version): no policy"
    exit 1
}
if ($PolicyDigest -and $about.policy_digest -ne $PolicyDigest) {
    Write-Output "version $($about.version): another policy ($($about.policy_digest))"
    exit 1
}
$report = & $program doctor --machine --json 2>$null | Out-String | ConvertFrom-Json
if (-not $report) {
    Write-Output "version $($about.version): doctor does not answer"
    exit 1
}
$failed = @($report.checks | Where-Object { $_.outcome -eq 'failed' } | ForEach-Object { $_.id })
if ($failed.Count -gt 0) {
    Write-Output "version $($about.version): failed: $($failed -join ', ')"
    exit 1
}
Write-Output "version $($about.version): ok, policy $($about.policy_digest)"
exit 0
