#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2
#
# Expected: "conf/all/*: Change all the interface-specific settings", as the kernel's
# ip-sysctl says, so that net.ipv6.conf.all.accept_ra = 0 stops router advertisements on
# every interface, as all.disable_ipv6 = 1 and all.forwarding = 1 act on each.
#
# Seen: it depends on the setting, and the usual ones are of the other kind: the write
# succeeds, "all" gives the new value back, and no interface has it, neither those that
# there are nor later ones (those take "default").
#   setting        all  v0  a later one
#   accept_ra      0    1   1
#   autoconf       0    1   1
#   use_tempaddr   2    0   0
#   hop_limit      33   64  64
#   addr_gen_mode  1    1   1
#   forwarding     1    1   1
#   disable_ipv6   1    1   1
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/try" <<'TRY'
set -euo pipefail
conf=/proc/sys/net/ipv6/conf
ip link add v0 type veth peer name v1
set -- accept_ra 0 autoconf 0 use_tempaddr 2 hop_limit 33 addr_gen_mode 1 forwarding 1 disable_ipv6 1
for k in accept_ra=1 autoconf=1 use_tempaddr=0 hop_limit=64; do # a host may have set others for new namespaces
	echo "${k#*=}" | tee "$conf/default/${k%=*}" "$conf/v0/${k%=*}" >/dev/null
done
all=("$@")
while [ $# -gt 0 ]; do
	echo "$2" > "$conf/all/$1"
	shift 2
done
ip link add v2 type veth peer name v3
printf '%-14s %-4s %-3s %s\n' setting all v0 'a later one'
for ((i = 0; i < ${#all[@]}; i += 2)); do
	k=${all[i]}
	printf '%-14s %-4s %-3s %s\n' "$k" "$(cat $conf/all/$k)" "$(cat $conf/v0/$k)" "$(cat $conf/v2/$k)"
done
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = 'setting        all  v0  a later one
accept_ra      0    1   1
autoconf       0    1   1
use_tempaddr   2    0   0
hop_limit      33   64  64
addr_gen_mode  1    1   1
forwarding     1    1   1
disable_ipv6   1    1   1'
echo "as described"
