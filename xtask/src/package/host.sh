# SPDX-License-Identifier: MIT OR Apache-2.0
# A host's packages, in a Debian that has Xen's tools: $1 is the release.
xen=$1
folder=/usr/lib/x86_64-linux-gnu
library=$folder/libxenguest.so.$xen.0
aside=/usr/lib/libxenguest$xen-tmem/libxenguest.so.$xen.0
names="libxenguest$xen-tmem tmemctl xen-hypervisor-$xen-tmem"
helper=/usr/lib/xen-$xen/bin/libxl-save-helper

packages() {
    for name in $names; do echo /work/"$1"/"$name"_*.deb; done
}

carries_tmem() {
    grep -q "The domain uses tmem" "$library"
}

# No package is half installed.
clean_status() {
    ! dpkg --audit | grep .
}

everything > /tmp/before
cp "$library" /tmp/stock

begin "install"
# shellcheck disable=SC2046 # a list of files
expect "all packages can be installed" install $(packages made)
expect "all is there, and as it was packed" owned $names
expect "Debian's library is put aside" cmp "$aside" /tmp/stock
expect "its place is taken by ours" carries_tmem
expect "by its name ours is found" test "$(readlink -f "$folder/libxenguest.so.$xen")" = "$library"
expect "xl's helper finds all that it needs" sh -c "ldd -r $helper 2>&1 | grep -E 'undefined|not found' && exit 1 || true"
expect "the hypervisor lies beside Debian's" ls "/boot/xen-$xen-amd64.gz" "/boot/xen-$xen~tmem.gz"
expect "boot menus order it behind Debian's" sh -c \
    "ls /boot/xen-*.gz | sed 's/\$/ 2/' | LC_ALL=C sort -V | head -n 1 | grep -q '~tmem'"
expect "tmemctl runs" tmemctl --version
expect "it has a manual" sh -c "ls /usr/share/man/man1/tmemctl-serve.1.gz"
refused "the policy's service waits for the administrator" disabled systemctl is-enabled tmemctl

begin "upgrade"
echo "# ours" >> /etc/xen/tmem.toml
# shellcheck disable=SC2046
expect "later packages can be installed" install $(packages later)
expect "the policy is kept" grep -q "# ours" /etc/xen/tmem.toml
expect "our library is still in place" carries_tmem
expect "Debian's is still aside" cmp "$aside" /tmp/stock
expect "Debian's can be upgraded" install --reinstall "libxenmisc$xen"
expect "that upgrades the one put aside" cmp "$aside" /tmp/stock
expect "and leaves ours in place" carries_tmem

begin "remove"
expect "all packages can be removed" apt-get remove --yes $names
expect "Debian's library is back" cmp "$library" /tmp/stock
expect "and no longer diverted" sh -c "! dpkg-divert --list | grep libxenguest"
expect "the policy is kept" grep -q "# ours" /etc/xen/tmem.toml

begin "purge"
expect "all packages can be purged" apt-get purge --yes $names
expect "no file is left" nothing_left /tmp/before

begin "another release"
for file in "$folder"/libxenctrl.so."$xen"*; do mv "$file" "$(echo "$file" | sed "s/$xen/9.99/g")"; done
refused "it names the library that fits" "This host has Xen 9.99: install libxenguest9.99-tmem instead." \
    dpkg --install /work/made/libxenguest"$xen"-tmem_*.deb
expect "Debian's library is untouched" cmp "$library" /tmp/stock
expect "dpkg has nothing to mend" clean_status
rm "$folder"/libxenctrl.so.9.99*
refused "without Xen's tools it says how to get them" "apt install xen-system-amd64" \
    dpkg --install /work/made/libxenguest"$xen"-tmem_*.deb
expect "dpkg has nothing to mend" clean_status
expect "nothing is diverted" sh -c "! dpkg-divert --list | grep libxenguest"
