# SPDX-License-Identifier: MIT OR Apache-2.0
# dom0's part in trying Linux guests.  Run by its init before the cases.

# Two disks in dom0's memory, both empty.
make_disks() {
    for try in $(seq 100); do
        ! lsmod | grep -q '^brd ' || rmmod brd 2> /dev/null || { sleep 0.2; continue; }
        insmod /host/brd.ko rd_nr=2 rd_size=262144
        return
    done
    fail "a guest that is gone holds its disks"
}

insmod /host/xen-blkback.ko
printf '#!/bin/sh
test "$1" = add || exit 0
disk=$(xenstore-read "$XENBUS_PATH/params")
xenstore-write "$XENBUS_PATH/physical-device" "1:${disk#/dev/ram}" "$XENBUS_PATH/hotplug-status" connected
' > /host/block
chmod +x /host/block

# How often any guest was asked anything: in a file, as cases run in shells of their own.
echo 0 > /tmp/asked

guest_log() {
    cat "/var/log/xen/console/guest-$1.log" "/var/log/xen/console/guest-$1--incoming.log" 2> /dev/null
}

# Waits up to so many tenths of a second for a line of a guest's.
says() {
    for try in $(seq "$3"); do
        ! guest_log "$1" | grep -q "$2" || return 0
        test $((try % 50)) != 0 || xl domid "$1" > /dev/null 2>&1 || break
        sleep 0.1
    done
    guest_log "$1" | grep -q "$2"
}

# Where to type what a guest reads: another place each time that it is made.
find_console() {
    console=$(xenstore-read "/local/domain/$(xl domid "$1")/console/tty")
}

# ask GUEST COMMAND...: the guest runs it; what it says, and its status.
ask() {
    guest=$1
    shift
    asked=$(($(cat /tmp/asked) + 1))
    echo $asked > /tmp/asked
    echo "answer $asked '$*'" > "$console"
    if ! says "$guest" "^answered $asked: " 3000; then
        echo "no answer to: $*"
        show_stuck "$guest"
        return 1
    fi
    guest_log "$guest" | sed -n "/^asked $asked\$/,/^answered $asked: /p" | sed '1d;$d' | grep .
    guest_log "$guest" | grep -q "^answered $asked: 0"
}

# What a guest does that does not answer: its memory, and where its tasks wait.
show_stuck() {
    xl list
    xl vcpu-list "$1"
    for key in m w l; do
        xl sysrq "$1" $key
        sleep 2
    done
    guest_log "$1" | tail -n 150
}

# The device's figures in the guest, by name.
figure_of() {
    ask "$1" "cat \$tmem/$2" | tail -n 1
}

# more GUEST FIGURE THAN: it has grown since then.
more() {
    now=$(figure_of "$1" "$2")
    test "$now" -gt "$3" || { echo "$2 is $now, was $3"; return 1; }
}

# boot GUEST: until it does what it is asked.
boot() {
    make_disks
    start "$1"
    if ! says "$1" '^ready' 3000; then
        fail "$1 does not come up: $(guest_log "$1" | tail -n 5)"
        return 1
    fi
    find_console "$1"
}

# Ends a guest, and shows what it said.
end() {
    echo "poweroff -f" > "$console"
    finish "$1"
}
