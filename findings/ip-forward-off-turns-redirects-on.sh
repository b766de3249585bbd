#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: net.ipv4.ip_forward = 0 takes back what net.ipv4.ip_forward = 1 did: a host
# that shared its connection for a while is set as it was before.
#
# Seen: both writes set conf.all.accept_redirects to the opposite of their value. It was
# switched off by the administrator, and after forwarding has been on and off again it is
# on. (ip-sysctl says that ip_forward resets other settings. For IPv6 nothing like it
# happens.)
#   set:                accept_redirects ipv4 0, ipv6 0
#   forwarding 1:       accept_redirects ipv4 0, ipv6 0
#   forwarding 0 again: accept_redirects ipv4 1, ipv6 0
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
conf=/proc/sys/net
show() { echo "$1 accept_redirects ipv4 $(cat $conf/ipv4/conf/all/accept_redirects), ipv6 $(cat $conf/ipv6/conf/all/accept_redirects)"; }
echo 0 > $conf/ipv4/ip_forward
echo 0 > $conf/ipv4/conf/all/accept_redirects
echo 0 > $conf/ipv6/conf/all/accept_redirects
show "set:               "
for value in 1 0; do
	echo $value > $conf/ipv4/ip_forward
	echo $value > $conf/ipv6/conf/all/forwarding
	if [ $value = 1 ]; then show "forwarding 1:      "; else show "forwarding 0 again:"; fi
done
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'set:                accept_redirects ipv4 0, ipv6 0
forwarding 1:       accept_redirects ipv4 0, ipv6 0
forwarding 0 again: accept_redirects ipv4 1, ipv6 0'
echo "as described"
