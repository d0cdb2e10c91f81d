# SPDX-License-Identifier: MIT OR Apache-2.0
# Mutants of dm-tmem, each with the case that it must fail.  Run by disk-init.sh.
insmod /lib/modules/dm-hold.ko
disk 0 96
map h hold /dev/loop0
disk 1 160

# The case of the hash: a device that encrypts, and can't be recognised.
try_hash() {
    map u tmem /dev/loop1
    /debian/losetup --direct-io=on /dev/loop2 /dev/mapper/u
    crypt /dev/loop2
    make_btrfs /dev/mapper/c
    mount -t btrfs -o nodatasum /dev/mapper/c /mnt
    file-load /mnt /tmp/model make --files 8
    drop_caches
    expect "6-hash: files are made" file-load /mnt /tmp/model scan
    drop_caches
    expect "6-hash: files are right" file-load /mnt /tmp/model scan
    umount /mnt
    unmap c
    losetup -d /dev/loop2
    unmap u
}

try_condition() {
    map t tmem /dev/mapper/h
    make_ext4 /dev/mapper/t
    mount -t ext4 /dev/mapper/t /mnt
    disk-conditions /mnt --only "$1"
    umount /mnt
    unmap t
}

while read -r name fails; do
    echo "mutant $name"
    insmod "/lib/modules/$name.ko"
    case $fails in
    6-*) try_hash ;;
    *) try_condition "$fails" ;;
    esac
    rmmod dm-tmem
done < /mutants
echo "mutant none"
