#!/usr/bin/env bash
# systemd 252 (Debian 12), systemd-networkd; iproute2 6.1.0; root
#
# Expected: [RoutingPolicyRule] with FirewallMark= and Table= sends what has the mark to
# the table, in both families, as there is nothing in it that belongs to one.
#
# Seen: without From= or To= the rule is for IPv4 only, unless Family=both is there:
# marked IPv6 packets take the main table, beside the tunnel or the network that the mark
# is for.
#   ipv4: from 192.0.2.20, fwmark 0x5
#   ipv6: none
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to run systemd-networkd in namespaces of its own" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(systemctl --version | head -n 1) in
"systemd 252 "*) ;;
*) echo "needs systemd 252 (Debian 12), this is $(systemctl --version | head -n 1)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
mount -t tmpfs -o mode=755 tmpfs /run
mount -t sysfs -o ro sysfs /sys # networkd does not wait for udev then
mkdir -p /run/systemd/network/10-first.network.d
ip link set lo up
for i in 0 2; do
	ip link add "v$i" type veth peer name "v$((i + 1))"
	ip link set "v$((i + 1))" up
done
cat > /run/systemd/network/10-first.network <<'CONF'
[Match]
Name=v0
[Network]
Address=192.0.2.20/24
LinkLocalAddressing=no
[RoutingPolicyRule]
From=192.0.2.20
Table=100
[RoutingPolicyRule]
FirewallMark=5
Table=101
[Route]
Gateway=192.0.2.1
CONF
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info /lib/systemd/systemd-networkd > log 2>&1 &
networkd=$!
trap 'kill "$networkd"' EXIT
for _ in $(seq 2000); do
	if ip route show default | grep -q via; then break; fi
done
rules() { ip "$1" rule show | grep 'proto static' | sed -E 's/^[0-9]+:\s+//; s/from all //; s/ lookup.*//' | LC_ALL=C sort | paste -sd, | sed 's/,/, /g' | grep . || echo none; }
echo "ipv4: $(rules -4)"
echo "ipv6: $(rules -6)"
TRY
cd "$dir"
got=$(unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'ipv4: from 192.0.2.20, fwmark 0x5
ipv6: none'
echo "as described"
