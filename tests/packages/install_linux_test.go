package packages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/proxy"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// manager is a package manager.
type manager struct {
	suffix                          string
	install, upgrade, remove, purge []string
	own                             []string // what it keeps for itself
}

var managers = map[string]manager{
	"dpkg": {
		suffix:  ".deb",
		install: []string{"--install"}, upgrade: []string{"--install"}, remove: []string{"--remove"}, purge: []string{"--purge"},
		own: []string{"var/lib/dpkg/", "var/log/dpkg.log", "var/log/alternatives.log"},
	},
	"rpm": {
		suffix: ".rpm",
		// rpm does not know the other packages of this machine.
		install: []string{"--install", "--nodeps", "--force-debian"}, upgrade: []string{"--upgrade", "--replacepkgs", "--nodeps", "--force-debian"},
		remove: []string{"--erase", "--force-debian"},
		own:    []string{"var/lib/rpm/", "root/.rpmdb/"},
	},
}

var (
	units    = []string{"mamma.socket", "mamma-control.socket", "mamma.service", "muacsocksd.socket", "muacsocksd.service"}
	services = []string{"mamma.service", "muacsocksd.service"}
)

// The packages go through what an operator does in a year: install, start, ask, lose the
// daemon, upgrade, remove. In the end, only what must stay is left.
func TestInstalled(t *testing.T) {
	for name, pm := range managers {
		t.Run(name, func(t *testing.T) {
			needs(t, name)
			m := boot(t)
			packages := m.bring(pm.suffix)
			before := m.files(pm)
			m.run(name, append(pm.install, packages...)...)
			if out := m.run("systemd-analyze", append([]string{"verify", "--man=no", "mamma-compat.socket"}, units...)...); out != "" {
				t.Errorf("systemd says of the units:\n%s", out)
			}

			// The sockets are there first. A client that connects starts the services.
			m.run("systemctl", "enable", "--now", "mamma.socket", "mamma-control.socket", "muacsocksd.socket")
			for _, unit := range services {
				if state, _ := m.try("systemctl", "is-active", unit); state != "inactive\n" {
					t.Errorf("%s is %s", unit, state)
				}
			}
			if out := m.run("mammactl", "prefixes"); !strings.Contains(out, network+" *") {
				t.Errorf("prefixes:\n%s", out)
			}
			if out := m.run("mammactl", "explain", "198.51.100.7:443"); !strings.Contains(out, network+" on net0") {
				t.Errorf("explanation:\n%s", out)
			}
			m.play("fetch")
			// On a busy machine, the proxy may not wait for a decision.
			stage.Until(t, "a decision for the proxy", func() bool {
				m.play("ask")
				out := m.run("mammactl", "decisions")
				return strings.Contains(out, "muacsocksd[") && strings.Contains(out, "net0")
			})
			for unit, user := range map[string]string{"mamma.service": "mamma", "muacsocksd.service": "muacsocksd"} {
				m.confined(unit, user)
			}

			m.run("systemctl", "enable", "--now", "mamma.service", "muacsocksd.service")
			m.plugin()
			for _, unit := range services {
				m.run("systemctl", "reload", unit)
				if m.show(unit, "WatchdogUSec") != "0" {
					m.watched(unit)
				}
			}
			m.play("fetch")

			// An upgrade starts the new programs.
			old := m.show("mamma.service", "MainPID")
			m.run(name, append(pm.upgrade, packages...)...)
			if pid := m.show("mamma.service", "MainPID"); pid == old || pid == "0" {
				t.Errorf("after an upgrade, process %s, before %s", pid, old)
			}
			m.play("fetch")

			m.run(name, append(pm.remove, "mamma-policies", "mamma")...)
			if out := m.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "m*"); strings.Contains(out, "running") || strings.Contains(out, "listening") {
				t.Errorf("after removal:\n%s", out)
			}
			left := []string{"var/lib/mamma/", "var/lib/muacsocksd", "var/lib/private/muacsocksd/", "var/log/mamma/"}
			if pm.purge != nil {
				left = append(left, "etc/mamma/", "etc/mamma/mamma.conf", "etc/mamma/muacsocksd.conf")
				slices.Sort(left)
			}
			if now := m.files(pm); !slices.Equal(less(now, before), left) {
				t.Errorf("removal leaves %q, want %q", less(now, before), left)
			}
			if pm.purge != nil {
				m.run(name, append(pm.purge, "mamma")...)
				if now := m.files(pm); len(less(now, before)) > 0 {
					t.Errorf("the last is not gone: %q", less(now, before))
				}
			}
		})
	}
}

// bring copies the packages to the machine and returns their paths there.
func (m *machine) bring(suffix string) []string {
	m.t.Helper()
	var out []string
	for _, pattern := range []string{"packages/mamma?7*" + suffix, "packages/mamma-policies?7*" + suffix} {
		from := file(m.t, pattern)
		b, err := os.ReadFile(from) //nolint:gosec // ours
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, "/packages/"+filepath.Base(from))
		m.write(out[len(out)-1], string(b))
	}
	return out
}

