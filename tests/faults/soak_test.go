package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// soakEnv says how long to soak, such as "10m".
const soakEnv = "MAMMA_SOAK"

// Under mixed load for as long as asked, memory, descriptors and threads of the
// daemon stay what they were, and so does what it knows of clients.
func TestSoak(t *testing.T) {
	if os.Getenv(soakEnv) == "" {
		t.Skipf("needs %s, for instance %s=10m", soakEnv, soakEnv)
	}
	length, err := time.ParseDuration(os.Getenv(soakEnv))
	if err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	conf := write(t, filepath.Join(logs, "policy.conf"), loopbackConf+
		"decisions {\n  record = \""+filepath.Join(logs, "decisions.jsonl")+"\"\n  record_max = \"1MB\"\n}\n")
	d := start(t, options{}, conf)
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stopDials := inLoop(2, load.dial)
	stopOthers := inLoop(1, func() error { return served(d.socket) })
	stopAttacks := inLoop(1, func() error {
		for _, a := range attacks {
			if a.name == "questions without reading" {
				continue
			}
			l, err := open(d.socket)
			if err != nil {
				return err
			}
			err = a.do(l)
			_ = l.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		return nil
	})
	reload := time.NewTicker(time.Second)
	defer reload.Stop()
	end := time.After(length)
	warm := time.After(length / 5)
	var before, most usage
	for soaking := true; soaking; {
		select {
		case <-reload.C:
			d.Signal(t, syscall.SIGHUP)
			now := d.usage(t)
			most = usage{max(most.memory, now.memory), max(most.files, now.files), max(most.threads, now.threads)}
		case <-warm:
			before, most = most, usage{}
			t.Logf("after %v: %v", length/5, before)
		case <-end:
			soaking = false
		}
	}
	if err := stopDials(); err != nil {
		t.Error(err)
	}
	if err := stopOthers(); err != nil {
		t.Error(err)
	}
	if err := stopAttacks(); err != nil {
		t.Error(err)
	}
	t.Logf("%d dials by the manager's decision, %d without; at most %v", load.chosen.Load(), load.plain.Load(), most)
	// What a garbage collector's pace and a busy moment explain.
	if most.memory > before.memory*3/2+16<<20 || most.files > before.files+16 || most.threads > before.threads+8 {
		t.Errorf("grew from %v to %v", before, most)
	}
	// Once nobody asks any more, only what a daemon at rest has is left.
	var goroutines string
	stage.Until(t, "the daemon is at rest", func() bool {
		goroutines = metric(t, d, "go_goroutines")
		return d.usage(t).files < 64 && len(goroutines) < 3
	})
	t.Logf("at rest: %v, %s goroutines", d.usage(t), goroutines)
}

// usage is what a process takes.
type usage struct{ memory, files, threads int64 }

func (u usage) String() string {
	return fmt.Sprintf("%d MB, %d files, %d threads", u.memory>>20, u.files, u.threads)
}

func (d *daemon) usage(t *testing.T) usage {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return usage{d.memory(t), int64(len(files)), d.status(t, "Threads")}
}

// metric is a metric of the daemon, as text.
func metric(t *testing.T, d *daemon, name string) string {
	t.Helper()
	c, err := open(filepath.Join(d.dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(stage.Patience))
	send(c, []byte("GET /metrics HTTP/1.0\r\n\r\n"))
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	for l := range strings.Lines(b.String()) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == name {
			return f[1]
		}
	}
	t.Fatalf("no metric %s", name)
	return ""
}
