#!/usr/bin/env bash
# systemd 252 (Debian 12), systemd-resolved, resolvectl, busctl; dbus-daemon 1.14.10; root
#
# Expected: a change of the name servers or of the domains of a link is signalled
# (PropertiesChanged) by the link's object, which has the properties DNS and Domains and the
# methods that set them; so a program that follows the link's object knows them.
#
# Seen: a link's object never signals. A change of its servers is signalled by the manager's
# object, whose property DNS has those of all links; a change of its domains, or of its
# default-route flag, by nobody, though all of them can be read there.
#   signals after resolvectl dns: /org/freedesktop/resolve1
#   signals after resolvectl domain: none
#   signals after resolvectl default-route: none
#   the link has: 192.0.2.53, corp.example, false
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to run systemd-resolved in namespaces of its own" >&2
	exit 1
fi
case $(resolvectl --version 2> /dev/null | head -n 1) in
"systemd 252 "*) ;;
*) echo "needs systemd-resolved 252 (Debian 12)" >&2; exit 1 ;;
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
mount -t sysfs -o ro sysfs /sys # resolved does not wait for udev then
# The bus lets in only whom the host knows: where the user is missing, it is another name of
# nobody.
if ! getent passwd systemd-resolve > /dev/null; then
	for f in passwd group; do cp "/etc/$f" "$f"; done
	echo systemd-resolve:x:65534:65534::/:/usr/sbin/nologin >> passwd
	echo systemd-resolve:x:65534: >> group
	for f in passwd group; do mount --bind "$f" "/etc/$f"; done
fi
mkdir -p /run/dbus /run/systemd/resolve
chown systemd-resolve:systemd-resolve /run/systemd/resolve
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
dbus-daemon --config-file=bus.conf --nofork --nopidfile > /dev/null 2>&1 &
bus=$!
trap 'kill "$bus"; wait' EXIT
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
/lib/systemd/systemd-resolved > /dev/null 2>&1 &
resolved=$!
trap 'kill "$resolved" "$bus"; wait' EXIT
until resolvectl status > /dev/null 2>&1; do sleep 0.1; done
busctl --json=short monitor org.freedesktop.resolve1 >> signals 2> ready &
monitor=$!
trap 'kill "$monitor" "$resolved" "$bus"; wait' EXIT
until grep -q Monitoring ready; do sleep 0.1; done
# after ARGS...: who signals within a second, each once
after() {
	: > signals
	resolvectl "$@"
	sleep 1
	{ grep -a '"member":"PropertiesChanged"' signals || true; } | grep -ao '"path":"/org/freedesktop/resolve1[^"]*"' | sort -u | cut -d'"' -f4 | grep . || echo none
}
echo "signals after resolvectl dns: $(after dns v0 192.0.2.53)"
echo "signals after resolvectl domain: $(after domain v0 '~corp.example')"
echo "signals after resolvectl default-route: $(after default-route v0 no)"
path=$(busctl call org.freedesktop.resolve1 /org/freedesktop/resolve1 org.freedesktop.resolve1.Manager GetLink i "$(cat /sys/class/net/v0/ifindex)" | cut -d'"' -f2)
has() { busctl get-property org.freedesktop.resolve1 "$path" org.freedesktop.resolve1.Link "$1"; }
echo "the link has: $(has DNS | sed 's/.* 4 //; s/ /./g'), $(has Domains | cut -d'"' -f2), $(has DefaultRoute | cut -d' ' -f2)"
TRY
got=$(cd "$dir" && unshare --net --mount bash "$dir/try")
echo "$got"
test "$got" = 'signals after resolvectl dns: /org/freedesktop/resolve1
signals after resolvectl domain: none
signals after resolvectl default-route: none
the link has: 192.0.2.53, corp.example, false'
echo "as described"
