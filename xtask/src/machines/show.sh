# SPDX-License-Identifier: MIT OR Apache-2.0
# What pages take; guests that compete for the host's memory, with weights; and how that looks.
scenario=show
# Pages of all kinds, at rest: what packing them saves.
start cache
wait_for cache "host: ready"
show held tmemctl list --pools
go cache
finish cache
weight=0
for name in web mail files; do
    weight=$((weight + 100))
    start_paused $name
    tmemctl set $name --weight $weight
done
for name in web mail files; do
    xl unpause $name
done
for name in web mail files; do
    wait_for $name "host: full"
done
# As often as it takes until nothing but the weights shows.
for try in $(seq 10); do
    tmemctl top --interval 2 --count 1 > /tmp/top
done
show list tmemctl list --pools
show top cat /tmp/top
for name in web mail files; do
    go $name
    finish $name
done
