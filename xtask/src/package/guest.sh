# SPDX-License-Identifier: MIT OR Apache-2.0
# A guest's packages, in a Debian that has a kernel, its headers and DKMS.
names="tmem-dkms tmem-guest"
kernel=$(basename /lib/modules/*-amd64)

packages() {
    for name in $names; do echo /work/"$1"/"$name"_*.deb; done
}

version() {
    dpkg-query -W -f '${Version}' tmem-dkms
}

# in_initramfs FILE...: it has all of them.
in_initramfs() {
    lsinitramfs "/boot/initrd.img-$kernel" > /tmp/initramfs
    for file; do grep -qE "$file" /tmp/initramfs || { echo "no $file"; return 1; }; done
}

modules_installed() {
    for module in xen-tmem-swap dm-tmem; do
        modinfo -k "$kernel" "$module" || return 1
    done
}

everything > /tmp/before

begin "install"
# shellcheck disable=SC2046 # a list of files
expect "all packages can be installed" install $(packages made)
expect "all is there, and as it was packed" owned $names
expect "the modules are built" sh -c "dkms status | grep -q 'tmem/$(version), $kernel, x86_64: installed'"
expect "and found" modules_installed
expect "the initramfs can cache the root disk" in_initramfs \
    dm-tmem.ko dm-mod.ko usr/sbin/dmsetup rules.d/61-tmem.rules local-premount/tmem etc/default/tmem
expect "tmem-guest runs" tmem-guest --version
expect "it has a manual" ls /usr/share/man/man8/tmem-guest.8.gz
expect "its service is on" systemctl is-enabled tmem-guest
expect "as is the one for swap" systemctl is-enabled tmem-swap

begin "upgrade"
echo "hold_seconds = 30" >> /etc/tmem-guest.toml
first=$(version)
# shellcheck disable=SC2046
expect "later packages can be installed" install $(packages later)
expect "the settings are kept" grep -q "hold_seconds = 30" /etc/tmem-guest.toml
expect "the modules are built again" sh -c "dkms status | grep -q 'tmem/$(version), $kernel, x86_64: installed'"
expect "the earlier ones are gone" sh -c "! dkms status | grep 'tmem/$first,' && ! ls -d /usr/src/tmem-$first"

begin "a build that fails"
rm /lib/modules/"$kernel"/updates/dkms/dm-tmem.ko*
depmod "$kernel"
warns() {
    update-initramfs -u -k "$kernel" 2>&1 | grep "the root disk won't be cached: kernel $kernel has no module dm-tmem"
}
expect "the initramfs is made all the same, with a warning" warns
expect "and has no module" sh -c "! lsinitramfs /boot/initrd.img-$kernel | grep dm-tmem.ko"

begin "off"
sed -i s/^CACHE_ROOT=.*/CACHE_ROOT=no/ /etc/default/tmem
expect "the initramfs can be made" update-initramfs -u -k "$kernel"
expect "it does not touch the root disk" sh -c "! lsinitramfs /boot/initrd.img-$kernel | grep etc/default/tmem"

begin "remove and purge"
expect "all packages can be removed" apt-get remove --yes $names
expect "their settings are kept" ls /etc/default/tmem /etc/tmem-guest.toml
expect "all packages can be purged" apt-get purge --yes $names
expect "no file is left" nothing_left /tmp/before
expect "and no trace in the initramfs" sh -c "! lsinitramfs /boot/initrd.img-$kernel | grep tmem"
