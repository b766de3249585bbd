package muacsocksd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

const groupMemory = 64 << 20

// memoryGroup makes a control group with this much memory, of version 2 or 1, below the
// group of this process (cgroups(7)). It is removed when the test ends.
func memoryGroup(t *testing.T, limit int) (procs string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("needs control groups: %v", err)
	}
	var failed error
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if f[1] != "" {
			if !strings.Contains(","+f[1]+",", ",memory,") {
				continue
			}
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		dir := filepath.Join(root, f[2], fmt.Sprintf("mamma-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // as the kernel has it
			failed = errors.Join(failed, err)
			continue
		}
		t.Cleanup(func() {
			stage.Until(t, "the control group is empty", func() bool { err := os.Remove(dir); return err == nil || errors.Is(err, fs.ErrNotExist) })
		})
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		return filepath.Join(dir, "cgroup.procs")
	}
	t.Skipf("needs a control group with a memory limit of its own (root, and the memory controller): %v", failed)
	return ""
}

// In a small control group, the proxy takes as many connections as it has memory for,
// refuses others, and is not killed.
func TestSmallControlGroup(t *testing.T) {
	procs := memoryGroup(t, groupMemory)
	dest := serveBack(t, 16<<10)
	cmd := exec.Command("sh", "-c", `echo $$ > "$0" && exec "$@"`, procs, filepath.Join(bin, "muacsocksd"),
		"--listen", "127.0.0.1:0", "--socket", filepath.Join(t.TempDir(), "none"), "--config", quiet(t))
	p := stage.Launch(t, nil, cmd)
	p.Log.Await(t, "msg=listening", 1)
	proxy := regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(p.Log.String())[1]
	said := regexp.MustCompile(`allow fewer connections than configured" connections=(\d+)`).FindStringSubmatch(p.Log.String())
	if said == nil {
		t.Fatalf("the limit of memory is not seen:\n%s", p.Log)
	}
	most, _ := strconv.Atoi(said[1])
	var conns []net.Conn
	for range most + 500 { // more than it takes
		if c, err := connect(proxy, dest); err == nil {
			t.Cleanup(func() { _ = c.Close() })
			conns = append(conns, c)
		}
	}
	t.Logf("%d of %d connections are served; the limit is %d", len(conns), most+500, most)
	if len(conns) < most-1 || len(conns) > most {
		t.Errorf("%d connections are served, want %d", len(conns), most)
	}
	// All of them transfer data at the same time.
	results := make(chan error, len(conns))
	block := make([]byte, 16<<10)
	for _, c := range conns {
		go func() {
			_ = c.SetDeadline(time.Now().Add(4 * patience))
			go func() { _, _ = c.Write(block) }()
			_, err := io.ReadFull(c, make([]byte, len(block)))
			results <- err
		}()
	}
	for range conns {
		if err := <-results; err != nil {
			t.Fatalf("%v\n%s", err, p.Log)
		}
	}
}
