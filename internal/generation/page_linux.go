package generation

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// seals are the seals that Make sets and Open requires. With them, neither size nor
// seals can change, and whoever maps the file later cannot write. F_SEAL_FUTURE_WRITE
// needs Linux 5.1.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE

// file is the file that is passed on.
type file struct{ *os.File }

// Make makes a page in which all generations are 1. The caller closes it. Pages of
// clients then keep their last values.
func Make() (_ *Own, err error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("mamma-generations", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("mamma-generations", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Ftruncate(fd, Size); err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	b, err := unix.Mmap(fd, 0, Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Munmap(b)
		}
	}()
	copy(b, magic)
	binary.NativeEndian.PutUint32(b[8:], version)
	binary.NativeEndian.PutUint32(b[12:], Words)
	_, _ = rand.Read(b[16:32]) // the error is ignored, because reading random bytes never fails
	p, err := pageOf(b)
	if err != nil {
		return nil, err
	}
	o := &Own{Page: *p}
	for i := range uint32(Words) {
		o.Store(i, 1)
	}
	// The order matters: the daemon's own writable mapping must be made before the
	// seal. The mode is changed because with the usual one, a client could open the
	// file again for writing.
	if err := unix.Fchmod(fd, 0o444); err != nil {
		return nil, fmt.Errorf("protect shared memory: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal shared memory: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd)) // read-only
	if err != nil {
		return nil, fmt.Errorf("open shared memory for others: %w", err)
	}
	o.file = file{f}
	runtime.AddCleanup(o, unmap, b)
	return o, nil
}

// Close closes the file. The memory stays mapped until nothing refers to it.
func (o *Own) Close() error { return o.file.Close() }

// Rights returns the control message that passes the page on (unix(7), SCM_RIGHTS).
func (o *Own) Rights() []byte { return unix.UnixRights(int(o.file.Fd())) }

// Open maps the page in a file from another process. The caller keeps the file. Open
// refuses a file without the size and the seals of a page, because such memory could
// vanish while it is read.
func Open(fd int) (*Page, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at shared memory: %w", err)
	}
	if st.Size != Size {
		return nil, errSize
	}
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("look at the seals of shared memory: %w", err)
	}
	if have&seals != seals {
		return nil, errSeals
	}
	b, err := unix.Mmap(fd, 0, Size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	p, err := pageOf(b)
	if err != nil {
		unmap(b)
		return nil, err
	}
	runtime.AddCleanup(p, unmap, b)
	return p, nil
}

func unmap(b []byte) { _ = unix.Munmap(b) }

// Received takes the page out of a control message, and closes everything else in it.
// Without a page it returns nil and no error.
func Received(control []byte) (*Page, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("read a control message: %w", err)
	}
	var page *Page
	var bad error
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			if page == nil && bad == nil {
				page, bad = Open(fd)
			}
			_ = unix.Close(fd)
		}
	}
	return page, bad
}

// RightsSize returns the size of a control message with one page.
func RightsSize() int { return unix.CmsgSpace(4) }
