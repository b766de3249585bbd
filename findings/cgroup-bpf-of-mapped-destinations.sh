#!/usr/bin/env bash
# Linux (seen with 6.18), cgroup version 2, github.com/cilium/ebpf v0.22.0, Go 1.26; root
#
# Expected: which of a cgroup's programs sees an IPv6 socket that talks to an IPv4-mapped
# address is one rule: those for IPv6, as of the socket, or those for IPv4, as of the
# packet. What a connected socket sends with send(2) runs no sendmsg program.
#
# Seen: connect runs connect6, sending runs sendmsg4. And after connect to a mapped
# address even plain send(2) runs sendmsg4, which it does for no other socket. So a
# program that rewrites or counts has to be in all four places and look into connect6's
# addresses for mapped ones.
#   ipv4 connect, send: connect4
#   ipv6 connect, send: connect6
#   mapped connect, send: connect6 sendmsg4
#   ipv4 sendto: sendmsg4
#   ipv6 sendto: sendmsg6
#   mapped sendto: sendmsg4
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
	echo "needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/cilium/ebpf@v0.22.0 golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// talk is what is seen: one UDP socket that connects and sends, or sends to an address.
func talk(how, address string) {
	a := netip.MustParseAddr(address)
	domain, to := unix.AF_INET, unix.Sockaddr(nil)
	if a.Is4() {
		to = &unix.SockaddrInet4{Port: 9, Addr: a.As4()}
	} else {
		domain, to = unix.AF_INET6, &unix.SockaddrInet6{Port: 9, Addr: a.As16()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM, 0)
	check(err)
	if how == "sendto" {
		check(unix.Sendto(fd, []byte("x"), 0, to))
		return
	}
	check(unix.Connect(fd, to))
	_, err = unix.Write(fd, []byte("x"))
	check(err)
}

func main() {
	if len(os.Args) == 4 {
		talk(os.Args[2], os.Args[3])
		return
	}
	group, err := os.MkdirTemp(os.Args[1], "finding")
	check(err)
	defer os.Remove(group)
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4})
	check(err)
	names := []string{"connect4", "connect6", "sendmsg4", "sendmsg6"}
	for i, at := range []ebpf.AttachType{ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect, ebpf.AttachCGroupUDP4Sendmsg, ebpf.AttachCGroupUDP6Sendmsg} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupSockAddr, AttachType: at, License: "GPL", Instructions: asm.Instructions{
			asm.StoreImm(asm.R10, -4, int64(i), asm.Word),
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.Mov.Imm(asm.R1, 1),
			asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
			asm.Mov.Imm(asm.R0, 1).WithSymbol("out"), // let it pass
			asm.Return(),
		}})
		check(err)
		l, err := link.AttachCgroup(link.CgroupOptions{Path: group, Attach: at, Program: p})
		check(err)
		defer l.Close()
	}
	d, err := os.Open(group)
	check(err)
	for _, how := range []string{"connect, send", "sendto"} {
		for _, to := range []struct{ name, address string }{{"ipv4", "127.0.0.1"}, {"ipv6", "::1"}, {"mapped", "::ffff:127.0.0.1"}} {
			cmd := exec.Command("/proc/self/exe", os.Args[1], how, to.address)
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd())}
			if out, err := cmd.CombinedOutput(); err != nil {
				panic(string(out))
			}
			fmt.Printf("%s %s:", to.name, how)
			for i, n := range names {
				var v uint64
				check(counts.Lookup(uint32(i), &v))
				if v > 0 {
					fmt.Print(" ", n)
				}
				check(counts.Put(uint32(i), uint64(0)))
			}
			fmt.Println()
		}
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
mkdir group
got=$(unshare --net --mount sh -c 'ip link set lo up; mount -t cgroup2 none group; ./try group')
echo "$got"
test "$got" = 'ipv4 connect, send: connect4
ipv6 connect, send: connect6
mapped connect, send: connect6 sendmsg4
ipv4 sendto: sendmsg4
ipv6 sendto: sendmsg6
mapped sendto: sendmsg4'
echo "as described"
