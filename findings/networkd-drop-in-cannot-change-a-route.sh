#!/usr/bin/env bash
# systemd 252 (Debian 12), systemd-networkd; iproute2 6.1.0; root
#
# Expected: a drop-in changes what the file says: [Route] with Metric=50 gives the file's
# route that metric, or at least [Route] with the same gateway and a metric does;
# "Address=" takes the addresses of the file away, as an empty assignment does with lists
# in units.
#
# Seen: each [Route] section is a route of its own. The one without a gateway is ignored,
# with a line in the log; the one with the gateway is a second route, and the first, with
# metric 0, stays the better one. An empty Address= is ignored too. The only way is
# another file in place of the first.
#   default via 192.0.2.1 dev v0 proto static
#   default via 192.0.2.1 dev v0 proto static metric 60
#   addresses: 192.0.2.20/24 192.0.2.21/24
#   log: Route section without Gateway=, Destination=, Source=, or PreferredSource= field configured
#   log: Invalid address '', ignoring assignment
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
[Route]
Gateway=192.0.2.1
CONF
cat > /run/systemd/network/10-first.network.d/x.conf <<'CONF'
[Network]
Address=
Address=192.0.2.21/24
[Route]
Metric=50
[Route]
Gateway=192.0.2.1
Metric=60
CONF
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info /lib/systemd/systemd-networkd > log 2>&1 &
networkd=$!
trap 'kill "$networkd"' EXIT
for _ in $(seq 2000); do
	if ip route show default | grep -q 'metric 60' && [ "$(ip route show default | wc -l)" = 2 ]; then break; fi
done
ip route show default | sed 's/ *$//' | sort
echo "addresses: $(ip -4 -o addr show dev v0 | awk '{ print $4 }' | sort | paste -sd ' ')"
grep -oE "Route section without.* configured" log | sed 's/^/log: /'
grep -oE "Invalid address '', ignoring assignment" log | sed 's/^/log: /'
TRY
cd "$dir"
got=$(unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'default via 192.0.2.1 dev v0 proto static
default via 192.0.2.1 dev v0 proto static metric 60
addresses: 192.0.2.20/24 192.0.2.21/24
log: Route section without Gateway=, Destination=, Source=, or PreferredSource= field configured
log: Invalid address '\'''\'', ignoring assignment'
echo "as described"
