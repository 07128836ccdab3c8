# The last version goes: so does the folder, unless there is a policy in it.
if [ "$1" = 0 ]; then
    rmdir /etc/gatepass 2>/dev/null
fi
exit 0
