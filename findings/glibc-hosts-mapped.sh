#!/usr/bin/env bash
# glibc 2.36 (Debian bookworm, libc6 and libc-bin 2.36-9+deb12u14), getent ahosts
#
# Expected: an entry "::ffff:192.0.2.13 NAME" in /etc/hosts is one
# address, of one family: either the IPv4 address it stands for, or an IPv6 one.
#
# Seen: the family that is asked for decides. For AF_INET it is 192.0.2.13; for
# AF_UNSPEC, which nearly every program asks for, it is the IPv6 address
# ::ffff:192.0.2.13, so that a program takes a host for IPv6 that has IPv4 only.
# And a name with a final dot there is found with that dot only, unlike in DNS.
#
#   AF_INET: 192.0.2.13
#   AF_UNSPEC: ::ffff:192.0.2.13
#   "dotted": nothing, "dotted.": 192.0.2.14
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
version=2.36-9+deb12u14
for package in libc6 libc-bin; do
	if [ "$(dpkg-query -W -f '${Version}' "$package")" != "$version" ]; then
		apt-get install -y -q --allow-downgrades "$package=$version" >/dev/null
	fi
done
printf '127.0.0.1 localhost\n::ffff:192.0.2.13 mapped\n192.0.2.14 dotted.\n' > "$dir/hosts"
printf 'hosts: files\n' > "$dir/nsswitch.conf"
got=$(unshare --mount sh -c '
	mount --bind "$1/hosts" /etc/hosts
	mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
	first() { getent "$1" "$2" | { read -r a _ || a=nothing; echo "$a"; }; }
	echo "AF_INET: $(first ahostsv4 mapped)"
	echo "AF_UNSPEC: $(first ahosts mapped)"
	echo "\"dotted\": $(first ahosts dotted), \"dotted.\": $(first ahosts dotted.)"
' sh "$dir")
echo "$got"
want='AF_INET: 192.0.2.13
AF_UNSPEC: ::ffff:192.0.2.13
"dotted": nothing, "dotted.": 192.0.2.14'
[ "$got" = "$want" ]
