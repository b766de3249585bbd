#!/usr/bin/env bash
# Go 1.26, package net without cgo; glibc 2.36 (Debian 12), getaddrinfo; libevent
# 2.1.12-stable (Debian 12), evdns_getaddrinfo
#
# Expected: a service is a decimal port up to 65535, or a name in /etc/services. The three
# agree on what is a port, on capitals, and that 70000 and 4294967376 are none.
#
# Seen: no two of them agree. A blank may stand before a number for the C libraries, not
# for Go. glibc takes "70000", and its lower 16 bits for the port. All three take
# "4294967376" for port 80: a number of 33 bits is cut off, by Go too, which checks for an
# overflow a step too late. Names have capitals for the C libraries; Go makes what it looks
# for lower case, but not what is in the file, so that it finds "http" as "HTTP" and never
# what the file spells "X11". And "" is no service for glibc, port 0 for Go, and an error
# for libevent.
#
#   service         Go     glibc  libevent
#   "80"            80     80     80
#   "+80"           80     80     80
#   " 80"           error  80     80
#   "080"           80     80     80
#   "0x50"          error  error  error
#   ""              0      0      error
#   "70000"         error  4464   error
#   "4294967376"    80     80     80
#   "http"          80     80     80
#   "HTTP"          80     error  error
#   "X11"           error  6000   6000
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(getent --version) in
*"2.36"*) ;;
*) echo "needs glibc 2.36 (Debian 12), this is $(getent --version | head -n 1)" >&2; exit 1 ;;
esac
cd "$dir"
if ldconfig -p | grep -q 'libevent-2\.1\.so\.7 '; then
	lib=libevent-2.1.so.7
else
	apt-get download -q libevent-2.1-7 >/dev/null
	dpkg -x libevent-2.1-7_*.deb libevent
	lib=$(find "$dir/libevent" -name 'libevent-2.1.so.7' -print -quit)
fi
printf 'http 80/tcp www\nX11 6000/tcp\n' > services
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	for _, s := range os.Args[1:] {
		if n, err := net.LookupPort("tcp", s); err == nil {
			fmt.Println(n)
		} else {
			fmt.Println("error")
		}
	}
}
GO
CGO_ENABLED=0 go build -o lookup .
cat > both.py <<'PY'
import ctypes, subprocess, sys

libevent, libc = ctypes.CDLL(sys.argv[1]), ctypes.CDLL("libc.so.6")
libevent.event_get_version.restype = ctypes.c_char_p
version = libevent.event_get_version().decode()
if version != "2.1.12-stable":
    sys.exit("needs libevent 2.1.12-stable, this is " + version)

class AddrInfo(ctypes.Structure):
    pass
AddrInfo._fields_ = [("flags", ctypes.c_int), ("family", ctypes.c_int), ("type", ctypes.c_int), ("protocol", ctypes.c_int),
    ("length", ctypes.c_uint), ("addr", ctypes.POINTER(ctypes.c_ubyte)), ("name", ctypes.c_char_p), ("next", ctypes.c_void_p)]
List = ctypes.POINTER(AddrInfo)
Answer = ctypes.CFUNCTYPE(None, ctypes.c_int, List, ctypes.c_void_p)
libevent.event_base_new.restype = libevent.evdns_base_new.restype = libevent.evdns_getaddrinfo.restype = ctypes.c_void_p
libevent.evdns_base_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
libevent.evdns_getaddrinfo.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, List, Answer, ctypes.c_void_p]
base = libevent.evdns_base_new(libevent.event_base_new(), 0)
hints = AddrInfo(0, 2, 1)

def port(err, result):
    return "error" if err else str(result.contents.addr[2] * 256 + result.contents.addr[3])

def by_libevent(service):
    got = []
    answer = Answer(lambda err, result, _: got.append(port(err, result)))
    libevent.evdns_getaddrinfo(base, b"192.0.2.7", service.encode(), hints, answer, None)
    return got[0]  # an address is answered at once

def by_glibc(service):
    result = List()
    return port(libc.getaddrinfo(b"192.0.2.7", service.encode(), ctypes.byref(hints), ctypes.byref(result)), result)

services = ["80", "+80", " 80", "080", "0x50", "", "70000", "4294967376", "http", "HTTP", "X11"]
by_go = subprocess.run(["./lookup"] + services, capture_output=True, check=True, text=True).stdout.split()
for s, go in zip(services, by_go):
    print(f'"{s}"'.ljust(15), go.ljust(6), by_glibc(s).ljust(6), by_libevent(s))
PY
run='mount --bind services /etc/services && python3 both.py "$1"'
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --mount sh -c "$run" sh "$lib")
else
	got=$(unshare --user --map-root-user --mount sh -c "$run" sh "$lib")
fi
echo "$got"
test "$got" = '"80"            80     80     80
"+80"           80     80     80
" 80"           error  80     80
"080"           80     80     80
"0x50"          error  error  error
""              0      0      error
"70000"         error  4464   error
"4294967376"    80     80     80
"http"          80     80     80
"HTTP"          80     error  error
"X11"           error  6000   6000'
echo "as described"
