#!/usr/bin/env bash
# Linux (seen with 6.18), iproute2 6.1.0 (Debian 12)
#
# Expected: "ip rule del from ADDRESS lookup TABLE" (RTM_DELRULE) deletes the rule that is
# so, and if there is none says that there is none: who adds a rule and deletes it in the
# same words touches no other rule.
#
# Seen: what is not said is not compared. The first rule with that source and table goes,
# whatever it asks for in addition: here one of another program, for one port. The own one
# stays. Only the priority in the request makes it the right one; a library that leaves it
# out (vishvananda's NewRule does) is no better.
#   100: from 192.0.2.20 ipproto tcp dport 80 lookup 100
#   200: from 192.0.2.20 lookup 100
#   after ip rule del from 192.0.2.20 lookup 100:
#   200: from 192.0.2.20 lookup 100
#   after ip rule del from 192.0.2.99 lookup 100: No such file or directory
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
shown() { ip rule show | grep 192.0.2 | sed -E 's/\s+/ /g'; }
ip rule add from 192.0.2.20 lookup 100 pref 200
ip rule add from 192.0.2.20 ipproto tcp dport 80 lookup 100 pref 100
shown
ip rule del from 192.0.2.20 lookup 100
echo "after ip rule del from 192.0.2.20 lookup 100:"
shown
echo "after ip rule del from 192.0.2.99 lookup 100: $(ip rule del from 192.0.2.99 lookup 100 2>&1 | sed 's/.*: //')"
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash "$dir/try")
else
	got=$(unshare --user --map-root-user --net bash "$dir/try")
fi
echo "$got"
test "$got" = '100: from 192.0.2.20 ipproto tcp dport 80 lookup 100
200: from 192.0.2.20 lookup 100
after ip rule del from 192.0.2.20 lookup 100:
200: from 192.0.2.20 lookup 100
after ip rule del from 192.0.2.99 lookup 100: No such file or directory'
echo "as described"
