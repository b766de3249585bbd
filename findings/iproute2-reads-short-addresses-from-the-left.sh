#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12), glibc 2.36
#
# Expected: the short forms of an IPv4 address mean the same to all tools of a host:
# inet_aton(3) fills from the right, so that 127.1 is 127.0.0.1 and 10.7 is 10.0.0.7, for
# ping, curl, ssh and whoever calls getaddrinfo.
#
# Seen: ip fills from the left. "ip route get 127.1" is asked about 127.1.0.0, "ip address
# add 10.7/8" adds 10.7.0.0, and both succeed.
#   getent ahosts 127.1: 127.0.0.1
#   ip route get 127.1: 127.1.0.0
#   getent ahosts 10.7: 10.0.0.7
#   ip address add 10.7/8: 10.7.0.0/8
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link set lo up
looked() { getent ahosts "$1" | awk '{ print $1; exit }'; }
echo "getent ahosts 127.1: $(looked 127.1)"
echo "ip route get 127.1: $(ip route get 127.1 | grep -oE '127[0-9.]+' | head -n 1)"
ip address add 10.7/8 dev lo
echo "getent ahosts 10.7: $(looked 10.7)"
echo "ip address add 10.7/8: $(ip -o -4 address show dev lo | awk '$4 ~ /^10/ { print $4 }')"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'getent ahosts 127.1: 127.0.0.1
ip route get 127.1: 127.1.0.0
getent ahosts 10.7: 10.0.0.7
ip address add 10.7/8: 10.7.0.0/8'
echo "as described"
