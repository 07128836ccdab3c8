# Intune, Remediations: what a script can mend of what the detection found. Assign it like the detection: in 64-bit
# PowerShell, not with the signed-in user's credentials. It writes the policies below where they differ and
# says what is left; the package itself comes with the application's assignment.
#
# Where the policies come by Group Policy, an imported ADMX or the profile of `gatepass export --format intune`, leave
# the tables empty: two that deliver the same value undo each other's work.

# gatepass's policy, as in docs/policy.md: strings, numbers, $true or $false; lists as @('a', 'b'), tables as @{ a = 'b' }.
# No secrets: every user of the machine can read it.
$GatepassPolicy = @{
    # issuer     = 'https://idp.example.com'
    # clientId   = 'gatepass'
    # gatewayUrl = 'https://gateway.example.com'
}
# Claude Desktop's policy, as `gatepass export claude-desktop --format reg --with-policy` writes it: strings only.
$ClaudePolicy = @{
}
# The profile that is checked.
$GatepassProfile = 'default'

# A value as the registry has it.
function ConvertTo-RegistryValue($Value) {
    if ($Value -is [bool]) {
        return @{ Type = 'DWord'; Value = [int] $Value }
    }
    if ($Value -is [int]) {
        return @{ Type = 'DWord'; Value = $Value }
    }
    if ($Value -is [array] -or $Value -is [System.Collections.IDictionary]) {
        return @{ Type = 'String'; Value = ConvertTo-Json -InputObject $Value -Compress -Depth 10 }
    }
    return @{ Type = 'String'; Value = [string] $Value }
}

function Set-PolicyValues([string] $Key, [System.Collections.IDictionary] $Values) {
    foreach ($name in $Values.Keys) {
        $wanted = ConvertTo-RegistryValue $Values[$name]
        if (-not (Test-Path -LiteralPath $Key)) {
            New-Item -Path $Key -Force -ErrorAction Stop | Out-Null
        }
        $present = (Get-Item -LiteralPath $Key).GetValue($name)
        if ($present -cne $wanted.Value) {
            New-ItemProperty -LiteralPath $Key -Name $name -Value $wanted.Value -PropertyType $wanted.Type -Force -ErrorAction Stop | Out-Null
            Write-Output "wrote $Key, $name"
        }
    }
}

Set-PolicyValues 'HKLM:\SOFTWARE\Policies\Gatepass' $GatepassPolicy
Set-PolicyValues 'HKLM:\SOFTWARE\Policies\Claude' $ClaudePolicy

$program = Join-Path $env:ProgramFiles 'Gatepass\gatepass.exe'
if (-not (Test-Path -LiteralPath $program)) {
    # The application's assignment installs it. The management extension is not restarted: it runs this script.
    Write-Output 'not installed'
    exit 1
}
$report = & $program --profile $GatepassProfile doctor --machine --json 2>$null | Out-String | ConvertFrom-Json
if (-not $report) {
    Write-Output 'doctor does not answer'
    exit 1
}
$failed = @($report.checks | Where-Object { $_.outcome -eq 'failed' })
foreach ($check in $failed) {
    Write-Output "$($check.id): $($check.what); try: $($check.remedy)"
}
if ($failed.Count -gt 0) {
    exit 1
}
Write-Output 'ok'
exit 0
