#!/usr/bin/env bash
# NetworkManager 1.42.4, nmcli, busctl of systemd 252, dbus-daemon 1.14.10 (Debian 12); root
#
# Expected: without a connectivity check the state is UNKNOWN, as the documentation of
# NMConnectivityState says ("the connectivity checks are disabled"), and FULL means that the
# Internet was reached. A device with IPv6 disabled has no connectivity of IPv6.
#
# Seen: without a check, everything is FULL as soon as there is a default route, though no
# gateway answers, as there is nobody on the link; for the device also IPv6, which is
# disabled there. Whether FULL means anything is told by ConnectivityCheckAvailable and
# ConnectivityCheckEnabled.
#   route: default via 192.0.2.1
#   nmcli networking connectivity: full
#   of the device, IPv4 and IPv6 (4 is FULL): 4 4
#   check available, enabled: false false
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to run NetworkManager in namespaces of its own" >&2
	exit 1
fi
case $(NetworkManager --version 2> /dev/null) in
1.42.4*) ;;
*) echo "needs NetworkManager 1.42.4 (Debian 12)" >&2; exit 1 ;;
esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/bus.conf" <<'CONF'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
CONF
cat > "$dir/nm.conf" <<'CONF'
[main]
plugins=keyfile
dns=none
auth-polkit=false
no-auto-default=*
[device]
match-device=interface-name:*
managed=1
CONF
cat > "$dir/try" <<'TRY'
set -euo pipefail
for d in /run /etc/NetworkManager /var/lib/NetworkManager; do mount -t tmpfs -o mode=755 tmpfs "$d"; done
mount -t sysfs -o ro sysfs /sys # NetworkManager does not wait for udev then
mkdir -p /run/dbus /etc/NetworkManager/system-connections
cp nm.conf /etc/NetworkManager/NetworkManager.conf
ip link set lo up
ip link add v0 type veth peer name v1 # which stays down
dbus-daemon --config-file=bus.conf --nofork --nopidfile > /dev/null 2>&1 &
bus=$!
trap 'kill "$bus"; wait' EXIT
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
NetworkManager --no-daemon > log 2>&1 &
manager=$!
trap 'kill "$manager" "$bus"; wait' EXIT
until nmcli -t -f RUNNING general 2> /dev/null | grep -qx running; do sleep 0.1; done
nmcli connection add type ethernet ifname v0 con-name there ipv6.method disabled \
	ipv4.method manual ipv4.addresses 192.0.2.9/24 ipv4.gateway 192.0.2.1 > /dev/null
nmcli connection up there > /dev/null
echo "route: $(ip -4 route show default | grep -o 'default via [0-9.]*')"
echo "nmcli networking connectivity: $(nmcli networking connectivity)"
name=org.freedesktop.NetworkManager
device=$(busctl call $name /org/freedesktop/NetworkManager $name GetDeviceByIpIface s v0 | cut -d'"' -f2)
of() { busctl get-property $name "$1" "$2" "$3" | cut -d' ' -f2; }
echo "of the device, IPv4 and IPv6 (4 is FULL): $(of "$device" $name.Device Ip4Connectivity) $(of "$device" $name.Device Ip6Connectivity)"
echo "check available, enabled: $(of /org/freedesktop/NetworkManager $name ConnectivityCheckAvailable) $(of /org/freedesktop/NetworkManager $name ConnectivityCheckEnabled)"
TRY
got=$(cd "$dir" && unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'route: default via 192.0.2.1
nmcli networking connectivity: full
of the device, IPv4 and IPv6 (4 is FULL): 4 4
check available, enabled: false false'
echo "as described"
