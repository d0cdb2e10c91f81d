# SPDX-License-Identifier: MIT OR Apache-2.0
# What an administrator does on a host with several guests.  Run by dom0's init;
# every line "ok   ..." or "FAIL ..." is a case.

# Frames of all domains, also of those that are going.
frames_of_all() {
    tmemctl list --raw | sed -n 's/^G=.*Fc:\([0-9]*\).*/\1/p'
}

begin isolation
start keeper
wait_for keeper "host: ready"
for looker in looker-pv64 looker-pv32 looker-pvh; do
    start $looker
    finish $looker
done
go keeper
finish keeper

begin "shared pools"
start_paused sharer
expect "a domain is authorised before it runs" tmemctl auth sharer $shared
xl unpause sharer
wait_for sharer "host: ready"
start stranger
finish stranger
start_paused partner
expect "another one too" tmemctl auth partner $shared
xl unpause partner
wait_for partner "host: ready"
go sharer
finish sharer
go partner
finish partner
start_paused matrix
tmemctl auth matrix $shared
xl unpause matrix
finish matrix

begin settings
start_paused subject
expect "a weight is set" tmemctl set subject --weight 7
expect "and a cap" tmemctl set subject --cap 8M
expect "and compression" tmemctl set subject --compress off
expect "the list shows the weight" figure_is subject ww 7
expect "the list shows the cap in frames" figure_is subject ca 2048
expect "the list shows no compression" figure_is subject co 0
expect "the cap goes away" tmemctl set subject --cap none
expect "and the list shows none" figure_is subject ca ""
refused "a domain that is not there" "no such domain" tmemctl freeze 4321
refused "a name that nobody has" "no domain called nobody" tmemctl freeze nobody
echo "nobody:x:65534:65534::/:/bin/sh" > /etc/passwd
refused "who is not root" "only root" start-stop-daemon -S -c nobody -x /bin/tmemctl -- list
refused "destroying needs a second word" "--yes" tmemctl destroy subject
expect "destroy with it" tmemctl destroy subject --yes
expect "JSON is one object" sh -c 'tmemctl list --json | head -c 1 | grep -q {'
expect "metrics are whole" sh -c 'tmemctl metrics | tail -n 1 | grep -q "# EOF"'
xl destroy subject

begin "a policy"
mkdir -p /etc/xen
# Puts a policy in the place of the last one, as editors do: a weight for one guest, and what the host keeps.
policy() {
    cat > /etc/xen/tmem.new << END
[host]
$2
[defaults]
allowed = false
[[rule]]
name = "rul*"
allowed = true
weight = $1
cap = "8 MiB"
END
    mv /etc/xen/tmem.new /etc/xen/tmem.toml
}
# Waits until a command succeeds.
soon() {
    for try in $(seq 150); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.2
    done
    "$@"
}
policy 7
ifconfig lo 127.0.0.1
tmemctl serve --metrics 127.0.0.1:9798 2> /tmp/daemon.log & daemon=$!
start_paused ruled
start_paused unruled
expect "a guest has its weight before it runs" soon figure_is ruled ww 7
expect "and its cap" soon figure_is ruled ca 2048
expect "another is frozen" soon figure_is unruled fr 1
expect "that is explained" sh -c 'tmemctl check | grep "(unruled) *allowed *no *defaults"'
xl destroy unruled
policy 9
expect "a change of the file is applied" soon figure_is ruled ww 9
xl unpause ruled
wait_for ruled "host: ready"
target=/local/domain/$(xl domid ruled)/memory/tmem-target
policy 9 'reserve = "100 %"'
expect "a host that is short asks for persistent memory" soon xenstore-read "$target"
expect "metrics are served" sh -c 'wget -q -O - http://127.0.0.1:9798/metrics | grep "^# EOF"'
kill $daemon
wait $daemon
expect "the daemon stops when told to" test $? = 0
refused "and asks for nothing any more" "read" xenstore-read "$target"
expect "settings stay" figure_is ruled ca 2048
show daemon-log cat /tmp/daemon.log
go ruled
finish ruled

begin "starting a guest in memory that tmem has filled"
start filler
wait_for filler "host: full"
echo "free memory, MiB: $(xl info free_memory); freeable: $(tmemctl freeable)"
expect "there is much to give back" test "$(tmemctl freeable)" -gt 32
expect "what can be given back counts as free" test "$(xl info free_memory)" -ge "$(tmemctl freeable)"
xl debug-keys y
expect "the debug key prints statistics" sh -c 'xl dmesg | grep -q "G=Tt:"'
for newcomer in newcomer-pv64 newcomer-pv32 newcomer-pvh walker-pv64 walker-pv32; do
    start $newcomer
    finish $newcomer
done
expect "flush gives back what it is asked for" test "$(tmemctl flush 1M)" -ge 1024
go filler
finish filler

