package daemon

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
)

// SocketPath returns the path of the request socket: that of the flag, else of the
// configuration, else mamma.sock in RuntimeDir.
func SocketPath(flag, configured string) string {
	return cmp.Or(flag, configured, filepath.Join(RuntimeDir(), "mamma.sock"))
}

// ControlPath returns the path of the control socket: that of the flag, else of the
// configuration, else control.sock beside the request socket.
func ControlPath(flag, configured, socket string) string {
	return cmp.Or(flag, configured, filepath.Join(filepath.Dir(socket), "control.sock"))
}

// RuntimeDir returns the directory for the sockets. It is the one that systemd made for
// the service, or /run/mamma for root, or else one in the user's runtime directory or,
// without that, in the temporary directory.
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

// StateDir returns the directory for files that must survive a restart. It is the
// configured one, else the one that systemd made for the service, or /var/lib/mamma for
// root, or else one in the user's state directory.
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
	home, _ := os.UserHomeDir() // if "", the path is relative to the working directory
	return filepath.Join(cmp.Or(os.Getenv("XDG_STATE_HOME"), filepath.Join(home, ".local", "state")), "mamma")
}

// budgetPath returns the path of the file with the budgets' counts.
func budgetPath(stateDir string) string { return filepath.Join(stateDir, "budget.json") }
