package clientapi

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lteIsDefault prefers another network than the host's routes do.
const lteIsDefault = `policy "sample" {}
prefix "192.168.0.0/24" {}
prefix "10.64.0.0/10" { default = true }
`

// The original's test programs work with the sample policy, and without a daemon.
func TestOriginalPrograms(t *testing.T) {
	bed := twoNetworks(t, false)
	d := startDaemon(t, bed, lteIsDefault)
	none := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		name, program string
		socket        string
		args          []string
		status        int
		want          string
		times         int // that want is printed
	}{
		{"sequential", "socketconnecttest", d.Socket, []string{"-v", "-p", "0", "-F", "1024", "-u", "http://192.0.2.1:80"}, 0, "from 10.64.3.9:", 4},
		{"threads", "socketconnecttest", d.Socket, []string{"-v", "-u", "http://192.0.2.1:80"}, 0, "from 10.64.3.9:", 17},
		{"always new", "socketconnecttest", d.Socket, []string{"-v", "-p", "0", "--clearsocket", "-u", "http://192.0.2.1:80"}, 0, "used before: false, asked: true", 4},
		{"without daemon", "socketconnecttest", none, []string{"-v", "-p", "0", "-u", "http://192.0.2.1:80"}, 0, "from 192.168.0.23:", 4},
		{"refused", "socketconnecttest", d.Socket, []string{"-p", "0", "-u", "http://192.0.2.1:1"}, 1, "FAILED - exiting", 1},
		{"connect", "policytest", d.Socket, []string{"-a", "192.0.2.1", "-C", "STREAM"}, 0, "suggested            10.64.3.9:0", 1},
		{"without daemon", "policytest", none, []string{"-a", "192.0.2.1"}, 0, "suggested            -", 2},
		{"refused", "policytest", d.Socket, []string{"-a", "192.0.2.1", "-p", "1"}, 1, "connection refused", 1},
	} {
		t.Run(tt.program+" "+tt.name, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(bin, tt.program), append(tt.args, "--socket", tt.socket)...)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			err := bed.Client.Run(cmd)
			if status := cmd.ProcessState.ExitCode(); status != tt.status {
				t.Errorf("status %d (%v), want %d", status, err, tt.status)
			}
			if n := strings.Count(out.String(), tt.want); n != tt.times {
				t.Errorf("%q is printed %d times, want %d:\n%s", tt.want, n, tt.times, &out)
			}
		})
	}
}
