#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: RTM_DELLINK says that an interface is gone. Who keeps a table of interfaces by
# the messages of RTNLGRP_LINK takes it out then.
#
# Seen: it is sent too when an interface leaves a bridge (with the family AF_BRIDGE
# instead of AF_UNSPEC): its port of the bridge is gone, the interface is there and up. ip
# and libraries that do not look at ifi_family tell of a deleted link; the message after
# it says that it is there.
#   ip -o monitor link: Deleted v0
#   still there: v0 UP
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip link add br0 type bridge
ip link set v0 master br0
mkfifo told
stdbuf -oL ip -o monitor link > told &
monitor=$!
trap 'kill "$monitor"' EXIT
exec 3< told
for i in $(seq 50); do
	ip link set v1 alias "peer $i"
	if read -r -t 1 line <&3; then break; fi
done
ip link set v0 nomaster
ip link set v1 name end
while read -r -t 10 line <&3; do
	case $line in
	Deleted*) echo "ip -o monitor link: $(sed -E 's/^(Deleted) [0-9]+: ([^:@]+).*/\1 \2/' <<< "$line")" ;;
	*": end@"*) break ;;
	esac
done
echo "still there: $(ip -br link show v0 | sed -E 's/@[^ ]+ +/ /' | cut -d ' ' -f 1,2)"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'ip -o monitor link: Deleted v0
still there: v0 UP'
echo "as described"
