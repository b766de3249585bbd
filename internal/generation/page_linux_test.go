package generation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func made(t *testing.T) *Own {
	t.Helper()
	o, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func TestPage(t *testing.T) {
	o := made(t)
	p, err := Open(int(o.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Same(&o.Page) || p.Same(nil) || p.Same(&made(t).Page) {
		t.Error("a page is taken for another one")
	}
	for _, index := range []uint32{View, Measurements, FirstNetwork, Words - 1} {
		if n := p.Load(index); n != 1 {
			t.Errorf("generation %d is %d at first", index, n)
		}
		if n := o.Raise(index); n != 2 || p.Load(index) != 2 {
			t.Errorf("raised to %d, and read as %d", n, p.Load(index))
		}
		if o.Store(index, 7); p.Load(index) != 7 {
			t.Errorf("stored 7, and read %d", p.Load(index))
		}
	}
	for _, index := range []uint32{Words, 1<<32 - 1} {
		if o.Store(index, 7); o.Raise(index) != 0 || p.Load(index) != 0 {
			t.Errorf("there is a generation %d", index)
		}
	}
}

// A client can read the page that it gets, and can do nothing else with it.
func TestPageIsReadOnlyForOthers(t *testing.T) {
	o := made(t)
	fd := int(o.file.Fd())
	if _, err := unix.Mmap(fd, 0, Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("mapped writable")
	}
	if _, err := unix.Write(fd, []byte("x")); err == nil {
		t.Error("written to")
	}
	if err := unix.Ftruncate(fd, 0); err == nil {
		t.Error("cut off")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err == nil {
		t.Error("sealed")
	}
	if info, err := o.file.Stat(); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Root may open anything for writing; the seals hold all the same.
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if os.Geteuid() != 0 {
		t.Error("opened for writing")
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("written to through another descriptor")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("cut off through another descriptor")
	}
}

// Nor does any other way of writing that a client might find change what others read:
// through the mapping it has, through its own memory, or by the rights of the owner.
func TestPageCannotBeWrittenAround(t *testing.T) {
	o := made(t)
	fd := int(o.file.Fd())
	before := o.Load(View)
	b, err := unix.Mmap(fd, 0, Size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err == nil {
		t.Error("made writable")
	}
	if err := unix.Madvise(b, unix.MADV_REMOVE); err == nil {
		t.Error("freed")
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, Size); err == nil {
		t.Error("a hole is punched")
	}
	if mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0); err == nil {
		address := int64(uintptr(unsafe.Pointer(&b[headerSize])))
		if _, err := mem.WriteAt([]byte{9, 9, 9, 9, 9, 9, 9, 9}, address); err == nil {
			t.Error("written to as the process's own memory")
		}
		_ = mem.Close()
	}
	// A process of the daemon's user owns the file, and may change its mode.
	if err := unix.Fchmod(fd, 0o666); err == nil {
		for _, flags := range []int{os.O_WRONLY, os.O_RDWR} {
			f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), flags, 0)
			if err != nil {
				continue
			}
			if _, err := f.WriteAt([]byte("x"), 0); err == nil {
				t.Error("written to by its owner")
			}
			if _, err := unix.Mmap(int(f.Fd()), 0, Size, unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
				t.Error("mapped writable by its owner")
			}
			if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, Size); err == nil {
				t.Error("a hole is punched by its owner")
			}
			_ = f.Close()
		}
	}
	if p, err := Open(fd); err != nil || o.Load(View) != before || p.Load(View) != before {
		t.Errorf("the page has changed: %v, %d, %d", err, o.Load(View), before)
	}
}

// A page could come from anybody: what is not sealed could go away while it is read.
func TestOpenRefuses(t *testing.T) {
	memory := func(size int64, seals int, content string) int {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Ftruncate(fd, size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pwrite(fd, []byte(content), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	ordinary, err := os.Create(t.TempDir() + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ordinary.Close() }()
	if err := ordinary.Truncate(Size); err != nil {
		t.Fatal(err)
	}
	header := func(version, count uint32) string {
		b := binary.NativeEndian.AppendUint32([]byte(magic), version)
		return string(binary.NativeEndian.AppendUint32(b, count))
	}
	good := header(version, Words)
	for _, tt := range []struct {
		name string
		fd   int
		want error
	}{
		{"may shrink", memory(Size, seals&^unix.F_SEAL_SHRINK, good), errSeals},
		{"may be sealed further", memory(Size, seals&^unix.F_SEAL_SEAL, good), errSeals},
		{"no seals", memory(Size, 0, good), errSeals},
		{"too small", memory(64, seals, good), errSize},
		{"empty", memory(0, seals, ""), errSize},
		{"too large", memory(1<<30, seals, good), errSize},
		{"another kind", memory(Size, seals, "mammagenes"), errHeader},
		{"another version", memory(Size, seals, header(version+1, Words)), errHeader},
		{"another count", memory(Size, seals, header(version, Words+1)), errHeader},
		{"an ordinary file", int(ordinary.Fd()), unix.EINVAL},
		{"no file", -1, unix.EBADF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(tt.fd); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := Open(memory(Size, seals, good)); err != nil {
		t.Errorf("what is as it should be: %v", err)
	}
}

// Received takes the first page, and leaves no descriptor open.
func TestReceived(t *testing.T) {
	o := made(t)
	other, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	for _, tt := range []struct {
		name    string
		control []byte
		page    bool
		fails   bool
	}{
		{"page", o.Rights(), true, false},
		{"nothing", nil, false, false},
		{"something else", unix.UnixRights(int(other.Fd())), false, true},
		{"two", unix.UnixRights(int(o.file.Fd()), int(other.Fd())), true, false},
		{"cut off", o.Rights()[:10], false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A copy of each descriptor, as the kernel would make.
			control := append([]byte(nil), tt.control...)
			var fds []int
			if messages, err := unix.ParseSocketControlMessage(tt.control); err == nil && len(messages) > 0 {
				given, _ := unix.ParseUnixRights(&messages[0])
				for _, fd := range given {
					n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
					if err != nil {
						t.Fatal(err)
					}
					fds = append(fds, n)
				}
				control = unix.UnixRights(fds...)
			}
			page, err := Received(control)
			if (page != nil) != tt.page || (err != nil) != tt.fails {
				t.Errorf("page %v, error %v", page, err)
			}
			for _, fd := range fds {
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
					t.Errorf("descriptor %d was left open", fd)
				}
			}
		})
	}
}
