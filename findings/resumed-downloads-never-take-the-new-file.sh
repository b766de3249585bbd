#!/usr/bin/env bash
# curl 7.88.1 and wget 1.21.3, nginx 1.22.1 (Debian 12)
#
# Expected: a download that is resumed (curl -C -, wget -c) after the file on the server
# has changed may mix two files, as neither tool asks. With the entity tag of the first
# part it does not: curl --etag-compare knows it, and with "If-Range: TAG" the server
# sends the new file whole (200), which the tool then takes.
#
# Seen: no way leads to the new file. curl compares the tag only to learn that there is a
# new file, and appends the rest of it to the old part. To the answer 200 curl gives up
# with 33, and wget throws away as many bytes of the new file as it has of the old one and
# appends the others, without a word.
#   curl -C -: status 0, file 0123efghij
#   curl -C - --etag-compare: status 0, file 0123efghij
#   curl -C - with If-Range: status 33, file 0123
#   wget -c: status 0, file 0123efghij
#   wget -c with If-Range: status 0, file 0123efghij
# old file 0123456789, of which 0123 is there, new file abcdefghij
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for v in curl=7.88.1 wget=1.21.3; do
	said=$("${v%=*}" --version | head -n 1)
	case $said in
	*"${v#*=}"*) ;;
	*) echo "needs ${v%=*} ${v#*=} (Debian 12), this is $said" >&2; exit 1 ;;
	esac
done
case $(nginx -v 2>&1) in
*nginx/1.22.1*) ;;
*) echo "needs nginx 1.22.1 (Debian 12), this is $(nginx -v 2>&1)" >&2; exit 1 ;;
esac
cat > "$dir/try" <<'TRY'
set -euo pipefail
ip link set lo up
mkdir files
printf abcdefghij > files/f
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
echo '"tag of the old file"' > tag
resume() {
	local name=$1 status=0
	shift
	printf 0123 > f
	"$@" http://127.0.0.1:8080/f || status=$?
	echo "$name: status $status, file $(cat f)"
}
resume "curl -C -" curl -s -C - -o f
resume "curl -C - --etag-compare" curl -s -C - --etag-compare tag -o f
resume "curl -C - with If-Range" curl -s -C - -H 'If-Range: "tag of the old file"' -o f
resume "wget -c" wget -q -c
resume "wget -c with If-Range" wget -q -c --header 'If-Range: "tag of the old file"'
TRY
cd "$dir"
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash try)
else
	got=$(unshare --user --map-root-user --net bash try)
fi
echo "$got"
test "$got" = 'curl -C -: status 0, file 0123efghij
curl -C - --etag-compare: status 0, file 0123efghij
curl -C - with If-Range: status 33, file 0123
wget -c: status 0, file 0123efghij
wget -c with If-Range: status 0, file 0123efghij'
echo "as described"
