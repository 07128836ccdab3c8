#!/bin/sh
# Whether gatepass is on this machine as it should be, in one line. Runs as root, changes nothing and shows no secret.
#
# Jamf Pro: an extension attribute with data type "String" and input type "Script"; smart groups ask for what it says.
# Everywhere else the same script does, with another value of `as`.

# result: <result>…</result> for Jamf Pro, exit code 0
# line:   the line alone, exit code 0 (a sensor of Workspace ONE)
# exit:   the line, and exit code 1 where something is not as it should be (Kandji, cron, ssh)
as=result
# The oldest version that may be installed; empty: any.
oldest=
# The policy_digest that `gatepass --version --json` prints on a machine that is right; empty: any policy.
digest=
# The profile that is checked.
profile=default
# no: only what is installed is looked at, not whether it works.
checks=yes
# Where the packages put gatepass.
case $(uname -s) in
Linux) program=/usr/bin/gatepass ;;
*) program=/usr/local/bin/gatepass ;;
esac

say() {
    case $as in
    # The line must not break out of its element.
    result) printf '<result>%s</result>\n' "$(printf '%s' "$2" | tr -d '<>&')" ;;
    *) printf '%s\n' "$2" ;;
    esac
    [ "$as" = exit ] && exit "$1"
    exit 0
}

# Root runs nothing that somebody else could have put there.
belongs_to_root() {
    [ -n "$(find "$1" -prune -user 0 ! -perm -020 ! -perm -002)" ]
}

# A string out of JSON that has one member on each line, or all on one, without a tool that a Mac may lack.
word() {
    printf '%s' "$1" | tr -d '\n' | sed -n "s/.*\"$2\":[ ]*\"\([^\"]*\)\".*/\1/p"
}

older() {
    awk -v a="$1" -v b="$2" 'BEGIN {
        sub(/[-+].*/, "", a); sub(/[-+].*/, "", b)
        split(a, x, "."); split(b, y, ".")
        for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) exit (x[i] + 0 > y[i] + 0)
        exit 1
    }'
}

[ -x "$program" ] || say 1 'not installed'
real=$program
if [ -L "$program" ]; then
    real=$(readlink "$program")
    case $real in
    /*) ;;
    *) real=${program%/*}/$real ;;
    esac
fi
for path in "${program%/*}" "${real%/*}" "$real"; do
    belongs_to_root "$path" || say 1 "not safe to run: others than root may write $path"
done
about=$("$program" --version --json 2>/dev/null) || say 1 'does not run'
version=$(word "$about" version)
policy=$(word "$about" policy_digest)
case $about in
*'"policy_error":"'*) say 1 "$version: the policy must not be followed" ;;
esac
[ -z "$oldest" ] || ! older "$version" "$oldest" || say 1 "$version: older than $oldest"
[ -n "$policy" ] || say 1 "$version: no policy"
[ -z "$digest" ] || [ "$policy" = "$digest" ] || say 1 "$version: another policy, $policy"
[ "$checks" = yes ] || say 0 "$version: ok, policy $policy"
report=$("$program" --profile "$profile" doctor --machine --json 2>/dev/null)
code=$?
failed=$(printf '%s\n' "$report" | awk -F '"' '
    $2 == "id" { id = $4 }
    $2 == "outcome" && $4 == "failed" { printf " %s", id }')
[ "$code" -eq 0 ] || say 1 "$version: failed:${failed:- code $code}"
say 0 "$version: ok, policy $policy"
