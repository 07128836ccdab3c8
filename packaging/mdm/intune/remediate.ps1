# Intune, Remediations: what the detection found and a script can mend. Runs as SYSTEM, in 64-bit PowerShell.
# Fill in your values; they are the ones that the package takes as ISSUER, CLIENT_ID and GATEWAY_URL. Where the policy
# comes by ADMX or by a settings catalogue, leave them empty: this script then only asks for a synchronisation.
param(
    [string] $Issuer = '',
    [string] $ClientId = '',
    [string] $GatewayUrl = ''
)
$ErrorActionPreference = 'Stop'
$key = 'HKLM:\SOFTWARE\Policies\Gatepass'
$values = @{ issuer = $Issuer; clientId = $ClientId; gatewayUrl = $GatewayUrl }
foreach ($name in $values.Keys) {
    if ($values[$name]) {
        if (-not (Test-Path -LiteralPath $key)) {
            New-Item -Path $key -Force | Out-Null
        }
        Set-ItemProperty -LiteralPath $key -Name $name -Value $values[$name] -Type String
    }
}
$program = Join-Path $env:ProgramFiles 'Gatepass\gatepass.exe'
if (-not (Test-Path -LiteralPath $program)) {
    # The application assignment installs it; ask the management extension to look now.
    Restart-Service -Name IntuneManagementExtension -ErrorAction SilentlyContinue
    Write-Output 'not installed: asked for a synchronisation'
    exit 1
}
$report = & $program doctor --machine --json 2>$null | Out-String | ConvertFrom-Json
if (-not $report) {
    Write-Output 'doctor does not answer'
    exit 1
}
$failed = @($report.checks | Where-Object { $_.outcome -eq 'failed' })
foreach ($check in $failed) {
    Write-Output "$($check.id): $($check.what); try: $($check.remedy)"
}
exit [int] ($failed.Count -gt 0)
