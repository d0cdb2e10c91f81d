# SPDX-License-Identifier: MIT OR Apache-2.0
# A Linux guest swaps into tmem, and is interfered with.  Run by dom0's init after
# host.sh; every line "ok   ..." or "FAIL ..." is a case.

# swap_cases GUEST VCPUS PAGES PARTS: each part checks at least so many pages.
swap_cases() {
    guest=$1 cpus=$2 pages=$3
    load="--mib 48 --threads $cpus --pages $pages"
    begin "$guest: boot"
    boot "$guest" || return
    for part in $4; do
        begin "$guest: $part"
        "try_$part"
    done
    expect "the kernel has nothing to complain of" ask "$guest" \
        '! dmesg | grep -e "Call Trace" -e WARNING -e BUG'
    end "$guest"
}

# The device with a disk behind it, and memory for tmem.  The load has half of what it
# uses, whatever the kernel leaves.
have_swap() {
    expect "a disk behind it" \
        ask "$guest" 'test -b /dev/tmemswap0 || swap_on backing=/dev/xvdb'
    expect "the load has little memory" ask "$guest" limit_load 24M
    expect "the rest is for tmem" ask "$guest" shrink 48
}

all_right() {
    expect "all pages are as they were" ask "$guest" loaded
}

none_lost() {
    expect "none is lost" ask "$guest" 'test $(cat $tmem/lost) = 0'
}

# The whole guest is short of memory, not the load alone.
try_swap() {
    refused "no backing disk is an error" "no backing disk" \
        ask "$guest" "swap_on || ! dmesg | tail -n 1"
    have_swap
    ask "$guest" limit_load max
    expect "$pages pages are as they were" \
        ask "$guest" "load --mib \$((\$(free_mib) + 32)) --threads $cpus --pages $((pages * 2))"
    expect "they went to the pool" more "$guest" puts 1000
    expect "they came from there" more "$guest" gets 1000
    none_lost
    expect "none is left when the load is gone" ask "$guest" 'test $(cat $tmem/held) -lt 2000'
    expect "the host holds what the guest says" as_told "$guest"
}

try_refusals() {
    have_swap
    was=$(figure_of "$guest" refused)
    read_was=$(figure_of "$guest" disk_reads)
    ask "$guest" "begin_load --seed 2 $load"
    for round in 1 2 3 4 5 6; do
        tmemctl freeze "$guest"
        sleep 1
        tmemctl thaw "$guest"
        tmemctl set "$guest" --cap 4M
        sleep 1
        tmemctl set "$guest" --cap none
        sleep 0.5
    done
    all_right
    expect "the host holds what the guest says" as_told "$guest"
    expect "some were refused" more "$guest" refused "$was"
    expect "some came from the disk" more "$guest" disk_reads "$read_was"
}

# begin_with SEED: the load, until it has pages in the pool.
begin_with() {
    ask "$guest" "begin_load --seed $1 $load"
    sleep 3
}

try_saved() {
    have_swap
    begin_with 3
    was=$(figure_of "$guest" moved)
    expect "it is saved" xl save "$guest" /tmp/saved
    expect "it is restored" xl restore /tmp/saved
    rm -f /tmp/saved
    find_console "$guest"
    expect "its pages went to the disk" more "$guest" moved "$was"
    expect "there is a pool again" ask "$guest" 'test $(cat $tmem/pool) -ge 0'
    was=$(figure_of "$guest" puts)
    all_right
    expect "some went to the new pool" more "$guest" puts "$was"
    none_lost
}

try_aborted() {
    have_swap
    begin_with 4
    mkdir -p /small
    mount -t tmpfs -o size=8m tmpfs /small
    was=$(figure_of "$guest" moved)
    refused "there is no room for it" "" xl save "$guest" /small/saved
    umount /small
    expect "the guest was about to stop" more "$guest" moved "$was"
    was=$(figure_of "$guest" puts)
    all_right
    expect "some went to the new pool" more "$guest" puts "$was"
    none_lost
}

try_migrated() {
    have_swap
    begin_with 5
    expect "it migrates" xl migrate -s '' "$guest" 'xl migrate-receive'
    find_console "$guest"
    all_right
    none_lost
    expect "the host holds what the guest says" as_told "$guest"
}

# A guest that does not let itself be suspended while the host has pages of it.
try_refuse() {
    off
    expect "it refuses to be saved" ask "$guest" swap_on backing=/dev/xvdb on_suspend=refuse
    have_swap
    begin_with 10
    # xl waits for the guest for a minute, which has no way to say no.
    refused "it is not saved" "" xl save "$guest" /tmp/saved
    rm -f /tmp/saved
    expect "it says why" ask "$guest" 'dmesg | grep "the domain is not suspended"'
    was=$(figure_of "$guest" puts)
    all_right
    expect "it goes on to put" more "$guest" puts "$was"
    none_lost
    off
}

# Swap goes off, and the module; what was swapped needs memory.
off() {
    expect "it goes off" ask "$guest" 'grow; limit_load max; ! test -b /dev/tmemswap0 || swap_off'
}

try_removed() {
    have_swap
    begin_with 6
    refused "not while it is in use" "" ask "$guest" rmmod xen-tmem-swap
    off
    expect "no pool is left" test "$(pools_of "$guest")" = 0
    all_right
}

try_destroyed() {
    have_swap
    begin_with 7
    expect "the administrator destroys all" tmemctl destroy "$guest" --yes
    sleep 2
    expect "the load ends by a signal" ask "$guest" '! loaded; grep "load: 135" /run/load'
    refused "no page is wrong" "" ask "$guest" 'grep written /run/load'
    expect "pages are lost" more "$guest" lost 0
    expect "the device goes on with its disk" ask "$guest" "load --seed 8 $load"
    off
}

try_unbacked() {
    off
    expect "it is asked for" ask "$guest" swap_on unbacked=1 size_mb=128
    # The load alone is short of memory: whoever else is would wait with it.
    have_swap
    tmemctl freeze "$guest"
    ask "$guest" "begin_load --seed 9 $load"
    sleep 10
    was=$(figure_of "$guest" refused)
    sleep 5
    expect "nobody spins" less "$guest" refused $((was + 5000))
    tmemctl thaw "$guest"
    ask "$guest" loaded
    expect "nothing is wrong" ask "$guest" '! grep written /run/load'
    off
}

# The hypervisor has as many pages of a guest's as its device says, and its mark; the
# guest may swap between the two questions.
as_told() {
    for try in 1 2 3 4 5; do
        told=$(figure_of "$1" held)
        has=$(tmemctl list --raw "$(xl domid "$1")" | sed -n 's/^P=.*[,:]Pc:\([0-9]*\).*/\1/p')
        test $((told + 1)) != "$has" || return 0
    done
    echo "the guest says $told, the hypervisor $has"
    return 1
}

pools_of() {
    tmemctl list --raw "$(xl domid "$1")" | grep -c '^P='
}

# less GUEST FIGURE THAN
less() {
    now=$(figure_of "$1" "$2")
    test "$now" -lt "$3" || { echo "$2 is $now"; return 1; }
}
