#!/usr/bin/env bash
# Go 1.26 (http.ServeContent, http.FileServer), nginx 1.22.1 and curl 7.88.1 (Debian 12)
#
# Expected: a server ignores a Range header whose unit it does not know, and sends the
# whole (RFC 9110 section 14.2: "MUST ignore"); names of units are not case-sensitive
# (section 14.1).
#
# Seen: Go takes an unknown unit for a range that cannot be satisfied, and "Bytes=" is
# one: 416, without a Content-Range and without the file. A client that offers its own
# unit first, or a proxy that passes such headers on, gets nothing from Go where nginx
# sends the file.
#   Range: bytes=0-4: nginx 206 bytes 0-4/10, Go 206 bytes 0-4/10
#   Range: Bytes=0-4: nginx 206 bytes 0-4/10, Go 416
#   Range: items=0-4: nginx 200, Go 416
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(nginx -v 2>&1) in
*nginx/1.22.1*) ;;
*) echo "needs nginx 1.22.1 (Debian 12), this is $(nginx -v 2>&1)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:8081")
	if err != nil {
		panic(err)
	}
	os.WriteFile("ready", nil, 0o600)
	http.Serve(l, http.FileServer(http.Dir("files")))
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
mkdir files
printf 0123456789 > files/f
touch -d '2026-01-02 03:04:05 UTC' files/f
cat > nginx.conf <<'CONF'
daemon off;
pid nginx.pid;
error_log stderr crit;
events {}
http {
	access_log off;
	client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
	server { listen 127.0.0.1:8080; root files; }
}
CONF
chmod 755 . files
nginx -p . -c nginx.conf 2>/dev/null &
trap 'kill $(jobs -p)' EXIT
until curl -s -o /dev/null http://127.0.0.1:8080/f; do :; done
./try &
until [ -e ready ]; do :; done
# ask NAME HEADER... asks both servers.
ask() {
	local name=$1 said=() server
	shift
	for server in 8080 8081; do
		said+=("$(curl -s -o body -w '%{http_code} %header{content-range}' "$@" "http://127.0.0.1:$server/f" | sed 's/ *$//')")
	done
	echo "$name: nginx ${said[0]}, Go ${said[1]}"
}
for range in bytes=0-4 Bytes=0-4 items=0-4; do ask "Range: $range" -H "Range: $range"; done
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'Range: bytes=0-4: nginx 206 bytes 0-4/10, Go 206 bytes 0-4/10
Range: Bytes=0-4: nginx 206 bytes 0-4/10, Go 416
Range: items=0-4: nginx 200, Go 416'
echo "as described"
