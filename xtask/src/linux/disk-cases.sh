# SPDX-License-Identifier: MIT OR Apache-2.0
# A disk under dm-tmem on a stock kernel.  Run by disk-init.sh, with $parts to try, $count
# operations for each of four workers, and a $seed.

# Each condition of its correctness.
try_conditions() {
    disk 0 96
    map h hold /dev/loop0
    map t tmem /dev/mapper/h
    make_ext4 /dev/mapper/t
    mount -t ext4 /dev/mapper/t /mnt
    disk-conditions /mnt
    umount /mnt
    unmap t
    unmap h
    losetup -d /dev/loop0
}

# stress FILESYSTEM MIB: everything that can be done with files, beside what can be done
# with the device; then the same files from the disk alone.
stress() {
    disk 1 "$2"
    map t tmem /dev/loop1
    "make_$1" /dev/mapper/t
    mount -t "$1" /dev/mapper/t /mnt
    expect "$1: files are made" file-load /mnt /tmp/model make --files 24
    drop_caches
    was=$(counter t hits)
    expect "$1: they are read" file-load /mnt /tmp/model scan
    expect "$1: from tmem" grew t hits $((was + 8000))
    file-load /mnt /tmp/model stress --count "$count" --seed "$seed" > /tmp/said 2>&1 &
    load=$!
    while kill -0 $load 2> /dev/null; do
        fsfreeze --freeze /mnt && fsfreeze --unfreeze /mnt
        dmsetup --noudevsync suspend t
        dmsetup --noudevsync resume t
        sleep 1
    done
    if wait $load; then ok "$1: $(tail -n 1 /tmp/said)"; else fail "$1: $(tail -n 5 /tmp/said)"; fi
    expect "$1: as it should be" file-load /mnt /tmp/model scan
    drop_caches
    expect "$1: from tmem as well" file-load /mnt /tmp/model scan
    echo "     $1: $(dmsetup status t)"

    # A new table, and a larger disk.
    truncate -s $(($2 + 64))M /disks/1
    losetup -c /dev/loop1
    dmsetup --noudevsync suspend t
    echo "0 $(blockdev --getsz /dev/loop1) tmem /dev/loop1" | dmsetup --noudevsync load t
    dmsetup --noudevsync resume t
    case $1 in
    ext4) expect "ext4: it grows" resize2fs -f /dev/mapper/t ;;
    xfs) expect "xfs: it grows" xfs_io -c "growfs data $((($2 + 64) * 256))" /mnt ;;
    btrfs) expect "btrfs: it grows" btrfs filesystem resize max /mnt ;;
    esac
    expect "$1: as it was, after it has grown" file-load /mnt /tmp/model scan
    umount /mnt
    mount -t "$1" /dev/mapper/t /mnt
    expect "$1: as it was, mounted again" file-load /mnt /tmp/model scan
    umount /mnt
    unmap t
    mount -t "$1" /dev/loop1 /mnt
    expect "$1: the disk alone has the same" file-load /mnt /tmp/model scan
    umount /mnt
    losetup -d /dev/loop1
}

try_ext4() {
    stress ext4 128
}

try_xfs() {
    stress xfs 304
}

try_btrfs() {
    # It takes no size below 256 MiB when it grows.
    stress btrfs 208
}

# hidden WHAT MAKE DEVICE [OPTIONS]: what is in the page cache in the clear is not what the
# disk has.  Files are right, and nothing of them is put.
hidden() {
    stack=$1 make=$2 device=$3
    shift 3
    "$make" "$device"
    expect "$stack: it can be mounted" \
        mount -t "$(echo "$make" | cut -d _ -f 2)" "$@" "$device" /mnt
    expect "$stack: files are made" file-load /mnt /tmp/model make --files 8
    drop_caches
    puts=$(counter u puts)
    expect "$stack: they are right" file-load /mnt /tmp/model scan
    drop_caches
    more=$(($(counter u puts) - puts))
    echo "     $stack: $more put; $(dmsetup status u)"
    # Of the 4096 pages; metadata may be in the clear.
    expect "$stack: none is put" test "$more" -lt 200
    expect "$stack: they are still right" file-load /mnt /tmp/model scan
    umount /mnt
}

make_ext4_encrypted() {
    /debian/mke2fs -q -F -t ext4 -b 4096 -O encrypt "$1"
}

try_hidden() {
    disk 1 160
    map u tmem /dev/loop1
    hidden fscrypt make_ext4_encrypted /dev/mapper/u -o test_dummy_encryption
    expect "fscrypt: it is recognised" grew u encrypted 0
    crypt /dev/mapper/u
    hidden dm-crypt make_ext4 /dev/mapper/c
    expect "dm-crypt: it is recognised" grew u layered 0
    expect "dm-crypt: the log says so" sh -c 'dmesg | grep -q "another device lies on it"'
    unmap c
    # Nothing but the hash tells that of dm-crypt below btrfs on a loop device.  With checksums
    # of its own, btrfs would read what is wrong once more, and from the disk.
    /debian/losetup --direct-io=on /dev/loop2 /dev/mapper/u
    crypt /dev/loop2
    changed=$(counter u changed)
    hidden "6-hash" make_btrfs /dev/mapper/c -o nodatasum
    expect "6-hash: that is what refuses them" grew u changed "$changed"
    unmap c
    losetup -d /dev/loop2
    unmap u
    losetup -d /dev/loop1
}

# The second of two who share an image reads it from memory.
try_image() {
    uuid=5a0c6a9e-94a1-4d0e-8f5e-0f3c5f1f7b21
    for number in 1 2; do disk $number 64; done
    make_ext4 /dev/loop1
    mount -t ext4 /dev/loop1 /mnt
    file-load /mnt /tmp/model make --files 16 > /dev/null
    umount /mnt
    dd if=/disks/1 of=/disks/2 bs=1M conv=notrunc 2> /dev/null
    refused "an image that may be written to" map i tmem-image /dev/loop1 $uuid
    map_read_only i /dev/loop1 $uuid
    expect "without permission it is read all the same" sh -c 'dmsetup status i | grep -q pool=none'
    unmap i
    expect "permission" tmemctl auth 0 $uuid
    for number in 1 2; do
        map_read_only i$number /dev/loop$number $uuid
        mount -t ext4 -o ro,noload /dev/mapper/i$number /mnt
        was=$(awk '{ print $3 }' /sys/block/loop$number/stat)
        expect "image $number is right" file-load /mnt /tmp/model scan
        now=$(awk '{ print $3 }' /sys/block/loop$number/stat)
        echo "     image $number: $((now - was)) sectors read; $(dmsetup status i$number)"
        umount /mnt
        eval "read_$number=$((now - was))"
    done
    expect "the first comes from the disk" test "$read_1" -gt 65000
    expect "the second from memory" test "$read_2" -lt 650
    unmap i2
    unmap i1
    for number in 1 2; do losetup -d /dev/loop$number; done
}

# Several disks, and the module's end.
try_module() {
    disk 1 32
    disk 2 32
    map u tmem /dev/loop1
    expect "a second disk" map w tmem /dev/loop2 1 no_write_records
    refused "an option that there is not" map x tmem /dev/loop1 1 more
    refused "the module is in use" rmmod dm-tmem
    unmap u
    unmap w
    expect "the module goes" rmmod dm-tmem
    expect "and comes back" insmod /lib/modules/dm-tmem.ko
    for number in 1 2; do losetup -d /dev/loop$number; done
}

insmod /lib/modules/dm-tmem.ko
insmod /lib/modules/dm-hold.ko
for part in $parts; do
    "try_$part"
done
