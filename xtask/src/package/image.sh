# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs packages and makes the disk of a host or a guest, with the files that its virtual machine boots, in /work/boot.
# $1: its name. $2: its filesystem's UUID. The rest: packages. A script of its name, beside these, is what it does when it has booted.
name=$1 uuid=$2
shift 2
for package; do set -- "$@" /work/made/"$package"_*.deb; shift; done
apt-get install --yes --no-install-recommends "$@" < /dev/null

echo "$name" > /etc/hostname
echo "UUID=$uuid / ext4 defaults 0 1" > /etc/fstab
cp "/work/boot/$name.sh" /root/cases
cat > /etc/systemd/system/cases.service <<END
[Unit]
After=multi-user.target systemd-update-done.service
[Service]
Type=oneshot
ExecStart=/bin/sh -u /root/cases
ExecStopPost=systemctl poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/hvc0
[Install]
WantedBy=graphical.target
END
systemctl enable cases.service
# It would write to the console in between.
systemctl mask serial-getty@hvc0.service
systemctl set-default graphical.target
if [ "$name" = host ]; then
    echo 'XENCONSOLED_ARGS="--log=guest --timestamp=none"' > /etc/default/xen
    cp /usr/share/grub/default/grub /etc/default/grub
    mkdir -p /boot/grub /var/log/xen/console
    gzip -dc /boot/xen-*~tmem.gz > /work/boot/xen
    cp /work/boot/guest.kernel /work/boot/guest.initrd /srv/
    cp /work/later/xen-hypervisor-*.deb /work/later/libxenguest*.deb /work/later/tmemctl_*.deb /srv/
else
    echo SWAP_DISK=/dev/xvdb >> /etc/default/tmem
    echo SWAP_ON_SUSPEND=keep >> /etc/default/tmem
fi
cp /boot/vmlinuz-* "/work/boot/$name.kernel"
cp /boot/initrd.img-* "/work/boot/$name.initrd"

# Without what is mounted into it.
apt-get clean
mkdir /tmp/plain
mount --bind / /tmp/plain
truncate -s 4G "/work/boot/$name.disk"
mke2fs -q -F -t ext4 -U "$uuid" -d /tmp/plain "/work/boot/$name.disk"
