#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# A Linux guest's first process: does what dom0 types into its console.
export PATH=/bin

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

# Swaps to the device that the module makes with these parameters.
swap_on() {
    insmod /lib/xen-tmem-swap.ko "$@" || return
    mkswap /dev/tmemswap0 > /dev/null
    swapon -d /dev/tmemswap0
}

swap_off() {
    swapoff /dev/tmemswap0 && rmmod xen-tmem-swap
}

# Lets the host have all memory but so many MiB.
shrink() {
    memory=/sys/devices/system/xen_memory/xen_memory0
    echo $(($1 * 1024)) > $memory/target_kb
    for try in $(seq 100); do
        test "$(cat $memory/info/current_kb)" -gt $(($1 * 1024)) || return 0
        sleep 0.1
    done
    echo "the balloon stays at $(cat $memory/info/current_kb) KiB"
    return 1
}

# Memory that programs could have without swap.
free_mib() {
    awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo
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

# Does what dom0 asks, and tells it how that ended.
answer() {
    echo
    echo "asked $1"
    eval "$2" < /dev/null
    status=$?
    echo
    echo "answered $1: $status"
}

insmod /lib/xen-blkfront.ko
while ! test -b /dev/xvdb; do sleep 0.1; done
echo "ready"
while read -r line; do
    eval "$line"
done
poweroff -f
