#!/usr/bin/env bash
# Linux 5.5 and later (seen with 6.18), Go 1.26 (package net),
# github.com/vishvananda/netlink v1.3.1, golang.org/x/sys v0.49.0, iproute2 6.1.0 (Debian
# 12)
#
# Expected: an alternative name of an interface (ip link property add altname, which udev
# sets on most hosts) names it wherever the first name does: what ip and if_nametoindex(3)
# take, Go's net and the kernel's files take too.
#
# Seen: what asks the kernel by name takes it: SO_BINDTODEVICE, SIOCGIFINDEX, a netlink
# library. What reads a list does not: net.InterfaceByName, /sys/class/net, /proc/sys/net.
# A rule "iif NAME" takes it, keeps the alternative name and looks like one for a device
# that is gone. Read back, a socket's device has the first name.
#   vishvananda LinkByName: v0
#   SO_BINDTODEVICE: bound to v0
#   net.InterfaceByName: no such network interface
#   /proc/sys/net/ipv4/conf: no such file or directory
#   ip rule add iif uplink0: from all iif uplink0 lookup 100
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	link, err := netlink.LinkByName("uplink0")
	if err != nil {
		panic(err)
	}
	fmt.Println("vishvananda LinkByName:", link.Attrs().Name)
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		panic(err)
	}
	if err := unix.SetsockoptString(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "uplink0"); err != nil {
		panic(err)
	}
	bound, err := unix.GetsockoptString(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	if err != nil {
		panic(err)
	}
	fmt.Println("SO_BINDTODEVICE: bound to", bound)
	_, err = net.InterfaceByName("uplink0")
	fmt.Println("net.InterfaceByName:", errors.Unwrap(err))
	_, err = os.Stat("/proc/sys/net/ipv4/conf/uplink0")
	fmt.Println("/proc/sys/net/ipv4/conf:", errors.Unwrap(err))
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link property add dev v0 altname uplink0
./try
ip rule add iif uplink0 lookup 100
echo "ip rule add iif uplink0: $(ip rule show | grep uplink0 | cut -f 2)"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'vishvananda LinkByName: v0
SO_BINDTODEVICE: bound to v0
net.InterfaceByName: no such network interface
/proc/sys/net/ipv4/conf: no such file or directory
ip rule add iif uplink0: from all iif uplink0 lookup 100'
echo "as described"
