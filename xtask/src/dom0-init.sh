#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# dom0's first process: brings up Xen's tools, runs /host/rounds and powers off.
/bin/busybox --install -s /bin
export PATH=/usr/lib/xen-4.17/bin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
exec < /dev/hvc0 > /dev/hvc0 2>&1
for module in xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs; do
    insmod /lib/modules/$module.ko
done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xen/xenstored.pid
xen-init-dom0
xenconsoled --log=guest --log-dir=/var/log/xen/console --timestamp=none \
    --pid-file=/run/xen/xenconsoled.pid

# Shows what a command says between marks, so that a reader finds it.
show() {
    echo "<<< $1"
    shift
    "$@"
    echo
    echo ">>>"
}

# Runs a guest from its creation to its end, for at most $2 seconds.  To wait for
# guests name them: the daemons are this shell's children too, and never end.
guest() {
    timeout "$2" xl create -F "/host/$1.cfg" > "/tmp/$1.xl" 2>&1
    echo "xl create: $?" >> "/tmp/$1.xl"
    xl destroy "$1" 2> /dev/null
}

show info xl info
. /host/rounds
show info-at-end xl info
poweroff -f
