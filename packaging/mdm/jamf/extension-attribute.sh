#!/bin/sh
# Jamf Pro, extension attribute "gatepass" (data type string, input type script). Runs as root at each inventory update.
# Smart groups can ask for: not installed, ok, no policy, failed.
program=/usr/local/bin/gatepass
result() {
    # The result must not break out of its element.
    printf '<result>%s</result>\n' "$(printf '%s' "$1" | tr -d '<>&')"
    exit 0
}
# One word out of flat JSON, without a tool that a Mac may lack.
word() {
    printf '%s' "$1" | tr -d '\n' | sed -n "s/.*\"$2\":[ ]*\"\([^\"]*\)\".*/\1/p"
}
[ -x "$program" ] || result 'not installed'
about=$("$program" --version --json 2>/dev/null) || result 'does not run'
version=$(word "$about" version)
digest=$(word "$about" policy_digest)
[ -n "$digest" ] || result "$version: no policy"
if "$program" doctor --machine --json >/dev/null 2>&1; then
    result "$version: ok, policy $digest"
else
    result "$version: failed ($?), policy $digest"
fi