begin "starting guests while others put"
floods="flood-pv64 flood-pv32 flood-pvh"
for flood in $floods; do
    start $flood
done
for flood in $floods; do
    wait_for $flood "host: full"
done
arrivals="arrival-pv64 arrival-pv32 arrival-pvh"
# The toolstack claims a guest's memory before it fills it, or takes it page by page.
for claims in 1 0; do
    cp /etc/xen/xl.conf /tmp/xl.conf
    echo "claim_mode=$claims" >> /etc/xen/xl.conf
    expect "a guest is made, claims: $claims" xl create -p /host/arrival-pv64.cfg
    expect "and destroyed" xl destroy arrival-pv64
    cp /tmp/xl.conf /etc/xen/xl.conf
done
for arrival in $arrivals; do
    start $arrival
    finish $arrival
done
for flood in $floods; do
    go $flood
    finish $flood
done

begin weights
for weight in 1 2; do
    start_paused weight-$weight
    tmemctl set weight-$weight --weight $weight
done
for weight in 1 2; do
    xl unpause weight-$weight
done
for weight in 1 2; do
    wait_for weight-$weight "host: full"
done
# Every share within 5 % of its weight's part, three times in a row.
within=0
for second in $(seq 120); do
    sleep 1
    shares=$(tmemctl list --raw | awk -F '[=,:]' '
        /^C=/ {
            for (i = 2; i < NF; i += 2) value[$i] = $(i + 1)
            weight[$2 $3] = value["ww"]; frames[$2 $3] = value["fe"]
            weights += value["ww"]; all += value["fe"]
        }
        END {
            good = weights == 3
            for (id in weight) {
                part = frames[id] / all / (weight[id] / weights)
                printf "%s: %.3f of %.3f  ", weight[id], frames[id] / all, weight[id] / weights
                if (part < 0.95 || part > 1.05) good = 0
            }
            print good ? "within" : "outside"
        }')
    case $shares in
    *within) within=$((within + 1)) ;;
    *) within=0 ;;
    esac
    test $within -lt 3 || break
done
echo "after $second s, weight: share of the weight's part: $shares"
expect "shares are within 5 % of the weights" test $within -ge 3
show weights-list tmemctl list --pools
tmemctl top --interval 1 --count 1 > /tmp/top
show weights-top cat /tmp/top
for weight in 1 2; do
    go weight-$weight
    finish weight-$weight
done

hammers="hammer-pv64 hammer-pv32 hammer-pvh"
begin "processors come and go under load"
for hammer in $hammers; do
    start $hammer
done
for hammer in $hammers; do
    wait_for $hammer "host: hammers"
done
for round in 1 2 3; do
    expect "one goes" xen-hptool cpu-offline 1
    expect "the host has one less" test "$(xl info nr_cpus)" = 1
    expect "it comes back" xen-hptool cpu-online 1
    expect "the host has it" test "$(xl info nr_cpus)" = 2
done

begin "destroy under load"
for hammer in $hammers; do
    expect "$hammer is paused" xl pause $hammer
    expect "and goes on" xl unpause $hammer
done
for hammer in $hammers; do
    expect "$hammer is destroyed" xl destroy $hammer
done
expect "nothing is left of them" ended "$hammers"
start crasher
expect "a guest that crashes is gone" ended crasher

begin "a guest with very many pages goes"
start_paused hoarder
expect "it may share" tmemctl auth hoarder $shared
xl unpause hoarder
wait_for hoarder "host: ready"
expect "it has very many pages" test "$(figure hoarder Ec)" -ge 1000000
xl destroy hoarder & destroying=$!
# Dom0 has one virtual processor: it sees frames go only if Xen lets go of that one in between.
seen=0 before=$(frames_of_all)
while kill -0 $destroying 2> /dev/null; do
    now=$(frames_of_all)
    if test "$now" -gt 0 && test "$now" -lt "$before"; then seen=$((seen + 1)); fi
    before=$now
done
wait $destroying
expect "it is destroyed" test $? = 0
expect "dom0 goes on meanwhile, and sees frames go, $seen times" test $seen -ge 3
expect "tmem has nothing of theirs" sh -c 'tmemctl list | grep -q "No domain uses tmem"'

begin "save and restore"
start leaver
wait_for leaver "host: ready"
expect "a running domain is saved" tmemctl save --live leaver /tmp/state
go leaver
finish leaver
start_paused heir
head -c 100000 /tmp/state > /tmp/cut
refused "a file that is cut short" "cut short" tmemctl restore heir /tmp/cut
expect "the whole one is restored into a guest of another kind" tmemctl restore heir /tmp/state
refused "a second time" "already has pools" tmemctl restore heir /tmp/state
xl unpause heir
finish heir

begin "end"
expect "no domain uses tmem" sh -c 'tmemctl list | grep -q "No domain uses tmem"'
