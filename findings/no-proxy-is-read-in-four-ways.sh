#!/usr/bin/env bash
# golang.org/x/net v0.62.0 (http/httpproxy, which net/http has a copy of, and proxy),
# curl 7.88.1 and wget 1.21.3 (Debian 12)
#
# Expected: one value of NO_PROXY means the same to all programs of a host, at least to
# two packages of one Go module: a name stands for itself and what is below it, with a
# leading dot too; a network for its addresses; "name:port" for that port.
#
# Seen: no two of the four agree on these eight. All four agree only if an entry names
# exactly the host: the same name, or the same address.
#
#                     columns: httpproxy, x/net/proxy, curl, wget
#   example.test    for example.test      direct  direct  direct  direct
#   example.test    for www.example.test  direct  proxy   direct  direct
#   .example.test   for example.test      proxy   proxy   direct  proxy
#   .example.test   for www.example.test  direct  proxy   direct  direct
#   example.test:80 for example.test      direct  proxy   proxy   proxy
#   192.0.2.0/24    for 192.0.2.7         direct  direct  direct  proxy
#   192.0.2.7       for 192.0.2.7         direct  direct  direct  direct
#   *.example.test  for www.example.test  direct  direct  proxy   proxy
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for v in curl=7.88.1 wget=1.21.3; do
	said=$("${v%=*}" --version | head -n 1)
	case $said in
	*"${v#*=}"*) ;;
	*) echo "needs ${v/=/ } (Debian 12), this is $said" >&2; exit 1 ;;
	esac
done
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

type named string

func (n named) Dial(string, string) (net.Conn, error) { return nil, errors.New(string(n)) }

func main() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	asked := make(chan bool, 9)
	go http.Serve(ln, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- true }))
	address := "http://" + ln.Addr().String()
	// run has no network: a program that goes past the proxy fails.
	run := func(list string, args ...string) string {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "http_proxy="+address, "no_proxy="+list)
		cmd.Run()
		select {
		case <-asked:
			return "proxy"
		default:
			return "direct"
		}
	}
	for _, c := range []struct{ list, host string }{
		{"example.test", "example.test"}, {"example.test", "www.example.test"},
		{".example.test", "example.test"}, {".example.test", "www.example.test"},
		{"example.test:80", "example.test"}, {"192.0.2.0/24", "192.0.2.7"}, {"192.0.2.7", "192.0.2.7"},
		{"*.example.test", "www.example.test"},
	} {
		u, err := url.Parse("http://" + c.host + "/")
		if err != nil {
			panic(err)
		}
		a := "direct"
		if p, _ := (&httpproxy.Config{HTTPProxy: address, NoProxy: c.list}).ProxyFunc()(u); p != nil {
			a = "proxy"
		}
		per := proxy.NewPerHost(named("proxy"), named("direct"))
		per.AddFromString(c.list)
		_, b := per.Dial("tcp", c.host+":80")
		d := run(c.list, "curl", "-s", "-m", "5", u.String())
		e := run(c.list, "wget", "-q", "-O", "-", "-T", "5", "-t", "1", u.String())
		fmt.Printf("%-15s for %-16s  %-6s  %-6s  %-6s  %s\n", c.list, c.host, a, b, d, e)
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
printf 'ip link set lo up\nunset http_proxy all_proxy no_proxy HTTP_PROXY ALL_PROXY NO_PROXY\n./try\n' > host
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'example.test    for example.test      direct  direct  direct  direct
example.test    for www.example.test  direct  proxy   direct  direct
.example.test   for example.test      proxy   proxy   direct  proxy
.example.test   for www.example.test  direct  proxy   direct  direct
example.test:80 for example.test      direct  proxy   proxy   proxy
192.0.2.0/24    for 192.0.2.7         direct  direct  direct  proxy
192.0.2.7       for 192.0.2.7         direct  direct  direct  direct
*.example.test  for www.example.test  direct  direct  proxy   proxy'
echo "as described"
