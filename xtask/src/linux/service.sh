# SPDX-License-Identifier: MIT OR Apache-2.0
# A Linux guest's service gives memory up, takes it back, and does what the host asks.
# Run by dom0's init after swap.sh.

# KiB, as guest.rs and guest.toml have them: what the guest is made with, and what the
# service leaves it.
all=262144 floor=163840

try_service() {
    off
    expect "swap to stand in for memory" ask "$guest" swap_on backing=/dev/xvdb
    expect "the guest has all its memory" ask "$guest" "within 100 has_more $((all - 16384))"
    expect "the service starts" ask "$guest" begin_service
    expect "it gives memory up" ask "$guest" "within 600 has_less $((all - 49152))"
    expect "the host has it" test "$(kib_of "$guest")" -lt $((all - 40960))
    expect "it says so" ask "$guest" 'tmem-guest status | grep "given up"'

    # More than the guest has now, so that programs wait for memory.
    ask "$guest" "begin_load --seed 11 --mib \$((\$(free_mib) + 24)) --threads $cpus --pages $pages"
    expect "it gives way to who needs memory" ask "$guest" "within 600 has_more $((all - 32768))"
    expect "it says so" ask "$guest" 'grep "processes wait for memory" /run/service'
    all_right
    none_lost

    ceiling=$((all - 24576))
    expect "the toolstack takes some away" xl mem-set "$guest" $((ceiling / 1024))m
    expect "the guest lets it go" ask "$guest" "within 600 has_less $((ceiling + 1))"
    expect "from here on its memory is watched" ask "$guest" begin_watch
    # Half of this load is in tmem.
    ask "$guest" limit_load 24M
    begin_with 12
    expect "the host is told what is in tmem" within 60 told_more 4096
    was=$(figure_of "$guest" moved)
    xenstore-write "/local/domain/$(xl domid "$guest")/memory/tmem-target" 4096
    expect "what it asks back goes to the disk" more_within 60 "$guest" moved $((was + 512))
    expect "the guest keeps no more" ask "$guest" 'within 300 holds_at_most 1024'
    expect "the host is told that" within 60 told_less 4097
    expect "the hypervisor has no more" ask "$guest" 'holds_at_most 1024'
    all_right
    none_lost
    expect "nothing is above what the toolstack grants, nor below the floor" \
        ask "$guest" "watched $floor $ceiling"
    expect "the service ends" ask "$guest" end_service
    expect "the guest gets all that is granted" ask "$guest" "within 100 has_more $((ceiling - 16384))"
    ask "$guest" 'cat /run/service'
    off
}

# within SECONDS COMMAND...: until it succeeds.
within() {
    seconds=$1
    shift
    for second in $(seq "$seconds"); do
        ! "$@" || return 0
        sleep 1
    done
    "$@"
}

more_within() {
    seconds=$1
    shift
    within "$seconds" more "$@"
}

# What Xen knows of a guest's memory, in KiB.
kib_of() {
    xl list "$1" | awk 'NR == 2 { print $3 * 1024 }'
}

# What the guest tells the host it has in tmem, in KiB.
told() {
    xenstore-read "/local/domain/$(xl domid "$guest")/data/tmem"
}

told_more() {
    now=$(told) && test "$now" -gt "$1" || { echo "the guest tells the host \"$now\""; return 1; }
}

told_less() {
    now=$(told) && test "$now" -lt "$1" || { echo "the guest tells the host \"$now\""; return 1; }
}
