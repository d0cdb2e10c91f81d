# SPDX-License-Identifier: MIT OR Apache-2.0
# A Linux guest swaps into tmem, and is interfered with.  Run by dom0's init after
# host.sh; every line "ok   ..." or "FAIL ..." is a case.

# swap_cases GUEST VCPUS PAGES: each case checks at least so many pages.
swap_cases() {
    guest=$1 cpus=$2 pages=$3
    load="--mib 48 --threads $cpus --pages $pages"

    begin "$guest: swap"
    boot "$guest" || return
    refused "no backing disk is an error" "no backing disk" \
        ask "$guest" "swap_on || ! dmesg | tail -n 1"
    expect "a disk behind it" ask "$guest" swap_on backing=/dev/xvdb
    expect "the rest of its memory is for tmem" ask "$guest" shrink 96
    expect "$pages pages are as they were" \
        ask "$guest" "load --mib \$((\$(free_mib) + 16)) --threads $cpus --pages $((pages * 2))"
    expect "they went to the pool" more "$guest" puts 1000
    expect "they came from there" more "$guest" gets 1000
    expect "none is lost" ask "$guest" 'test $(cat $tmem/lost) = 0'
    expect "none is left when the load is gone" ask "$guest" 'test $(cat $tmem/held) -lt 2000'
    expect "the host holds what the guest says" as_told "$guest"

    # From here on the load has half the memory that it uses, whatever the kernel leaves.
    expect "the load has little memory" ask "$guest" limit_load 24M
    begin "$guest: refusals"
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
    expect "all pages are as they were" ask "$guest" loaded
    expect "the host holds what the guest says" as_told "$guest"
    expect "some were refused" more "$guest" refused "$was"
    expect "some came from the disk" more "$guest" disk_reads "$read_was"

    begin "$guest: saved and restored"
    ask "$guest" "begin_load --seed 3 $load"
    sleep 3
    pool=$(figure_of "$guest" pool)
    was=$(figure_of "$guest" moved)
    expect "it is saved" xl save "$guest" /tmp/saved
    expect "it is restored" xl restore /tmp/saved
    rm -f /tmp/saved
    find_console "$guest"
    expect "its pages went to the disk" more "$guest" moved "$was"
    expect "there is a pool again" ask "$guest" 'test $(cat $tmem/pool) -ge 0'
    was=$(figure_of "$guest" puts)
    expect "all pages are as they were" ask "$guest" loaded
    expect "some went to the new pool" more "$guest" puts "$was"
    expect "none is lost" ask "$guest" 'test $(cat $tmem/lost) = 0'

    begin "$guest: a save that is aborted"
    ask "$guest" "begin_load --seed 4 $load"
    sleep 3
    mkdir -p /small
    mount -t tmpfs -o size=8m tmpfs /small
    was=$(figure_of "$guest" moved)
    refused "there is no room for it" "" xl save "$guest" /small/saved
    umount /small
    expect "the guest was about to stop" more "$guest" moved "$was"
    was=$(figure_of "$guest" puts)
    expect "all pages are as they were" ask "$guest" loaded
    expect "some went to the new pool" more "$guest" puts "$was"

    begin "$guest: migrated"
    ask "$guest" "begin_load --seed 5 $load"
    sleep 3
    expect "it migrates" xl migrate -s '' "$guest" 'xl migrate-receive'
    find_console "$guest"
    expect "all pages are as they were" ask "$guest" loaded
    expect "none is lost" ask "$guest" 'test $(cat $tmem/lost) = 0'
    expect "the host holds what the guest says" as_told "$guest"

    begin "$guest: removed under load"
    ask "$guest" "begin_load --seed 6 $load"
    sleep 3
    refused "not while it is in use" "" ask "$guest" rmmod xen-tmem-swap
    expect "enough memory" ask "$guest" "shrink 232; limit_load max"
    expect "swap goes off, and the module" ask "$guest" swap_off
    expect "no pool is left" test "$(pools_of "$guest")" = 0
    expect "all pages are as they were" ask "$guest" loaded

    begin "$guest: its pool is destroyed"
    expect "the disk behind it again" ask "$guest" swap_on backing=/dev/xvdb
    expect "the load has little memory again" ask "$guest" limit_load 24M
    expect "the rest of its memory is for tmem" ask "$guest" shrink 96
    ask "$guest" "begin_load --seed 7 $load"
    sleep 3
    expect "the administrator destroys all" tmemctl destroy "$guest" --yes
    sleep 2
    expect "the load ends by a signal" ask "$guest" '! loaded; grep "load: 135" /run/load'
    refused "no page is wrong" "" ask "$guest" 'grep written /run/load'
    expect "pages are lost" more "$guest" lost 0
    expect "the device goes on with its disk" ask "$guest" "load --seed 8 $load"
    expect "it goes off" ask "$guest" 'shrink 232; swap_off'

    expect "the kernel has nothing to complain of" ask "$guest" \
        '! dmesg | grep -e "Call Trace" -e WARNING -e BUG'

    begin "$guest: no disk behind it"
    expect "it is asked for" ask "$guest" swap_on unbacked=1 size_mb=128
    # The load alone is short of memory: whoever else is would wait with it.
    expect "half of its memory is for tmem" ask "$guest" shrink 128
    tmemctl freeze "$guest"
    ask "$guest" "begin_load --seed 9 $load"
    sleep 10
    was=$(figure_of "$guest" refused)
    sleep 5
    expect "nobody spins" less "$guest" refused $((was + 5000))
    tmemctl thaw "$guest"
    ask "$guest" loaded
    expect "nothing is wrong" ask "$guest" '! grep written /run/load'
    end "$guest"
}

# The hypervisor has as many pages of a guest's as its device says; the guest may
# swap between the two questions.
as_told() {
    for try in 1 2 3 4 5; do
        told=$(figure_of "$1" held)
        has=$(tmemctl list --raw "$(xl domid "$1")" | sed -n 's/^P=.*[,:]Pc:\([0-9]*\).*/\1/p')
        test "$told" != "$has" || return 0
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
