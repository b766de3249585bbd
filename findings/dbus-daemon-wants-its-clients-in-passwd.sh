#!/usr/bin/env bash
# dbus-daemon 1.14.10 (Debian 12), util-linux 2.38.1; root
#
# Expected: a client of a bus authenticates as a number (EXTERNAL), which the kernel
# confirms (SO_PEERCRED), and the policy lets every user in (allow user="*"). So a user
# without an entry in /etc/passwd, as in a container with runAsUser, can use the bus.
#
# Seen: the authentication succeeds, and the bus closes the connection at once: it looks the
# groups of the user up, and refuses whom it cannot find. The entry has to be in the
# passwd of the bus's own mount namespace, not of the client's.
#   a user with an entry: org.freedesktop.DBus
#   a user without one: no answer
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root, to become other users" >&2
	exit 1
fi
case $(dbus-daemon --version | head -n 1) in
*" 1.14.10") ;;
*) echo "needs dbus-daemon 1.14.10 (Debian 12), this is $(dbus-daemon --version | head -n 1)" >&2; exit 1 ;;
esac
dir=$(mktemp -d)
bus=
trap 'if [ -n "$bus" ]; then kill "$bus"; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"
cat > "$dir/conf" <<CONF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=$dir/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_type="method_return"/>
  </policy>
</busconfig>
CONF
dbus-daemon --config-file="$dir/conf" --nofork --nopidfile --print-address=1 > "$dir/address" 2> /dev/null &
bus=$!
until [ -s "$dir/address" ]; do sleep 0.1; done
unknown=54321
if getent passwd "$unknown" > /dev/null; then
	echo "needs a host on which user $unknown is unknown" >&2
	exit 1
fi
# ask USER: the name of the bus, as the user is told
ask() {
	setpriv --reuid="$1" --regid="$1" --clear-groups \
		dbus-send --bus="unix:path=$dir/bus" --print-reply=literal --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames 2> /dev/null |
		grep -o 'org.freedesktop.DBus' || echo "no answer"
}
got="a user with an entry: $(ask 65534)
a user without one: $(ask "$unknown")"
echo "$got"
test "$got" = 'a user with an entry: org.freedesktop.DBus
a user without one: no answer'
echo "as described"
