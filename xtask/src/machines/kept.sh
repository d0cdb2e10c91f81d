# SPDX-License-Identifier: MIT OR Apache-2.0
# Guests that xl can't save after all: they go on where they are, with all they
# had.  Run by dom0's init after saves.sh; every line "ok   ..." or "FAIL ..." is a
# case.

# goes_on WHAT: the guest's puts were refused meanwhile, or they were not; they are taken now, and its pages are there.
goes_on() {
    seen=$(said staying | grep -c "host: refused")
    expect "$1: the guest goes on with all its pages" has_said staying "host: puts $seen"
    expect "$1: it is not being saved" figure_is staying sv 0
}

# Ends the helper that xl runs to save a guest once the stream has begun.
kill_helper() {
    has_said staying "host: refused $1"
    kill -9 "$(pidof libxl-save-helper | cut -d ' ' -f 1)"
}

migrate() {
    xl migrate -s '' staying "$1"
}

begin "saves of a guest that does not suspend"
start staying
expect "it begins" has_said staying "host: puts 0"

what="live migration with the distribution's library"
fails "$what" staying "can't be saved without its tmem pages: install" \
    stock xl migrate -s '' staying 'xl migrate-receive'
goes_on "$what"

what="a receiver with the distribution's library"
fails "$what" staying "Mandatory record" migrate 'LD_LIBRARY_PATH=/lib/stock xl migrate-receive'
goes_on "$what"

what="a receiver that goes away"
fails "$what" staying "Broken pipe" migrate 'head -c 200000 | xl migrate-receive'
goes_on "$what"

what="a helper that is killed"
refused=$(said staying | grep -c "host: refused")
kill_helper "$refused" &
fails "$what" staying "killed by signal\|died due to" migrate '{ head -c 200000; sleep 20; } | xl migrate-receive'
goes_on "$what"

what="a checkpoint with Remus"
fails "$what" staying "Remus and COLO" xl remus -F -b -n -d staying localhost
goes_on "$what"

# It ends without its pools, and says how many cases passed.
tmemctl destroy staying --yes
finish staying
