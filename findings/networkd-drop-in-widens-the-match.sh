#!/usr/bin/env bash
# systemd 252 (Debian 12), systemd-networkd; iproute2 6.1.0; root
#
# Expected: a drop-in 10-first.network.d/x.conf with a [Match] section of its own says for
# which interfaces the drop-in is, or says anew for which ones the file is: a later
# assignment replaces the earlier one.
#
# Seen: Name= is added to. The file with all it says is for both interfaces then, and both
# get the address that the file has for one of them. An empty Name= before it makes it the
# new value.
#   file v0, drop-in v2: v0 192.0.2.20/24, v2 192.0.2.20/24
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
CONF
cat > /run/systemd/network/10-first.network.d/x.conf <<'CONF'
[Match]
Name=v2
[Network]
DNS=192.0.2.53
CONF
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info /lib/systemd/systemd-networkd > log 2>&1 &
networkd=$!
trap 'kill "$networkd"' EXIT
for _ in $(seq 2000); do
	if ip -4 -o addr show dev v0 | grep -q inet && ip -4 -o addr show dev v2 | grep -q inet; then break; fi
done
address() { ip -4 -o addr show dev "$1" | awk '{ print $4 }'; }
echo "file v0, drop-in v2: v0 $(address v0), v2 $(address v2)"
TRY
cd "$dir"
got=$(unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'file v0, drop-in v2: v0 192.0.2.20/24, v2 192.0.2.20/24'
echo "as described"
