#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# dom0's first process: brings up Xen's tools, runs /host/script and powers off.
/bin/busybox --install -s /bin
export PATH=/@TOOLS@:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# QEMU asks for 384 MiB at once, which is more than dom0 has, and uses little of it.
echo 1 > /proc/sys/vm/overcommit_memory
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
exec < /dev/hvc0 > /dev/hvc0 2>&1
for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs; do
    insmod /lib/modules/$module.ko
done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xen/xenstored.pid
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen/console --timestamp=none \
    --pid-file=/run/xen/xenconsoled.pid

# Shows what a command says between marks, so that a reader finds it.
show() {
    echo "<<< $1"
    shift
    "$@"
    echo
    echo ">>>"
}

begin() {
    scenario=$1
    echo "$(cut -d . -f 1 /proc/uptime) s: $scenario"
}

@CASES@
# Runs a guest from its creation to its end, for at most $2 seconds.  To wait for
# guests name them: the daemons are this shell's children too, and never end.
guest() {
    timeout "$2" xl create -F "/host/$1.cfg" > "/tmp/$1.xl" 2>&1
    echo "xl create: $?" >> "/tmp/$1.xl"
    xl destroy "$1" 2> /dev/null
}

# Starts a guest, and says whether that worked.
start() {
    if timeout 120 xl create "/host/$1.cfg" > "/tmp/$1.xl" 2>&1; then
        echo "ok   $scenario: $1 starts"
    else
        echo "FAIL $scenario: $1 does not start: $(tail -n 3 "/tmp/$1.xl")"
    fi
}

# Makes a guest that does not run yet.
start_paused() {
    xl create -p "/host/$1.cfg" > "/tmp/$1.xl" 2>&1 ||
        echo "FAIL $scenario: $1 is not made: $(tail -n 3 "/tmp/$1.xl")"
}

# Waits until a guest has said something, as long as it is there: that is asked seldom, as xl takes its time.
wait_for() {
    for try in $(seq 3000); do
        grep -q "$2" "/var/log/xen/console/guest-$1.log" 2> /dev/null && return
        test $((try % 10)) != 0 || xl domid "$1" > /dev/null 2>&1 || break
        sleep 0.2
    done
    grep -q "$2" "/var/log/xen/console/guest-$1.log" 2> /dev/null && return
    echo "FAIL $scenario: $1 does not say \"$2\""
    return 1
}

# Tells a guest that waits to go on: it sees that its tmem is frozen.
go() {
    log=/var/log/xen/console/guest-$1.log
    grep -q "host: frozen" "$log" || tmemctl freeze "$1"
    wait_for "$1" "host: frozen"
    # It may have ended, if something else froze it before.
    tmemctl thaw "$1" 2> /dev/null
}

# Waits until none of these guests is left.
ended() {
    for try in $(seq 1200); do
        left=
        for name in $1; do
            ! xl domid "$name" > /dev/null 2>&1 || left="$left $name"
        done
        test -n "$left" || return 0
        sleep 0.5
    done
    echo "still there:$left"
    return 1
}

# Waits for a guest's end, and shows what it said.
finish() {
    if ! ended "$1"; then
        echo "FAIL $scenario: $1 does not end"
        xl destroy "$1"
    fi
    show "guest-$1" cat "/var/log/xen/console/guest-$1.log"
}

# Dom0 is one busy domain among many; it should not wait for all of them.
xl sched-credit2 -d 0 -w 20000

# Xen's free memory to the page.
free_kib() {
    xl debug-keys m
    sleep 0.5
    xl dmesg | sed -n 's/.*Dom heap: \([0-9]*\)kB free.*/\1/p' | tail -n 1
}

# What Xen says of itself, and that.
host_info() {
    xl info
    echo "free_kib : $1"
}

# Waits for the last domains' own pages: Xen frees them a while after they are gone (RCU).
memory_is_back() {
    for try in $(seq 20); do
        free_after=$(free_kib)
        test $((free_before - free_after)) -gt "$kept" || break
    done
}

free_before=$(free_kib)
show info host_info "$free_before"
. /host/script
memory_is_back
show info-at-end host_info "$free_after"
poweroff -f
