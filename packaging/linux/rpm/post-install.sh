# The folder for the organisation's policy. Its content is the administrator's: the package neither brings nor
# changes a policy.
[ -e /etc/gatepass ] || mkdir -m 0755 /etc/gatepass
exit 0
