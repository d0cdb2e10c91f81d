# SPDX-License-Identifier: MIT OR Apache-2.0
# What scripts about guests that xl saves have in common.  The library that carries
# tmem is in its place, the distribution's own in /lib/stock.

# What is saved takes memory of dom0's: more than its file system has by default.
mount -o remount,size=100% /

# What a guest has said, here or where it came from.
said() {
    cat "/var/log/xen/console/guest-$1.log" "/var/log/xen/console/guest-$1--incoming.log" 2> /dev/null
}

# has_said NAME WORDS [TIMES]: waits until it has, so often; longer than Xen waits
# for whoever saves a guest.
has_said() {
    for try in $(seq 1200); do
        test "$(said "$1" | grep -c "$2")" -lt "${3:-1}" || return 0
        sleep 0.2
    done
    echo "$1 does not say \"$2\": $(said "$1" | tail -n 3)"
    return 1
}

# asleep NAME CYCLE: the guest suspends itself, as it is not told by the store.
asleep() {
    has_said "$1" "host: ready $2" && tmemctl freeze "$1" && has_said "$1" "host: suspends $2"
}

# toolstack NAME COMMAND...: runs xl, and answers for the guest when it is asked to suspend.
toolstack() {
    control=/local/domain/$(xl domid "$1")/control/shutdown
    shift
    "$@" > /tmp/xl.log 2>&1 & running=$!
    while kill -0 $running 2> /dev/null; do
        xenstore-write "$control" "" 2> /dev/null
        sleep 0.2
    done
    wait $running || {
        code=$?
        cat /tmp/xl.log
        return $code
    }
}

is_gone() {
    ! xl domid "$1" > /dev/null 2>&1
}

# fails WHAT NAME WORDS COMMAND...: xl fails, and it or Xen says these words.
fails() {
    what=$1 name=$2 words=$3
    shift 3
    xl dmesg -c > /dev/null
    if toolstack "$name" "$@" > /tmp/failed.log 2>&1; then
        fail "$what: $* succeeds"
    else
        ok "$what: xl fails"
    fi
    xl dmesg >> /tmp/failed.log
    if grep -q "$words" /tmp/failed.log; then
        ok "$what: it is said why"
    else
        fail "$what: nothing says \"$words\""
        show failed cat /tmp/failed.log
    fi
}

# whole WHAT NAME CYCLE [TIMES]
whole() {
    expect "$1" has_said "$2" "host: whole $3" "${4:-1}"
    expect "$1: it is not being saved" figure_is "$2" sv 0
}

stock() {
    LD_LIBRARY_PATH=/lib/stock "$@"
}
