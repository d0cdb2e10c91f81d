# SPDX-License-Identifier: MIT OR Apache-2.0
# A guest with its packages and one configuration file, after it has booted.
tmem=/sys/block/tmemswap0/tmem

figure_is_not_zero() {
    test "$(cat "$tmem/$1")" -gt 0
}

begin "guest"
expect "nothing that should run has failed" sh -c "systemctl --failed --no-legend | grep . && exit 1 || true"
expect "swap is on" grep -q /dev/tmemswap0 /proc/swaps
expect "the root disk is cached" test "$(findmnt --noheadings --output SOURCE /)" = /dev/mapper/tmem-root
expect "its UUID leads to the cached disk" test \
    "$(readlink -f /dev/disk/by-uuid/*)" = "$(readlink -f /dev/mapper/tmem-root)"
expect "the kernel says so" sh -c "dmesg | grep 'tmem: .*, the root disk, is cached'"
expect "memory is given up" systemctl is-active tmem-guest

begin "files"
cat /usr/lib/x86_64-linux-gnu/*.so* > /dev/null
echo 3 > /proc/sys/vm/drop_caches
hits=$(cat /sys/block/dm-0/tmem/hits)
cat /usr/lib/x86_64-linux-gnu/*.so* > /dev/null
expect "what was dropped comes back out of the host's memory" test "$(cat /sys/block/dm-0/tmem/hits)" -gt "$hits"

begin "swap"
mount -t tmpfs -o size=100% tmpfs /mnt
head -c 360M /dev/urandom > /mnt/pages
sum=$(sha256sum < /mnt/pages)
expect "pages are swapped out to the host" figure_is_not_zero held
tmem-guest status
echo "guest: holds $(cat $tmem/held) pages"
# The kernel says so when the guest has been saved and restored.
for try in $(seq 600); do
    ! dmesg | grep -q "OOM killer enabled" || break
    sleep 1
done
expect "it was suspended" sh -c "dmesg | grep 'OOM killer enabled'"
expect "pages are with the host still" figure_is_not_zero held
expect "every page is right" test "$sum" = "$(sha256sum < /mnt/pages)"
expect "none is lost" test "$(cat $tmem/lost)" = 0
expect "none went to the disk" test "$(cat $tmem/moved)" = 0
expect "the root disk is cached still" grep -q "/dev/mapper/tmem-root / " /proc/mounts
echo "guest: done"
