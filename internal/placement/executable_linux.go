package placement

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// Program is the running executable, from which Run starts further processes.
type Program struct {
	Name    string // by which it was called
	Version string
}

// supervisorName is an executable with nothing in it but what a supervisor needs. Beside
// the calling program, which can do much more, it takes half of the memory and starts
// faster. Nothing else differs, and where it is missing the calling program takes its place.
const supervisorName = "mammactl-run"

// supervisorPlaces are the folders where it is looked for, seen from that of the
// calling program: where it was built, and where it was installed.
var supervisorPlaces = []string{".", "../libexec/mamma"}

// openSupervisor opens the executable of its own for supervisors; nil if there is none
// that may be started.
func openSupervisor() *os.File {
	own, err := os.Executable()
	if err != nil {
		return nil
	}
	for _, place := range supervisorPlaces {
		f, err := openTrusted(own, place)
		if err == nil {
			return f
		}
	}
	return nil
}

// openTrusted opens the executable for supervisors in a folder, seen from that of the calling
// program own, if only root, this process's user and those who could change the calling program
// can have written it and put it there. In a folder like /tmp everybody can put a file beside
// another one, and give a second name to a file of somebody else (link(2)).
func openTrusted(own, place string) (*os.File, error) {
	info, err := os.Stat(own)
	if err != nil {
		return nil, err
	}
	home := filepath.Dir(own)
	path := filepath.Join(home, place, supervisorName)
	// Who can change a folder above the calling program could change that, too.
	for dir := filepath.Dir(path); !leadsThrough(own, dir); dir = filepath.Dir(dir) {
		if d, err := os.Lstat(dir); err != nil || !d.IsDir() || !trusted(d, info) {
			return nil, fmt.Errorf("%s: %w", dir, fs.ErrPermission)
		}
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	file, err := f.Stat()
	if err != nil || !file.Mode().IsRegular() || !trusted(file, info) || linked(file) && shared(filepath.Dir(path)) {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", path, fs.ErrPermission)
	}
	return f, nil
}

// leadsThrough tells whether a path leads through a folder.
func leadsThrough(path, dir string) bool {
	rest, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rest)
}

// trusted tells whether only root, this process's user and those who could change the calling
// program, which own is about, can change a file or folder.
func trusted(info, own fs.FileInfo) bool {
	st, ok1 := info.Sys().(*syscall.Stat_t)
	ours, ok2 := own.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 {
		return false
	}
	writers := info.Mode().Perm() & (groupWrites | othersWrite)
	return (userid.Trusted(st.Uid) || st.Uid == ours.Uid && userid.Known(st.Uid)) && writers&^own.Mode().Perm() == 0 &&
		(writers&groupWrites == 0 || st.Gid == ours.Gid && userid.KnownGroup(st.Gid))
}

const groupWrites, othersWrite = 0o020, 0o002

// linked tells whether a file has further names.
func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 1
}

// shared tells whether others than the owner of a folder may put files there.
func shared(dir string) bool {
	info, err := os.Stat(dir)
	return err != nil || info.Mode().Perm()&(groupWrites|othersWrite) != 0
}

// greeting is the first that a supervisor says. Its version is that of its executable.
type greeting struct{ Version string }

// startSupervisor starts a supervisor, and returns the channel to it. The executable of
// its own has to be of the same version: the two may have been installed at different times.
func startSupervisor(self Program) (*channel, error) {
	if f := openSupervisor(); f != nil {
		c, err := startAs(self, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())))
		_ = f.Close()
		if err == nil {
			return c, nil
		}
	}
	return startAs(self, "/proc/self/exe")
}

func startAs(self Program, executable string) (*channel, error) {
	own, other, err := socketPair()
	if err != nil {
		return nil, err
	}
	p, err := os.StartProcess(executable, []string{self.Name, superviseName, strconv.Itoa(int(other.Fd()))}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	_ = other.Close()
	if err != nil {
		_ = own.Close()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	c := newChannel(own)
	var g greeting
	if err = c.dec.Decode(&g); err == nil && g.Version != self.Version {
		err = fmt.Errorf("it is of version %q", g.Version)
	}
	if err != nil {
		_ = own.Close() // it waits for the plan, and ends without one
		_, _ = p.Wait()
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	_ = p.Release() // its end is seen by that of the channel
	return c, nil
}
