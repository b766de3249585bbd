package proxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/socks"
)

// callerOf finds the local process that has made a request's connection. Whose
// executable cannot be read, for want of permission, is known by its user only.
func callerOf(r *socks.Request) caller {
	if !r.Client.Addr().IsValid() {
		return caller{}
	}
	uid, inode, err := socketOwner(r.Client, r.Listener)
	if err != nil {
		return caller{} // not on this host, or gone
	}
	c := caller{known: true, uid: uid}
	if inode != 0 {
		c.pid, c.executable = processWithSocket(uid, inode)
	}
	return c
}

const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY, linux/sock_diag.h
	diagRequestSize  = 56 // struct inet_diag_req_v2
	diagMessageSize  = 72 // struct inet_diag_msg
	diagUID          = 64 // offset of idiag_uid there
	diagInode        = 68 // and of idiag_inode
)

// socketOwner asks the kernel for one TCP socket of this host (sock_diag(7)). It
// looks the socket up by its addresses, so it takes as long however many there
// are.
func socketOwner(local, remote netip.AddrPort) (uid, inode uint32, err error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	b := make([]byte, diagRequestSize)
	b[0], b[1] = unix.AF_INET, unix.IPPROTO_TCP
	if local.Addr().Is6() {
		b[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // every state
	binary.BigEndian.PutUint16(b[8:], local.Port())
	binary.BigEndian.PutUint16(b[10:], remote.Port())
	copy(b[12:28], local.Addr().AsSlice())
	copy(b[28:44], remote.Addr().AsSlice())
	for i := 48; i < diagRequestSize; i++ {
		b[i] = 0xff // INET_DIAG_NOCOOKIE
	}
	replies, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request}, Data: b})
	if err != nil {
		return 0, 0, err
	}
	if len(replies) != 1 || len(replies[0].Data) < diagMessageSize {
		return 0, 0, fmt.Errorf("sock_diag: %d answers", len(replies))
	}
	data := replies[0].Data
	return binary.NativeEndian.Uint32(data[diagUID:]), binary.NativeEndian.Uint32(data[diagInode:]), nil
}

// processWithSocket looks through the user's processes for the one that has
// the socket open (proc_pid_fd(5)).
func processWithSocket(uid, inode uint32) (pid int, executable string) {
	want := fmt.Sprintf("socket:[%d]", inode)
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return 0, ""
	}
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", p.Name())
		var st syscall.Stat_t
		if syscall.Stat(dir, &st) != nil || st.Uid != uid {
			continue
		}
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if link, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err == nil && link == want {
				exe, _ := os.Readlink(filepath.Join(dir, "exe"))
				return pid, strings.TrimSuffix(exe, " (deleted)")
			}
		}
	}
	return 0, ""
}
