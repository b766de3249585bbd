#!/usr/bin/env bash
# iproute2 6.1.0 and jq 1.6 (Debian 12)
#
# Expected: "ip -j" gives as JSON what ip prints without it: all of it, with the same
# words, for each command that takes the option.
#
# Seen: the JSON of a locked MTU, which switches path MTU discovery off, is that of an
# ordinary MTU. An address that is valid for ever is valid for 4294967295 seconds.
# Addresses that a filter leaves out are empty objects. The "not" of a rule is null, which
# a test for its value takes for absent. "ip -j monitor" and "ip -j mptcp limits" print
# text.
#   text: mtu lock 1400, JSON: {"mtu":1400}
#   text: valid_lft forever, JSON: 4294967295
#   text: 1 address, JSON: [{"local":"192.0.2.20"},{"local":null}]
#   text: not from 192.0.2.0/24, JSON: {"not":null,"src":"192.0.2.0"}
#   ip -j monitor route: text
#   ip -j mptcp limits: text
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
ip link set v0 addrgenmode none
ip link set v0 up
ip addr add 192.0.2.20/24 dev v0
ip addr add 198.51.100.20/24 dev v0
ip route add 203.0.113.0/24 dev v0 mtu lock 1400
ip rule add not from 192.0.2.0/24 lookup 100 pref 9
echo "text: $(ip route show 203.0.113.0/24 | grep -oE 'mtu lock 1400'), JSON: $(ip -j route show 203.0.113.0/24 | jq -c '.[0].metrics[0]')"
echo "text: $(ip addr show to 192.0.2.0/24 | grep -oE 'valid_lft forever' | head -n 1), JSON: $(ip -j addr show to 192.0.2.0/24 | jq '.[0].addr_info[0].valid_life_time')"
echo "text: $(ip -o addr show to 192.0.2.0/24 | wc -l) address, JSON: $(ip -j addr show to 192.0.2.0/24 | jq -c '[.[0].addr_info[] | {local}]')"
echo "text: $(ip rule show pref 9 | grep -oE 'not from [^ ]+'), JSON: $(ip -j rule show pref 9 | jq -c '.[0] | {not, src}')"
kind() { if jq . > /dev/null 2>&1; then echo JSON; else echo text; fi; }
mkfifo told
stdbuf -oL ip -j monitor route > told &
monitor=$!
trap 'kill "$monitor"' EXIT
exec 3< told
while ip route replace 233.252.0.255/32 dev v0 mtu $((1000 + RANDOM % 400)); do
	if read -r -t 1 line <&3; then break; fi
done
echo "ip -j monitor route: $(echo "$line" | kind)"
echo "ip -j mptcp limits: $(ip -j mptcp limits | kind)"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'text: mtu lock 1400, JSON: {"mtu":1400}
text: valid_lft forever, JSON: 4294967295
text: 1 address, JSON: [{"local":"192.0.2.20"},{"local":null}]
text: not from 192.0.2.0/24, JSON: {"not":null,"src":"192.0.2.0"}
ip -j monitor route: text
ip -j mptcp limits: text'
echo "as described"
