#!/usr/bin/env bash
# nginx 1.22.1 and curl 7.88.1 (Debian 12), Go 1.26 (http.FileServer)
#
# Expected: If-Modified-Since with any date from the file's on is answered by 304 (RFC
# 9110 section 13.1.3): the client may send the date at which it fetched the file. Where
# If-Match is given, If-Unmodified-Since is not looked at (section 13.1.4).
#
# Seen: nginx sends the file again unless the date is the very one that it gave
# (if_modified_since exact, the default). And it looks at both headers of the other kind,
# so that the client whose tag matches fails by an older date. Go does as the RFC says.
#   If-Modified-Since, the date of the file: nginx 304, Go 304
#   If-Modified-Since, an hour later: nginx 200, Go 304
#   If-Unmodified-Since, an hour earlier: nginx 412, Go 412
#   If-Match *, and that: nginx 412, Go 200
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
ask "If-Modified-Since, the date of the file" -H 'If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT'
ask "If-Modified-Since, an hour later" -H 'If-Modified-Since: Fri, 02 Jan 2026 04:04:05 GMT'
ask "If-Unmodified-Since, an hour earlier" -H 'If-Unmodified-Since: Fri, 02 Jan 2026 02:04:05 GMT'
ask "If-Match *, and that" -H 'If-Match: *' -H 'If-Unmodified-Since: Fri, 02 Jan 2026 02:04:05 GMT'
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'If-Modified-Since, the date of the file: nginx 304, Go 304
If-Modified-Since, an hour later: nginx 200, Go 304
If-Unmodified-Since, an hour earlier: nginx 412, Go 412
If-Match *, and that: nginx 412, Go 200'
echo "as described"
