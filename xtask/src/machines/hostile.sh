# SPDX-License-Identifier: MIT OR Apache-2.0
# Hostile guests, an administrator who steers them meanwhile, and a guest beside
# them.  Run by dom0's init; every line "ok   ..." or "FAIL ..." is a case.

storms="storm-pv64 storm-pv32 storm-pvh"
attacks="attack-pv64 attack-pv32 attack-pvh attack-compat"

# A guest that does not share the victim's processor.
start_hostile() {
    start_paused "$1"
    expect "$1 is authorised" tmemctl auth "$1" $shared
    xl vcpu-pin "$1" all 0-1
    xl unpause "$1"
}

# Lines that Xen has to say.
said_by_xen() {
    xl dmesg | wc -l
}

# How many operations a storm has done, as far as it said.
operations() {
    sed -n 's/^hostile: \([0-9]*\) operations.*/\1/p' "/var/log/xen/console/guest-$1.log" | tail -n 1
}

# A domain's pools are gone or it has made others, as it does at once: no answer is wrong, but the command must come back.
steer() {
    expect "freeze $1" tmemctl freeze "$1"
    expect "flush" tmemctl flush 2M
    expect "thaw $1" tmemctl thaw "$1"
    expect "destroy the pools of $1" tmemctl destroy "$1" --yes
}

at_boot=$(said_by_xen)

begin "a guest alone"
start_paused victim
xl vcpu-pin victim all 2
xl unpause victim
wait_for victim "host: ready"

begin "storms"
for storm in $storms; do
    start_hostile $storm
done
for storm in $storms; do
    expect "$storm storms" wait_for $storm "host: storms"
done
go victim
for storm in $storms; do
    steer $storm
    tmemctl list > /dev/null || fail "list"
done
wait_for victim "host: measured"
expect "all clients are frozen" tmemctl freeze --all
expect "and thawed" tmemctl thaw --all
for storm in $storms; do
    echo "$storm: $(operations $storm) operations"
    expect "$storm is destroyed under load" xl destroy $storm
done
for storm in $storms; do
    ended $storm
    show "guest-$storm" cat "/var/log/xen/console/guest-$storm.log"
    expect "$storm saw no fault" sh -c "! grep FAIL /var/log/xen/console/guest-$storm.log"
done

begin "the guest beside them"
# It saw dom0 freeze and thaw it among all; this time it may end.
tmemctl freeze victim 2> /dev/null
for try in $(seq 3000); do
    test "$(grep -c "host: frozen" /var/log/xen/console/guest-victim.log)" -ge 2 && break
    sleep 0.2
done
tmemctl thaw victim 2> /dev/null
finish victim

begin "attacks"
lines=$(said_by_xen)
for attack in $attacks; do
    start $attack
done
for attack in $attacks; do
    finish $attack
done
more=$(($(said_by_xen) - lines))
echo "Xen's log grew by $more lines"
expect "senseless calls are no news to Xen" test $more -le 8

begin "the end"
expect "no domain uses tmem" sh -c 'tmemctl list | grep -q "No domain uses tmem"'
show xen-log xl dmesg
expect "Xen found nothing wrong" \
    sh -c "! xl dmesg | tail -n +$((at_boot + 1)) | grep -iE 'bug|assert|warn|error|panic|leak'"
