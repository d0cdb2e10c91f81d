#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The first process of a stock Linux that Xen starts as dom0: brings up disks in memory,
# runs /script and powers off.  Every line "ok   ..." or "FAIL ..." is a case.
/bin/busybox --install -s /bin
# Where a program of Debian's and one of busybox's have the same name, this shell takes its own: use the path.
export PATH=/bin:/debian
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=100% tmpfs /disks
exec < /dev/hvc0 > /dev/hvc0 2>&1
while read -r module; do
    insmod "/lib/modules/$module.ko" || echo "FAIL $module is not loaded"
done < /lib/modules/order
mount -t xenfs xenfs /proc/xen
uname -r

ok() {
    echo "ok   $*"
}

fail() {
    echo "FAIL $*"
}

# expect WHAT COMMAND...: the command succeeds.
expect() {
    what=$1
    shift
    if said=$("$@" 2>&1); then ok "$what"; else fail "$what: $* says: $said"; fi
}

# refused WHAT COMMAND...: it does not.
refused() {
    what=$1
    shift
    if said=$("$@" 2>&1); then fail "$what: $* succeeds"; else ok "$what"; fi
}

# disk NUMBER MIB: a disk in memory, /dev/loopNUMBER.
disk() {
    rm -f "/disks/$1"
    truncate -s "$2M" "/disks/$1"
    losetup "/dev/loop$1" "/disks/$1"
}

# map NAME TARGET DEVICE [ARGUMENTS]: over the whole device.
map() {
    name=$1 target=$2 device=$3
    shift 3
    echo "0 $(blockdev --getsz "$device") $target $device $*" |
        dmsetup --noudevsync create "$name" && dmsetup mknodes
}

# map_read_only NAME DEVICE UUID: an image.
map_read_only() {
    echo "0 $(blockdev --getsz "$2") tmem-image $2 $3" |
        dmsetup --noudevsync create "$1" --readonly && dmsetup mknodes
}

# crypt DEVICE: encrypted, as /dev/mapper/c.
crypt() {
    echo "0 $(blockdev --getsz "$1") crypt aes-xts-plain64 $(printf %064d 7) 0 $1 0" |
        dmsetup --noudevsync create c && dmsetup mknodes
}

unmap() {
    dmsetup --noudevsync remove "$1"
    dmsetup mknodes
}

# counter NAME WHICH: of a mapped device.
counter() {
    number=$(dmsetup info -c --noheadings -o major,minor --separator : "$1")
    cat "/sys/dev/block/$number/tmem/$2"
}

# grew NAME WHICH THAN: a counter has.
grew() {
    now=$(counter "$1" "$2")
    test "$now" -gt "$3" || { echo "$2 is $now, was $3"; return 1; }
}

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

make_ext4() {
    /debian/mke2fs -q -F -t ext4 -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$@"
}

make_xfs() {
    mkfs.xfs -q -f -K "$@"
}

make_btrfs() {
    mkfs.btrfs -q -f -K "$@"
}

# What the kernel complained of.
complaints() {
    if dmesg | grep -E 'BUG|WARNING:|Oops|Call Trace|possible .* detected|rcu.*stall'; then
        fail "the kernel complains"
    fi
}

. /script
complaints
poweroff -f
