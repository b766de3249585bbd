package daemon

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// SocketPath is where the request socket goes: what the flag says, else the
// configuration, else mamma.sock in RuntimeDir.
func SocketPath(flag, configured string) string {
	return cmp.Or(flag, configured, filepath.Join(RuntimeDir(), "mamma.sock"))
}

// ControlPath is where the control socket goes: what the flag says, else the
// configuration, else control.sock beside the request socket.
func ControlPath(flag, configured, socket string) string {
	return cmp.Or(flag, configured, filepath.Join(filepath.Dir(socket), "control.sock"))
}

// RuntimeDir is the directory of the sockets: the one that systemd made for the
// service, /run/mamma for root, else one in the user's own runtime directory,
// or, where there is none, below the temporary directory.
func RuntimeDir() string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.SplitList(dir)[0]
	}
	if os.Geteuid() == 0 {
		return "/run/mamma"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "mamma")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("mamma-%d", os.Geteuid()))
}

// StateDir is where what must survive a restart is kept: what the configuration
// says, else the directory that systemd made for the service, /var/lib/mamma for
// root, else one in the user's own state directory.
func StateDir(configured string) string {
	if configured != "" {
		return configured
	}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return filepath.SplitList(dir)[0]
	}
	if os.Geteuid() == 0 {
		return "/var/lib/mamma"
	}
	home, _ := os.UserHomeDir() // "": relative to where it was started
	return filepath.Join(cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state")), "mamma")
}

// budgetPath is the file that the budgets' counts are kept in.
func budgetPath(stateDir string) string { return filepath.Join(stateDir, "budget.json") }
