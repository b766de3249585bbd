// Package units tests what is installed beside the programs: the systemd units, which must
// be as restricted as they are said to be, also where no systemd can be asked; the script
// that ends an installation; and the versions by which packages are sorted.
package units

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settings are the settings of one section of a unit, in the order of the file.
type settings map[string][]string

// parse reads a unit, strictly (systemd.syntax(7)); continuation lines and quotes
// are not used here.
func parse(t *testing.T, name string) map[string]settings {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	unit := map[string]settings{}
	var section settings
	n := 0
	for l := range strings.Lines(string(b)) {
		n++
		l = strings.TrimSpace(l)
		switch {
		case l == "" || l[0] == '#':
		case l[0] == '[' && l[len(l)-1] == ']':
			section = settings{}
			unit[l[1:len(l)-1]] = section
		default:
			key, value, ok := strings.Cut(l, "=")
			if !ok || section == nil || strings.TrimSpace(key) != key {
				t.Fatalf("%s:%d: %q is not a setting", name, n, l)
			}
			section[key] = append(section[key], value)
		}
	}
	return unit
}

// hardening lists the settings that every service must have.
var hardening = map[string]string{
	"AmbientCapabilities":     "",
	"CapabilityBoundingSet":   "",
	"DevicePolicy":            "closed",
	"KeyringMode":             "private",
	"LockPersonality":         "yes",
	"MemoryDenyWriteExecute":  "yes",
	"NoNewPrivileges":         "yes",
	"PrivateDevices":          "yes",
	"PrivateIPC":              "yes",
	"PrivateTmp":              "yes",
	"ProtectClock":            "yes",
	"ProtectControlGroups":    "yes",
	"ProtectHome":             "yes",
	"ProtectHostname":         "yes",
	"ProtectKernelLogs":       "yes",
	"ProtectKernelModules":    "yes",
	"ProtectKernelTunables":   "yes",
	"ProtectSystem":           "strict",
	"RemoveIPC":               "yes",
	"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
	"RestrictNamespaces":      "yes",
	"RestrictRealtime":        "yes",
	"RestrictSUIDSGID":        "yes",
	"SystemCallArchitectures": "native",
	"SystemCallErrorNumber":   "EPERM",
	"SystemCallFilter":        "@system-service,~@privileged @resources",
	"Type":                    "notify",
	"Restart":                 "always",
}

func TestServices(t *testing.T) {
	for name, user := range map[string]string{"mamma.service": "mamma", "muacsocksd.service": "muacsocksd"} {
		t.Run(name, func(t *testing.T) {
			s := parse(t, name)["Service"]
			for key, want := range hardening {
				if got, ok := s[key]; !ok || strings.Join(got, ",") != want {
					t.Errorf("%s is %q (%v), want %q", key, got, ok, want)
				}
			}
			if got := strings.Join(s["User"], ","); got != user {
				t.Errorf("runs as %q", got)
			}
			for _, key := range []string{"LimitNOFILE", "TasksMax", "MemoryMax", "StateDirectory", "UMask"} {
				if len(s[key]) != 1 {
					t.Errorf("%s is %q", key, s[key])
				}
			}
			if len(s["ExecStart"]) != 1 || !strings.HasPrefix(s["ExecStart"][0], "/usr/bin/"+strings.TrimSuffix(name, ".service")+" ") {
				t.Errorf("starts %q", s["ExecStart"])
			}
		})
	}
	s := parse(t, "mamma.service")["Service"]
	for _, key := range []string{"WatchdogSec", "RuntimeDirectory", "RuntimeDirectoryPreserve", "LogsDirectory"} {
		if len(s[key]) != 1 {
			t.Errorf("mamma.service: %s is %q", key, s[key])
		}
	}
}

// The daemon and its clients depend on these names and modes.
func TestSockets(t *testing.T) {
	for _, tt := range []struct{ unit, path, name, mode string }{
		{"mamma.socket", "/run/mamma/mamma.sock", "request", "0666"},
		{"mamma-control.socket", "/run/mamma/control.sock", "control", "0660"},
		{"mamma-compat.socket", "/tmp/muacc", "compat", "0666"},
	} {
		s := parse(t, tt.unit)["Socket"]
		for key, want := range map[string]string{"ListenStream": tt.path, "FileDescriptorName": tt.name, "SocketMode": tt.mode, "Service": "mamma.service"} {
			if got := strings.Join(s[key], ","); got != want {
				t.Errorf("%s: %s is %q, want %q", tt.unit, key, got, want)
			}
		}
	}
	for _, address := range parse(t, "muacsocksd.socket")["Socket"]["ListenStream"] {
		if !slices.Contains([]string{"127.0.0.1:9050", "[::1]:9050"}, address) {
			t.Errorf("muacsocksd.socket opens %s to the network", address)
		}
	}
}

// Settings that give rights back are commented out. An operator may uncomment them.
func TestManagedGivesNothingByItself(t *testing.T) {
	if unit := parse(t, "managed.conf"); len(unit) != 1 || len(unit["Service"]) != 0 {
		t.Errorf("managed.conf sets %v", unit)
	}
}

// The drop-in for scopes gives three capabilities and two system calls, and nothing else:
// bpf(2), and capset(2), by which mamma gives up what only loading needs.
func TestScopesDropIn(t *testing.T) {
	unit := parse(t, "scopes.conf")
	want := settings{"CapabilityBoundingSet": {"CAP_BPF CAP_PERFMON CAP_NET_ADMIN"}, "AmbientCapabilities": {"CAP_BPF CAP_PERFMON CAP_NET_ADMIN"}, "SystemCallFilter": {"bpf capset"}}
	if len(unit) != 1 || !maps.EqualFunc(unit["Service"], want, slices.Equal) {
		t.Errorf("scopes.conf sets %v, want %v", unit, want)
	}
}

// If systemd is installed, it is asked for its own mark of exposure, from 0 to 10.
func TestExposure(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("needs systemd-analyze: %v", err)
	}
	if out, err := exec.Command(tool, "security", "--help").CombinedOutput(); err != nil || !strings.Contains(string(out), "--offline") {
		t.Skip("needs systemd-analyze security --offline, of systemd 250")
	}
	for _, unit := range []string{"mamma.service", "muacsocksd.service", withDropIn(t, "mamma.service", "scopes.conf")} {
		// The threshold is in tenths.
		if out, err := exec.Command(tool, "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil { //nolint:gosec // our own names
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// withDropIn returns the path of a unit that has the settings of a drop-in, too.
func withDropIn(t *testing.T, unit, dropIn string) string {
	t.Helper()
	var text []byte
	for _, name := range []string{unit, dropIn} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, b...), '\n')
	}
	path := filepath.Join(t.TempDir(), unit)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
