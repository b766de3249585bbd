#!/usr/bin/env bash
# Linux 6.18, iproute2 6.1.0 (Debian 12), python3
#
# Expected: "ip route show" lists the routes of table main, however many next hops one of
# them has, or says that it cannot. "ip route get fibmatch" says which route a destination
# matches.
#
# Seen: with a route of 250 next hops in the table, which "ip route add" takes, "ip route
# show" lists no route at all, neither that one nor any other, without a message and with
# status 0. The kernel makes each part of a dump as large as the largest buffer that the
# socket was read with before, and a page if it never was. Where the next route does not
# fit into an empty part, the dump ends as if that was all: NLMSG_DONE with 0. So even a
# reader with room for 64 kB gets nothing by the first dump of its socket, and everything
# by the second. The answer to one question is never larger than a page: fibmatch fails
# with EMSGSIZE. Without fibmatch it is answered, as only the chosen next hop is told.
#   100 next hops: show 2 routes, status 0, messages: 0, get fibmatch: 100, get 1
#   250 next hops: show 0 routes, status 0, messages: 0, get fibmatch: RTNETLINK answers: Message too long, get 1
#   first dump of a socket that is read by 64 kB: 0 routes, NLMSG_DONE 0
#   second dump of a socket that is read by 64 kB: 2 routes, NLMSG_DONE 0
# So read something short from a socket, with a large buffer, before its first dump.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cat > "$dir/dump.py" <<'PY'
import socket, struct
RTM_NEWROUTE, RTM_GETROUTE, NLM_F_REQUEST, NLM_F_DUMP, NLMSG_DONE, RT_TABLE_MAIN = 24, 26, 1, 0x300, 3, 254
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
for turn in "first", "second":
    s.send(struct.pack("=IHHII", 28, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes([socket.AF_INET]) + bytes(11))
    routes, done = 0, None
    while done is None:
        b = s.recv(65536)
        while b:
            length, kind = struct.unpack_from("=IH", b)
            if kind == NLMSG_DONE:
                done = struct.unpack_from("=i", b, 16)[0]
            routes += kind == RTM_NEWROUTE and b[16 + 4] == RT_TABLE_MAIN
            b = b[(length + 3) & ~3:]
    print(f"{turn} dump of a socket that is read by 64 kB: {routes} routes, NLMSG_DONE {done}")
PY
cat > "$dir/try" <<'TRY'
set -eu
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip address add 10.0.0.1/16 dev v0
for n in 100 250; do
	hops=()
	for i in $(seq "$n"); do hops+=(nexthop via "10.0.1.$i" dev v0); done
	ip route replace default "${hops[@]}"
	status=0
	ip route show > "$1/out" 2> "$1/err" || status=$?
	listed=$(grep -c '^[^[:space:]]' "$1/out" || true)
	matched=$(ip route get fibmatch 192.0.2.1 2>&1 || true)
	case $matched in *nexthop*) matched=$(grep -c nexthop <<< "$matched") ;; esac
	echo "$n next hops: show $listed routes, status $status, messages: $(wc -l < "$1/err"), get fibmatch: $matched, get $(ip route get 192.0.2.1 | grep -c 'via ')"
done
python3 "$1/dump.py"
TRY
got=$(unshare --user --map-root-user --net bash "$dir/try" "$dir")
echo "$got"
test "$got" = "100 next hops: show 2 routes, status 0, messages: 0, get fibmatch: 100, get 1
250 next hops: show 0 routes, status 0, messages: 0, get fibmatch: RTNETLINK answers: Message too long, get 1
first dump of a socket that is read by 64 kB: 0 routes, NLMSG_DONE 0
second dump of a socket that is read by 64 kB: 2 routes, NLMSG_DONE 0"
echo "as described"
