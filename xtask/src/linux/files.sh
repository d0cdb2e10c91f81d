# SPDX-License-Identifier: MIT OR Apache-2.0
# A disk of a Linux guest's has its clean pages in tmem, and the guest is interfered
# with.  Run by dom0's init after swap.sh.

try_files() {
    off
    have_swap
    expect "a filesystem on a disk with tmem" ask "$guest" mount_cached
    expect "files are made" ask "$guest" file-load /mnt /tmp/model make --files 16
    ask "$guest" drop_caches
    expect "they are right" ask "$guest" files_are_right
    expect "they came from tmem" ask "$guest" 'disk_has_more hits 4000'

    begin_files 1
    expect "it is saved under load" xl save "$guest" /tmp/saved
    expect "it is restored" xl restore /tmp/saved
    rm -f /tmp/saved
    find_console "$guest"
    end_files

    begin_files 2
    expect "it migrates under load" xl migrate -s '' "$guest" 'xl migrate-receive'
    find_console "$guest"
    end_files

    begin_files 3
    for time in 1 2 3; do
        expect "the administrator destroys its pools under load" tmemctl destroy "$guest" --yes
        sleep 2
    done
    end_files
    # The files' new pool may have the number of swap's old one.
    expect "swap goes on with its disk" ask "$guest" "load --seed 13 $load"
    expect "it knows that its pool is gone" ask "$guest" 'test $(cat $tmem/pool) = -1'
    ask "$guest" 'was=$(disk_counter hits); drop_caches'
    expect "they are right" ask "$guest" files_are_right
    expect "they came from a new pool" ask "$guest" 'disk_has_more hits $((was + 1000))'

    off
    expect "their pool is left" test "$(pools_of "$guest")" = 1
    expect "the disk is unmounted" ask "$guest" unmount_cached
    expect "no pool is left" test "$(pools_of "$guest")" = 0
    expect "the disk alone is mounted" ask "$guest" mount -t ext4 /dev/xvdc /mnt
    expect "it has what the files should have" ask "$guest" files_are_right
    ask "$guest" umount /mnt
}

# begin_files SEED: everything that can be done with files, in the background.
begin_files() {
    ask "$guest" "begin_files_load --count 300 --seed $1"
    sleep 3
}

end_files() {
    expect "all was as it should be" ask "$guest" files_loaded
    expect "and is" ask "$guest" files_are_right
}
