# SPDX-License-Identifier: MIT OR Apache-2.0
# A host with its packages, after it has booted.
console=/var/log/xen/console/guest-guest.log

# has_said WORDS: waits until the guest has.
has_said() {
    for try in $(seq 900); do
        ! grep -q "$1" $console || return 0
        sleep 1
    done
    tail -n 5 $console
    return 1
}

# The hypervisor that the first entry of the boot menu with one starts.
first_entry() {
    grep -m 1 -o 'multiboot2*[[:space:]]*/boot/xen-[^ ]*' /tmp/grub.cfg
}

begin "host"
expect "Xen with tmem runs" sh -c "xl info | grep '^xen_version .*-tmem\$'"
expect "tmem is on" tmemctl list
expect "nothing that should run has failed" sh -c "systemctl --failed --no-legend | grep . && exit 1 || true"

begin "boot menu"
expect "it can be made" grub-mkconfig -o /tmp/grub.cfg
case $(first_entry) in
*-amd64.gz) ok "Debian's own Xen is booted by default" ;;
*) fail "Debian's own Xen is booted by default: $(first_entry)" ;;
esac
expect "ours is in it, with tmem=1" grep -q "xen-.*~tmem.gz.* tmem=1" /tmp/grub.cfg
echo XEN_TMEM_DEFAULT=1 >> /etc/default/grub
expect "ours can be chosen" grub-mkconfig -o /tmp/grub.cfg
chosen=$(sed -n 's/^ *set default="\(Advanced.*\)"$/\1/p' /tmp/grub.cfg)
expect "it is chosen, by a title that is in the menu" grep -qF "submenu '${chosen%%>*}'" /tmp/grub.cfg
chosen=${chosen#*>}
expect "and another in that" grep -qF "submenu '${chosen%%>*}'" /tmp/grub.cfg

begin "policy"
cat >> /etc/xen/tmem.toml <<END
[[rule]]
name = "guest"
quota = "512 MiB"
END
expect "the service starts" systemctl enable --now tmemctl
expect "and runs" systemctl is-active tmemctl

begin "guest"
cat > /etc/xen/guest.cfg <<END
name = "guest"
type = "pv"
kernel = "/srv/guest.kernel"
ramdisk = "/srv/guest.initrd"
cmdline = "root=UUID=$GUEST ro console=hvc0 mitigations=off loglevel=4"
memory = 448
disk = [ "phy:/dev/vdb,xvda,w", "phy:/dev/vdc,xvdb,w" ]
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
END
expect "it starts" xl create /etc/xen/guest.cfg
# What it says, as it says it.
tail --retry --follow=name $console 2> /dev/null | sed -u 's/^/guest| /' &
expect "it swaps" has_said "guest: holds"
tmemctl list
expect "the policy gave it room" sh -c "tmemctl list | grep 512"

begin "upgrade while the guest runs"
expect "later packages can be installed" sh -c "dpkg --install /srv/*.deb"
expect "the service is still on" systemctl is-active tmemctl
expect "it is the later one" sh -c "dpkg-query -W tmemctl | grep later"
expect "a reboot is asked for" grep -q xen-hypervisor /run/reboot-required.pkgs

begin "save and restore"
expect "it can be saved" xl save guest /root/saved
expect "no domain uses tmem meanwhile" sh -c "tmemctl list | grep -q 'No domain uses tmem'"
expect "it can be restored" xl restore /root/saved
expect "it goes on" has_said "guest: done"
kill $!
grep -aE '^(ok  |FAIL) ' $console
