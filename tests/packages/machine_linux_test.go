package packages

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The test binary plays other parts in processes of its own.
const (
	roleEnv = "MAMMA_PACKAGES_ROLE"
	rootEnv = "MAMMA_PACKAGES_ROOT" // an empty folder to make the machine in
)

var roles = map[string]func() error{"init": becomeInit, "tidy": tidy, "fetch": fetch, "ask": ask}

const (
	network = "192.0.2.0/24" // the machine's own, which it has the second address of
	upper   = ".upper"       // where what it changes below /usr is kept
)

// machine is a fresh host in namespaces of its own. It has the programs and libraries of
// this host and nothing else of it, and systemd with only the most basic units.
type machine struct {
	t   *testing.T
	pid string // of its first process
}

// systemd lists the paths where systemd may be.
var systemd = []string{"/lib/systemd/systemd", "/usr/lib/systemd/systemd"}

// boot starts a machine that stops when the test ends.
func boot(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "root: a machine has more than one user")
	}
	needs(t, "nsenter", "systemctl")
	root := t.TempDir()
	self := func(role string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleEnv+"="+role, rootEnv+"="+root)
		return cmd
	}
	said, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // whose end would be taken for that of this process
	cmd := self("init")
	cmd.ExtraFiles = []*os.File{say}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		lacking(t, "namespaces: %v", err)
	}
	_ = say.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all others
		_ = cmd.Wait()
		runtime.UnlockOSThread()
		tidier := self("tidy")
		tidier.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		if out, err := tidier.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	if problem, err := io.ReadAll(said); err != nil || len(problem) > 0 {
		lacking(t, "a kernel that lets a machine be made: %s, %v", problem, err)
	}
	m := &machine{t: t, pid: strconv.Itoa(cmd.Process.Pid)}
	stage.Until(t, "systemd is up", func() bool {
		state, _ := m.try("systemctl", "is-system-running")
		return strings.TrimSpace(state) == "running"
	})
	return m
}

// path returns the path of a file of the machine as seen from here.
func (m *machine) path(name string) string { return filepath.Join("/proc", m.pid, "root", name) }

// try runs a command on the machine. In the folder /, every file is the machine's.
func (m *machine) try(name string, args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"--target", m.pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--", name}, args...)...) //nolint:gosec // our own
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER="}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try, and fails the test if the command fails.
func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := m.try(name, args...)
	if err != nil {
		m.t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, m.report())
	}
	return out
}

// report returns the state of the units and their output, for the message of a failure.
func (m *machine) report() string {
	state, _ := m.try("systemctl", append([]string{"status"}, services...)...)
	said, _ := os.ReadFile(m.path("var/log/units.log"))
	return state + "\nThe units said:\n" + string(said)
}

// show returns a property of a unit.
func (m *machine) show(unit, property string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "--property", property, unit))
}

// write writes a file of the machine.
func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := errors.Join(os.MkdirAll(m.path(filepath.Dir(name)), 0o755), os.WriteFile(m.path(name), []byte(text), 0o644)); err != nil { //nolint:gosec // as on any machine
		m.t.Fatal(err)
	}
}

// becomeInit makes the machine around this process, which is the first one in its
// namespaces, and becomes systemd. If that is not possible, it writes the reason to
// descriptor 3.
func becomeInit() error {
	unix.CloseOnExec(3)
	said := os.NewFile(3, "")
	runtime.LockOSThread()
	err := makeMachine(os.Getenv(rootEnv))
	if err == nil {
		err = os.ErrNotExist
		for _, path := range systemd {
			if _, missing := os.Stat(path); missing == nil {
				err = unix.Exec(path, []string{path, "--system", "--log-target=null"}, []string{"container=mamma-test", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
			}
		}
		err = fmt.Errorf("start systemd: %w", err)
	}
	_, _ = fmt.Fprint(said, err)
	return err
}

// mount is one of the mounts that a machine needs.
type mount struct{ source, target, kind, data string }

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil { //nolint:gosec // as on any machine
		return err
	}
	if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
	}
	return nil
}

