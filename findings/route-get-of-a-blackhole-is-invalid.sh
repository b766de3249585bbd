#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12): RTM_GETROUTE about a destination
# for which there is a route that drops what is sent.
#
# Expected: the kernel answers the question. It says which route it would take, with
# its type (RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE), as "ip route show" does;
# "Invalid argument" would mean that the question was wrong, "Permission denied" that
# the asker lacks a right.
#
# Seen: the question fails with the error that a packet would be dropped with, in both
# families, with "fibmatch" too. Only the error tells the kinds apart:
#   blackhole    Invalid argument        (EINVAL)
#   prohibit     Permission denied       (EACCES; for root as well)
#   unreachable  No route to host        (EHOSTUNREACH)
#   throw        Network is unreachable  (ENETUNREACH, as without any route)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'EOF'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip -6 addr add 2001:db8::20/64 dev v0 nodad
expect() {
	ip route add "$1" 198.51.100.0/24
	ip -6 route add "$1" 2001:db8:1::/48
	for question in "" fibmatch; do
		for to in 198.51.100.7 2001:db8:1::7; do
			# shellcheck disable=SC2086
			said=$(ip route get $question $to 2>&1) && { echo "$1: answered: $said" >&2; exit 1; }
			case $said in *"$2"*) ;; *) echo "$1: $said" >&2; exit 1 ;; esac
		done
	done
	ip route del "$1" 198.51.100.0/24
	ip -6 route del "$1" 2001:db8:1::/48
	echo "$1: $2"
}
expect blackhole "Invalid argument"
expect prohibit "Permission denied"
expect unreachable "No route to host"
expect throw "Network is unreachable"
EOF
if [ "$(id -u)" = 0 ]; then
	unshare --net bash "$dir/try"
else
	unshare --user --map-root-user --net bash "$dir/try"
fi
echo "as described"
