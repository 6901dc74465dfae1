#!/bin/busybox sh
# init.sh - first process of the Linux guest: what Pagoda has from the start, then run.sh, then off.

/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
exec > /dev/console 2>&1
IFS=' '
read -r arguments < /root/arguments
sh /root/run.sh $arguments
poweroff -f
