package hook

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// loading are the capabilities that only Load needs, one bit each.
const loading = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON

// ErrNotShed is wrapped by the errors of Shed that mean that this process has kept its rights.
var ErrNotShed = errors.New("CAP_BPF and CAP_PERFMON are kept")

// Shed gives up, for this whole process and for good, the capabilities that only Load needs. The
// Table can still be used, and attached again after [Table.Reset], but Load fails from now on.
// Nothing is given up by a process with CAP_SYS_ADMIN, which includes the two, and where the kernel
// (before Linux 5.19) needs them for what is to be done with a Table.
func (t *Table) Shed() error {
	effective, known := capabilities()
	switch {
	case !known:
		return fmt.Errorf("%w: they are not known", ErrNotShed)
	case effective&(1<<unix.CAP_SYS_ADMIN) != 0:
		return fmt.Errorf("%w: CAP_SYS_ADMIN includes them", ErrNotShed)
	}
	if err := t.tryWithout(); err != nil {
		return fmt.Errorf("%w: this kernel needs them all the time: %w", ErrNotShed, err)
	}
	if err := lower(psx.Syscall3); err != nil {
		return fmt.Errorf("%w: %w", ErrNotShed, err)
	}
	return nil
}

// tryWithout tells whether a map can be written to without the capabilities. It gives them up for
// one thread, which then ends.
func (t *Table) tryWithout() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := lower(unix.RawSyscall)
		if err == nil {
			err = errors.Join(t.SetGroup(0, 0, 0), t.DropGroup(0)) // no group has this ID
		}
		result <- err
	}()
	return <-result
}

// lower takes the capabilities away from the threads that call reaches. Those of children
// (inheritable, ambient) go, too.
func lower(call func(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, errno unix.Errno)) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for i := range data {
		gone := uint32(uint64(loading) >> (32 * i))
		data[i].Effective &^= gone
		data[i].Permitted &^= gone
		data[i].Inheritable &^= gone
	}
	var pins runtime.Pinner // a stack can move
	pins.Pin(&header)
	pins.Pin(&data)
	defer pins.Unpin()
	if _, _, errno := call(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// Reset makes the Table as it was after Load. It must not be attached.
func (t *Table) Reset() error {
	for name, m := range t.maps {
		switch m.Type() {
		case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		default:
			continue
		}
		var keys [][]byte
		var k, v []byte
		all := m.Iterate()
		for all.Next(&k, &v) {
			keys = append(keys, k)
			k = nil
		}
		if err := all.Err(); err != nil {
			return fmt.Errorf("empty map %s: %w", name, err)
		}
		for _, k := range keys {
			if err := drop(m, k); err != nil {
				return fmt.Errorf("empty map %s: %w", name, err)
			}
		}
	}
	_ = t.ring.Close()
	ring, err := ringbuf.NewReader(t.maps["events"])
	if err != nil {
		return fmt.Errorf("open the ring buffer: %w", err)
	}
	t.ring = ring
	return errors.Join(t.Hold(0), t.SetDown(&[MaxNetworks]bool{}))
}