// files lists the files and folders of the machine, folders with a slash at the end. It
// leaves out what package manager and systemd keep for themselves, and folders below /usr.
func (m *machine) files(pm manager) []string {
	m.t.Helper()
	own := append([]string{
		"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/.pwd.lock", "etc/subuid", "etc/subgid",
		"packages/", "var/lib/systemd/", "var/log/units.log", "var/tmp/",
	}, pm.own...)
	var out []string
	for _, top := range []string{upper, "etc", "var", "root", "run/mamma", "tmp/muacc"} {
		err := filepath.WalkDir(m.path(top), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(path, m.path("/")+"/")
			if d.IsDir() {
				name += "/"
			}
			if d.IsDir() && top == upper || slices.Contains([]string{"var/lib/private/", "var/log/private/", "var/cache/private/"}, name) ||
				slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				return nil
			}
			out = append(out, name)
			return nil
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

// less returns what only the first list has.
func less(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(others, s) })
}

// confined checks that the unit's process runs as user, and without capabilities.
func (m *machine) confined(unit, user string) {
	m.t.Helper()
	pid := m.show(unit, "MainPID")
	status := m.run("cat", "/proc/"+pid+"/status")
	uid := strings.TrimSpace(m.run("id", "-u", user))
	for _, want := range []string{
		`(?m)^Uid:\s` + uid + `\s` + uid + `\s`,
		`(?m)^CapEff:\s0+$`, `(?m)^CapPrm:\s0+$`, `(?m)^CapBnd:\s0+$`, `(?m)^CapAmb:\s0+$`,
		`(?m)^NoNewPrivs:\s1$`, `(?m)^Seccomp:\s2$`,
	} {
		if !regexp.MustCompile(want).MatchString(status) {
			m.t.Errorf("%s: %s is not in\n%s", unit, want, status)
		}
	}
	if uid == "0" {
		m.t.Errorf("%s runs as root", unit)
	}
}

// plugin makes the service run with a policy of the other package. Plugins that were
// built without symbols fit, and the unit permits loading them.
func (m *machine) plugin() {
	m.t.Helper()
	const conf = "etc/mamma/mamma.conf"
	shipped, err := os.ReadFile(m.path(conf))
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(conf, "auto = true\npolicy \"/usr/lib/mam-policies/sample.so\" {\n}\n")
	m.run("systemctl", "restart", "mamma.service")
	if out := m.run("mammactl", "status"); !strings.Contains(out, "sample") {
		m.t.Errorf("status:\n%s", out)
	}
	m.write(conf, string(shipped))
	m.run("systemctl", "restart", "mamma.service")
}

// watched checks that a service which hangs is restarted.
func (m *machine) watched(unit string) {
	m.t.Helper()
	m.write("/run/systemd/system/"+unit+".d/soon.conf", "[Service]\nWatchdogSec=5s\nTimeoutStopSec=1s\nTimeoutAbortSec=1s\n")
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "restart", unit)
	pid := m.show(unit, "MainPID")
	m.run("kill", "-STOP", pid)
	stage.Until(m.t, unit+" is started anew", func() bool {
		now := m.show(unit, "MainPID")
		return now != "0" && now != pid && m.show(unit, "ActiveState") == "active"
	})
	if err := os.RemoveAll(m.path("/run/systemd/system/" + unit + ".d")); err != nil {
		m.t.Fatal(err)
	}
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "restart", unit)
}

// play runs a role of this program in the network of the machine.
func (m *machine) play(role string) {
	m.t.Helper()
	cmd := exec.Command("nsenter", "--target", m.pid, "--net", "--", "/proc/"+strconv.Itoa(os.Getpid())+"/exe") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("through the proxy: %v\n%s\n%s", err, out, m.report())
	}
}

// throughProxy opens a connection as users of the proxy do, with an intent.
func throughProxy(address string) (net.Conn, error) {
	dialer, err := proxy.SOCKS5("tcp", "127.0.0.1:9050", &proxy.Auth{User: "category=query", Password: "x"}, proxy.Direct)
	if err != nil {
		return nil, err
	}
	return dialer.Dial("tcp", address)
}

// fetch serves one connection on the machine, and opens it.
func fetch() error {
	l, err := net.Listen("tcp", "192.0.2.2:0")
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello\n")
			_ = c.Close()
		}
	}()
	c, err := throughProxy(l.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
		return fmt.Errorf("got %q: %w", line, err)
	}
	return nil
}

// ask opens a connection to a destination for which a network must be chosen. Nobody is
// there, and the kernel takes three seconds to find that out.
func ask() error {
	c, err := throughProxy("198.51.100.7:443")
	if err == nil {
		return errors.Join(errors.New("somebody answers"), c.Close())
	}
	return nil
}
