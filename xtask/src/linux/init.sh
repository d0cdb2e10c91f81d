#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# A Linux guest's first process: does what dom0 types into its console.
# Where a program of Debian's and one of busybox's have the same name, this shell takes its own: use the path.
export PATH=/bin:/debian

# What this shell runs stays in memory: its files lie in a ramfs, and it starts anew in a group that has
# no swap: only what the load uses is swapped.
if test "$1" != again; then
    /bin/busybox --install -s /bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    cd /sys/fs/cgroup
    echo +memory > cgroup.subtree_control
    mkdir init load
    echo 0 > init/memory.swap.max
    echo $$ > init/cgroup.procs
    cd /
    exec /init again
fi
exec < /dev/hvc0 > /dev/hvc0 2>&1
stty -echo -onlcr

tmem=/sys/block/tmemswap0/tmem
memory=/sys/devices/system/xen_memory/xen_memory0
all_kib=$(cat $memory/target_kb)

# Swaps to the device that the module makes with these parameters.
swap_on() {
    insmod /lib/modules/xen-tmem-swap.ko "$@" || return
    mkswap /dev/tmemswap0 > /dev/null
    swapon -d /dev/tmemswap0
}

swap_off() {
    swapoff /dev/tmemswap0 && rmmod xen-tmem-swap
}

# Memory that programs could have without swap.
free_mib() {
    awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo
}

# Lets the host have all memory but what is in use, which differs by kernel, and so many
# MiB for programs.
shrink() {
    target=$(($(cat $memory/info/current_kb) - ($(free_mib) - $1) * 1024))
    echo $target > $memory/target_kb
    for try in $(seq 300); do
        test "$(cat $memory/info/current_kb)" -gt $target || return 0
        sleep 0.1
    done
    echo "the balloon stays at $(cat $memory/info/current_kb) KiB, above $target"
    return 1
}

# Asks for all memory back; what the guest has in tmem may be in the way of some.
grow() {
    echo "$all_kib" > $memory/target_kb
}

# How much memory the load may have, before it is swapped.
limit_load() {
    echo "$1" > /sys/fs/cgroup/load/memory.max
}

# Runs a program where it may be swapped, and says how it ends.
load() {
    sh -c 'echo $$ > /sys/fs/cgroup/load/cgroup.procs; exec swap-load "$@"' load "$@"
    echo "load: $?"
}

# A filesystem on a disk whose clean pages go to tmem, or on the disk alone.
mount_cached() {
    insmod /lib/modules/dm-tmem.ko || return
    echo "0 $(blockdev --getsz /dev/xvdc) tmem /dev/xvdc" | dmsetup --noudevsync create files || return
    dmsetup mknodes
    make_files /dev/mapper/files
}

make_files() {
    /debian/mke2fs -q -F -t ext4 -b 4096 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$1" 128M &&
        mount -t ext4 "$1" /mnt
}

unmount_cached() {
    umount /mnt && dmsetup --noudevsync remove files && dmsetup mknodes && rmmod dm-tmem
}

drop_caches() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

files_are_right() {
    file-load /mnt /tmp/model scan
}

begin_files_load() {
    file-load /mnt /tmp/model stress "$@" > /run/files 2>&1 &
    files=$!
}

files_loaded() {
    wait $files
    status=$?
    cat /run/files
    return $status
}

disk_counter() {
    cat /sys/dev/block/$(dmsetup info -c --noheadings -o major,minor --separator : files)/tmem/$1
}

# disk_has_more COUNTER THAN
disk_has_more() {
    echo "$1 is $(disk_counter "$1")"
    test "$(disk_counter "$1")" -gt "$2"
}

# The load goes on in the background until `loaded` asks for its end.
begin_load() {
    rm -f /run/stop
    load --until /run/stop "$@" > /run/load 2>&1 &
    load=$!
}

loaded() {
    : > /run/stop
    wait $load
    cat /run/load
    grep -q 'load: 0' /run/load
}

# within TENTHS COMMAND...: until it succeeds, for so many tenths of a second.
within() {
    tenths=$1
    shift
    for tenth in $(seq "$tenths"); do
        ! "$@" || return 0
        sleep 0.1
    done
    echo "after $tenths tenths of a second: $* fails; the guest has $(cat $memory/info/current_kb) KiB"
    return 1
}

has_less() {
    test "$(cat $memory/info/current_kb)" -lt "$1"
}

has_more() {
    test "$(cat $memory/info/current_kb)" -gt "$1"
}

holds_at_most() {
    test "$(cat $tmem/held)" -le "$1"
}

# The service that gives memory up.
begin_service() {
    tmem-guest run > /run/service 2>&1 &
    service=$!
    within 50 grep "the host grants" /run/service || { cat /run/service; return 1; }
}

end_service() {
    kill $service
    wait $service || { cat /run/service; return 1; }
}

# Watches how much memory the guest has until `watched` asks: never less or more than so many KiB.
begin_watch() {
    while sleep 0.2; do cat $memory/info/current_kb; done > /run/memory &
    watch=$!
}

watched() {
    kill $watch
    sort -n /run/memory > /run/sorted
    least=$(head -n 1 /run/sorted) most=$(tail -n 1 /run/sorted)
    echo "the guest had from $least to $most KiB"
    test "$least" -ge "$1" && test "$most" -le "$2"
}

# Does what dom0 asks, and tells it how that ended.
answer() {
    echo
    echo "asked $1"
    eval "$2" < /dev/null
    status=$?
    echo
    echo "answered $1: $status"
}

while read -r module; do
    insmod "/lib/modules/$module.ko"
done < /lib/modules/order
while ! test -b /dev/xvdc; do sleep 0.1; done
echo "ready"
while read -r line; do
    eval "$line"
done
poweroff -f
