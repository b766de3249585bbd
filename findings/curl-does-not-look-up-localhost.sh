#!/usr/bin/env bash
# curl 7.88.1 and wget 1.21.3 with glibc 2.36 (Debian 12)
#
# Expected: "localhost" and names below it are looked up like any other name, so that
# /etc/hosts decides: "127.0.0.5 localhost web.localhost" sends curl to 127.0.0.5, as it
# sends wget there.
#
# Seen: curl has both addresses of loopback in itself for localhost and *.localhost and
# asks neither hosts nor DNS. An entry for them acts on other programs only; --resolve
# is what curl obeys.
#   wget localhost: 127.0.0.5, wget web.localhost: 127.0.0.5
#   curl localhost: 127.0.0.1, curl web.localhost: 127.0.0.1
#   curl --resolve web.localhost:8000:127.0.0.5: 127.0.0.5
set -euo pipefail
for v in curl=7.88.1 wget=1.21.3; do
	said=$("${v%=*}" --version | head -n 1)
	case $said in
	*"${v#*=}"*) ;;
	*) echo "needs ${v/=/ } (Debian 12), this is $said" >&2; exit 1 ;;
	esac
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// main serves on two addresses, each of which answers with itself, and runs clients.
func main() {
	for _, address := range []string{"127.0.0.1", "127.0.0.5"} {
		ln, err := net.Listen("tcp", address+":8000")
		if err != nil {
			panic(err)
		}
		go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, address) }))
	}
	run := func(command string) string {
		args := strings.Fields(command)
		out, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			return err.Error()
		}
		return string(out)
	}
	for _, k := range os.Environ() {
		if name, _, _ := strings.Cut(k, "="); strings.HasSuffix(strings.ToLower(name), "_proxy") {
			os.Unsetenv(name)
		}
	}
	for _, c := range []struct{ name, command string }{{"wget", "wget -q -t 1 -T 9 -O -"}, {"curl", "curl -s -m 9"}} {
		a := run(c.command + " http://localhost:8000/")
		b := run(c.command + " http://web.localhost:8000/")
		fmt.Printf("%s localhost: %s, %s web.localhost: %s\n", c.name, a, c.name, b)
	}
	const resolve = "curl --resolve web.localhost:8000:127.0.0.5"
	fmt.Println(resolve+":", run(resolve+" -s -m 9 http://web.localhost:8000/"))
}
GO
go build -o try .
printf '127.0.0.5 localhost web.localhost\n' > hosts
printf 'hosts: files\n' > nsswitch.conf
cat > host <<'HOST'
set -euo pipefail
ip link set lo up
mount --bind hosts /etc/hosts
mount --bind nsswitch.conf /etc/nsswitch.conf
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net --mount bash host)
else
	got=$(unshare --user --map-root-user --net --mount bash host)
fi
echo "$got"
test "$got" = 'wget localhost: 127.0.0.5, wget web.localhost: 127.0.0.5
curl localhost: 127.0.0.1, curl web.localhost: 127.0.0.1
curl --resolve web.localhost:8000:127.0.0.5: 127.0.0.5'
echo "as described"