// makeMachine lays out a root in the empty folder dir and moves there.
func makeMachine(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := (mount{"tmpfs", dir, "tmpfs", "mode=755"}).do(); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := enterGroup(filepath.Base(filepath.Dir(dir))); err != nil {
		return err
	}
	for _, name := range []string{upper, ".work", "etc", "var/log", "var/lib", "root", "packages"} {
		if err := os.MkdirAll(name, 0o755); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	for _, m := range []mount{
		{"overlay", "usr", "overlay", "lowerdir=/usr,upperdir=" + upper + ",workdir=.work"},
		{"proc", "proc", "proc", ""},
		{"sysfs", "sys", "sysfs", ""},
		{"cgroup2", "sys/fs/cgroup", "cgroup2", ""},
		{"tmpfs", "dev", "tmpfs", "mode=755"},
		{"devpts", "dev/pts", "devpts", "newinstance"},
		{"tmpfs", "dev/shm", "tmpfs", "mode=1777"},
		{"tmpfs", "run", "tmpfs", "mode=755"},
		{"tmpfs", "tmp", "tmpfs", "mode=1777"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	// The machine may not change settings of the whole kernel.
	if err := errors.Join(unix.Mount("proc/sys", "proc/sys", "", unix.MS_BIND, ""),
		unix.Mount("", "proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		return fmt.Errorf("protect /proc/sys: %w", err)
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64"} {
		to, err := os.Readlink("/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, os.Symlink(to, name)); err != nil {
			return fmt.Errorf("a link from /%s to /usr: %w", name, err)
		}
	}
	if err := makeFiles(); err != nil {
		return err
	}
	if err := makeNetwork(); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return errors.Join(unix.Unmount(".", unix.MNT_DETACH), os.Chdir("/"))
}

// makeFiles makes devices and the few files that systemd, dpkg and the linker need, and
// removes the units of this host.
func makeFiles() error {
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		path := "dev/" + name
		if err := errors.Join(unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))), os.Chmod(path, 0o666)); err != nil { //nolint:gosec // as on any machine
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	if err := os.Symlink("pts/ptmx", "dev/ptmx"); err != nil { // or PrivateDevices= fails
		return err
	}
	for _, name := range []string{"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives"} {
		_ = exec.Command("cp", "-a", "/etc/"+name, "etc/").Run() //nolint:gosec // not every host has them
	}
	if err := errors.Join(os.RemoveAll("usr/lib/systemd/system"), os.RemoveAll("usr/lib/systemd/system-generators")); err != nil {
		return err
	}
	files := map[string]string{
		"etc/machine-id":      "0123456789abcdef0123456789abcdef\n",
		"etc/passwd":          "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
		"etc/group":           "root:x:0:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf":   "passwd: files systemd\ngroup: files systemd\nhosts: files dns\n",
		"etc/hosts":           "127.0.0.1 localhost\n",
		"var/lib/dpkg/status": "Package: libc6\nStatus: install ok installed\nArchitecture: " + runtime.GOARCH + "\nMaintainer: nobody\nDescription: the host's\nVersion: 2.34\n",
		// The output of the units goes to a file, because there is no journal. The test
		// starts units more often than an operator does.
		"etc/systemd/system/service.d/test.conf": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nStandardOutput=append:/var/log/units.log\nStandardError=append:/var/log/units.log\n",
	}
	for _, unit := range []string{"basic", "default", "multi-user", "network-pre", "shutdown", "sockets", "sysinit", "umount"} {
		files["usr/lib/systemd/system/"+unit+".target"] = "[Unit]\nDescription=" + unit + "\nDefaultDependencies=no\n"
	}
	files["usr/lib/systemd/system/exit.target"] = "[Unit]\nDefaultDependencies=no\n"
	for name, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm"} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	return nil
}

// makeNetwork gives the machine one network with a default route.
func makeNetwork() error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "net0"}, PeerName: "peer0"}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make a pair of links: %w", err)
	}
	for _, name := range []string{"lo", "peer0", "net0"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name != "net0" {
			continue
		}
		address, err := netlink.ParseAddr("192.0.2.2/24")
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(192, 0, 2, 1)}
		if err := errors.Join(netlink.AddrAdd(link, address), netlink.RouteAdd(route)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// enterGroup makes a control group, enters it, and makes it the root of all groups that the
// machine sees.
func enterGroup(name string) error {
	group := filepath.Join("groups", name)
	if err := (mount{"cgroup2", "groups", "cgroup2", ""}).do(); err != nil {
		return err
	}
	if err := os.Mkdir(group, 0o755); err != nil { //nolint:gosec // as all are
		return fmt.Errorf("make a control group: %w", err)
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter a control group: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a namespace of control groups: %w", err)
	}
	return errors.Join(unix.Unmount("groups", 0), os.Remove("groups"))
}

// tidy removes the control groups of a machine that has ended.
func tidy() error {
	dir := os.Getenv(rootEnv)
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), mount{"cgroup2", dir, "cgroup2", ""}.do()); err != nil {
		return err
	}
	return removeGroup(filepath.Join(dir, filepath.Base(filepath.Dir(dir))))
}

func removeGroup(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(path)
}
