#!/usr/bin/env bash
# systemd 252 (Debian 12), systemd-networkd, busctl; dbus-daemon 1.14.10; root
#
# Expected: when somebody sets the name servers, the domains or the default-route flag of a
# link by systemd-networkd's methods SetLinkDNS, SetLinkDomains and SetLinkDefaultRoute, the
# link's object signals that (PropertiesChanged), as it does for its states. So a program
# that follows the object knows them.
#
# Seen: nobody signals. No property holds them either: only the method Describe has them,
# in JSON. A new address is signalled by the link and by the manager.
#   signals after SetLinkDNS: none
#   signals after SetLinkDomains: none
#   signals after SetLinkDefaultRoute: none
#   signals after a new address: /org/freedesktop/network1 /org/freedesktop/network1/link
#   properties of the link with servers or domains: none
#   Describe has: 192.0.2.53, corp.example, false
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to run systemd-networkd in namespaces of its own" >&2
	exit 1
fi
case $(networkctl --version 2> /dev/null | head -n 1) in
"systemd 252 "*) ;;
*) echo "needs systemd-networkd 252 (Debian 12)" >&2; exit 1 ;;
esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
cat > "$dir/bus.conf" <<'CONF'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
    <allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
CONF
cat > "$dir/try" <<'TRY'
set -euo pipefail
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /etc/systemd/network
mount -t sysfs -o ro sysfs /sys # networkd does not wait for udev then
# The bus lets in only whom the host knows: where the user is missing, it is another name of
# nobody.
if ! getent passwd systemd-network > /dev/null; then
	for f in passwd group; do cp "/etc/$f" "$f"; done
	echo systemd-network:x:65534:65534::/:/usr/sbin/nologin >> passwd
	echo systemd-network:x:65534: >> group
	for f in passwd group; do mount --bind "$f" "/etc/$f"; done
fi
mkdir -p /run/dbus /run/systemd/netif
chown systemd-network:systemd-network /run/systemd/netif
cat > /etc/systemd/network/v0.network <<'CONF'
[Match]
Name=v0
[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
CONF
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
dbus-daemon --config-file=bus.conf --nofork --nopidfile > /dev/null 2>&1 &
bus=$!
trap 'kill "$bus"; wait' EXIT
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
/lib/systemd/systemd-networkd > /dev/null 2>&1 &
networkd=$!
trap 'kill "$networkd" "$bus"; wait' EXIT
name=org.freedesktop.network1
index=$(cat /sys/class/net/v0/ifindex)
call() { busctl --json=short call $name "/org/freedesktop/network1$1" "$name.$2" "${@:3}"; }
link() { call "" Manager GetLinkByName s v0 | grep -o '/link/[^"]*'; }
until [ -n "$(link 2> /dev/null)" ] && call "$(link)" Link Describe | grep -q 'configured'; do sleep 0.1; done
path=$(link)
busctl --json=short monitor $name >> signals 2> ready &
monitor=$!
trap 'kill "$monitor" "$networkd" "$bus"; wait' EXIT
until grep -q Monitoring ready; do sleep 0.1; done
# after COMMAND...: who signals within two seconds, each once
after() {
	: > signals
	"$@" > /dev/null
	sleep 2
	{ grep -a '"member":"PropertiesChanged"' signals || true; } | grep -ao '"path":"/org/freedesktop/network1[^"]*"' | sort -u | cut -d'"' -f4 | sed 's,/link/.*,/link,' | paste -sd' ' | grep . || echo none
}
echo "signals after SetLinkDNS: $(after call "" Manager SetLinkDNS 'ia(iay)' "$index" 1 2 4 192 0 2 53)"
echo "signals after SetLinkDomains: $(after call "" Manager SetLinkDomains 'ia(sb)' "$index" 1 corp.example true)"
echo "signals after SetLinkDefaultRoute: $(after call "" Manager SetLinkDefaultRoute ib "$index" false)"
echo "signals after a new address: $(after ip address add 192.0.2.9/24 dev v0)"
echo "properties of the link with servers or domains: $(busctl introspect $name "/org/freedesktop/network1$path" $name.Link | awk '$2 == "property"' | { grep -ciE 'dns|domain|resolv' || true; } | sed 's/^0$/none/')"
text=$(call "$path" Link Describe | tr -d '\\')
echo "Describe has: $(grep -o '"DNS":\[{[^]]*\]' <<< "$text" | grep -o '[0-9]*,[0-9]*,[0-9]*,[0-9]*' | tr , .), $(grep -o '"RouteDomains":\[{"Domain":"[^"]*' <<< "$text" | cut -d'"' -f6), $(grep -o '"DNSDefaultRoute":[a-z]*' <<< "$text" | cut -d: -f2)"
TRY
got=$(cd "$dir" && unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'signals after SetLinkDNS: none
signals after SetLinkDomains: none
signals after SetLinkDefaultRoute: none
signals after a new address: /org/freedesktop/network1 /org/freedesktop/network1/link
properties of the link with servers or domains: none
Describe has: 192.0.2.53, corp.example, false'
echo "as described"
