# The last version goes, and so do the folders that only it had files in: cargo-generate-rpm cannot say that they
# belong to the package (its `dir = true` fails). A policy keeps its folder.
if [ "$1" = 0 ]; then
    rmdir /etc/gatepass /usr/libexec/gatepass /usr/share/gatepass /usr/share/doc/gatepass /usr/share/licenses/gatepass \
        /usr/share/zsh/site-functions /usr/share/fish/vendor_completions.d 2>/dev/null
fi
exit 0
