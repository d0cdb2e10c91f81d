# SPDX-License-Identifier: MIT OR Apache-2.0
# Guests that xl saves, restores and migrates.  Run by dom0's init after saves.sh;
# every line "ok   ..." or "FAIL ..." is a case.

for name in carry-pv64 carry-pv32 carry-pvh carry-hvm; do
    begin "$name: save and restore"
    start_paused $name
    expect "it may share" tmemctl auth $name $shared
    expect "it has a weight" tmemctl set $name --weight 7
    expect "and a cap" tmemctl set $name --cap 8M
    xl unpause $name
    expect "it suspends" asleep $name 1
    expect "it is saved" toolstack $name xl save $name /tmp/saved
    expect "and gone" is_gone $name
    expect "it is restored" xl restore /tmp/saved
    expect "it is frozen still" figure_is $name fr 1
    expect "its weight is what it was" figure_is $name ww 7
    expect "so is its cap" figure_is $name ca 2048
    tmemctl thaw $name
    whole "it has what it had" $name 1
    rm /tmp/saved

    begin "$name: live migration"
    has_said $name "host: ready 2"
    expect "it is migrated" toolstack $name xl migrate -s '' $name 'xl migrate-receive'
    show migrate-log cat /tmp/xl.log
    whole "it has what it had" $name 2

    begin "$name: a checkpoint"
    expect "it suspends" asleep $name 3
    tmemctl thaw $name
    expect "it is saved" toolstack $name xl save -c $name /tmp/checkpoint
    expect "it has what it had" has_said $name "host: whole 3"
    xl destroy $name
    expect "the checkpoint is restored" xl restore /tmp/checkpoint
    # It ends then.
    expect "it has what it had" has_said $name "host: whole 3" 2
    rm /tmp/checkpoint
    finish $name
    show "guest-$name--incoming" cat /var/log/xen/console/guest-$name--incoming.log
done

begin "end"
expect "no domain uses tmem" sh -c 'tmemctl list | grep -q "No domain uses tmem"'
