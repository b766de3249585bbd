package pathmanager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// remembered is what was set up in the kernel and must be undone. After a crash it
// tells the next run what belongs to mamma.
type remembered struct {
	Version int    `json:"version"`
	Boot    string `json:"boot"` // a restart of the kernel undoes everything
	// Namespace identifies the network namespace. It is unique during one boot.
	Namespace uint64           `json:"namespace"`
	Endpoints []ownEndpoint    `json:"endpoints,omitempty"`
	Limits    *changedLimits   `json:"limits,omitempty"`
	Selected  *changedSelector `json:"path_manager,omitempty"`
}

// ownEndpoint is an endpoint that was added, or is about to be. In the second case its
// ID is 0, because the kernel chooses the ID.
type ownEndpoint struct {
	ID    uint8       `json:"id"`
	Addr  netip.Addr  `json:"addr"`
	Flags mptcp.Flags `json:"flags"`
	Index int         `json:"index"`
}

// is tells whether e is the endpoint that was added. FlagBackup may differ, because it
// changes now and then.
func (o ownEndpoint) is(e mptcp.Endpoint) bool {
	return (o.ID == 0 || o.ID == e.ID) && o.Addr == e.Addr && o.Index == e.Index && (o.Flags^e.Flags)&^mptcp.FlagBackup == 0
}

type changedLimits struct {
	Before mptcp.Limits `json:"before"`
	Set    mptcp.Limits `json:"set"`
}

type changedSelector struct {
	Before mptcp.PathManager `json:"before"`
	Set    mptcp.PathManager `json:"set"`
}

func (r *remembered) empty() bool {
	return len(r.Endpoints) == 0 && r.Limits == nil && r.Selected == nil
}

const (
	memoryVersion = 1
	// maxMemory bounds how much is read. An endpoint takes some 70 bytes, and the
	// kernel has 255 at most.
	maxMemory = 1 << 16
)

// memory keeps what is remembered in a file, one for each network namespace, in the
// state directory. The zero value writes no file. It is not safe for concurrent use.
type memory struct {
	log     *slog.Logger
	path    string   // "": nothing is written
	lock    *os.File // held as long as the memory is in use
	now     remembered
	failing bool
}

// openMemory reads what the last run has left for the network namespace of this thread.
// It never fails: errors are logged, and nothing is then remembered.
func openMemory(dir string, log *slog.Logger) *memory {
	m := &memory{log: log}
	if dir == "" {
		return m
	}
	ns, err := namespace()
	if err == nil {
		m.now = remembered{Version: memoryVersion, Boot: ownfile.BootID(), Namespace: ns}
		err = m.open(dir)
	}
	if err != nil {
		log.Warn("what is set up for MPTCP will stay in the kernel after a crash", "err", err)
	}
	return m
}

func (m *memory) open(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "mptcp.lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	// Two daemons in one namespace would each take the other's setup for their own, so
	// only one may have the lock. Daemons in different namespaces must not exclude each
	// other. So each namespace locks a byte of its own.
	own := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(m.now.Namespace & (1<<62 - 1)), Len: 1}
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &own); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = errors.New("another mamma does this here")
		}
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	m.lock, m.path = lock, filepath.Join(dir, fmt.Sprintf("mptcp-%d.json", m.now.Namespace))
	m.forgetOtherBoots(dir)
	r, err := readMemory(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		m.log.Warn("what the last run has set up for MPTCP is taken for somebody else's", "err", err)
		return nil
	}
	if r.Boot == m.now.Boot && r.Namespace == m.now.Namespace {
		m.now = r
	}
	return nil
}

// forgetOtherBoots removes the files of earlier boots, which nobody will need.
func (m *memory) forgetOtherBoots(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "mptcp-*.json"))
	for _, f := range files {
		if r, err := readMemory(f); err == nil && r.Boot != m.now.Boot {
			_ = os.Remove(f) // a file that stays does no harm
		}
	}
}

// namespace returns the inode number of this thread's network namespace.
func namespace() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing is lost
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("identify the network namespace (needs Linux 5.14): %w", err)
	}
	return cookie, nil
}

// readMemory reads a file, which may be damaged.
func readMemory(path string) (remembered, error) {
	b, err := ownfile.ReadAll(path, maxMemory)
	if err != nil {
		return remembered{}, err
	}
	r, err := parseMemory(b)
	if err != nil {
		return r, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

func parseMemory(b []byte) (r remembered, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return remembered{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return remembered{}, errors.New("more than one value")
	}
	if r.Version != memoryVersion {
		return remembered{}, fmt.Errorf("unknown version %d", r.Version)
	}
	for _, e := range r.Endpoints {
		if !e.Addr.IsValid() || e.Addr.Zone() != "" || e.Index < 0 {
			return remembered{}, fmt.Errorf("endpoint %d has address %q, interface %d", e.ID, e.Addr, e.Index)
		}
	}
	if s := r.Selected; s != nil {
		for _, pm := range []mptcp.PathManager{s.Before, s.Set} {
			if pm == "" || len(pm) > 64 || strings.ContainsFunc(string(pm), func(c rune) bool { return c <= ' ' || c > '~' }) {
				return remembered{}, fmt.Errorf("path manager %q", pm)
			}
		}
	}
	return r, nil
}

// note changes what is remembered. Call it before doing what the change says, so that a
// crash in between forgets nothing. A reader of the file sees either the old state or
// the new one.
func (m *memory) note(change func(*remembered)) {
	next := m.now
	next.Endpoints = append([]ownEndpoint(nil), m.now.Endpoints...)
	change(&next)
	if len(next.Endpoints) == 0 {
		next.Endpoints = nil
	}
	if reflect.DeepEqual(m.now, next) {
		return
	}
	m.now = next
	if m.path == "" {
		return
	}
	err := m.save()
	if err != nil && !m.failing {
		m.log.Warn("what is set up for MPTCP will stay in the kernel after a crash", "err", err)
	}
	m.failing = err != nil
}

func (m *memory) save() error {
	if m.now.empty() {
		if err := os.Remove(m.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return ownfile.Write(m.path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "\t")
		return e.Encode(m.now)
	})
}

// close releases the file. The entries stay in the file.
func (m *memory) close() error {
	if m.lock == nil {
		return nil
	}
	return m.lock.Close()
}
