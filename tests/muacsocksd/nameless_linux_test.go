package muacsocksd

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// Clients that offer a name without having one work without any setting. So do clients that
// have a name.
func TestClientsWithoutNames(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	dir := t.TempDir()
	p := stage.Launch(t, bed.Client, exec.Command(filepath.Join(bin, "muacsocksd"), "--listen", listen, "--socket", filepath.Join(dir, "none")))
	p.Log.Await(t, "msg=listening", 1)
	conf := filepath.Join(dir, "tsocks.conf")
	if err := os.WriteFile(conf, []byte("local = 127.0.0.0/255.0.0.0\nserver = 127.0.0.1\nserver_type = 5\nserver_port = 9050\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(dir, "named.conf")
	if err := os.WriteFile(named, []byte("local = 127.0.0.0/255.0.0.0\nserver = 127.0.0.1\nserver_type = 5\nserver_port = 9050\ndefault_user = category=query\ndefault_pass = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%v/bytes/1000", testbed.ServiceAddr4)
	for _, tt := range []struct {
		name, stdin string
		env         []string
		command     []string
		asked       bool // for a name
	}{
		{name: "tsocks", command: []string{"tsocks", "curl", "-sS", "--fail", url}},
		{name: "connect-proxy", stdin: "GET /bytes/1000 HTTP/1.0\r\n\r\n", command: []string{"connect-proxy", "-S", listen, testbed.ServiceAddr4.String(), "80"}},
		{name: "connect-proxy with a name", env: []string{"SOCKS5_PASSWORD=x"}, stdin: "GET /bytes/1000 HTTP/1.0\r\n\r\n", asked: true,
			command: []string{"connect-proxy", "-S", "category=query@" + listen, testbed.ServiceAddr4.String(), "80"}},
		{name: "tsocks with a name in its file", env: []string{"TSOCKS_CONF_FILE=" + named}, asked: true, command: []string{"tsocks", "curl", "-sS", "--fail", url}},
		{name: "tsocks with a name", env: []string{"TSOCKS_USERNAME=category=query", "TSOCKS_PASSWORD=x"}, asked: true, command: []string{"tsocks", "curl", "-sS", "--fail", url}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := exec.LookPath(tt.command[0])
			if err != nil {
				t.Skipf("needs %s to be installed", tt.command[0])
			}
			before := strings.Count(p.Log.String(), "category=query")
			cmd := exec.Command(path, tt.command[1:]...)
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.Contains(strings.ToLower(e), "_proxy=") }), "TSOCKS_CONF_FILE="+conf)
			cmd.Env = append(cmd.Env, tt.env...)
			cmd.Stdin = strings.NewReader(tt.stdin)
			var out, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &stderr
			if err := bed.Client.Run(cmd); err != nil || out.Len() < 1000 {
				t.Fatalf("%v, %d bytes\n%s\n%s", err, out.Len(), stderr.String(), p.Log)
			}
			if tt.asked {
				p.Log.Await(t, "category=query", before+1)
			}
		})
	}
	t.Run("whoever had none before", func(t *testing.T) {
		methods := func() byte {
			c, err := inside{bed.Client}.Dial("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(patience))
			b := []byte{5, 2, 0, 2}
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b[:2]); err != nil {
				t.Fatal(err)
			}
			return b[1]
		}
		if m := methods(); m != 2 {
			t.Errorf("method %d at first", m)
		}
		p.Log.Await(t, "offers a name but has none", 1)
		if m := methods(); m != 0 {
			t.Errorf("method %d then", m)
		}
	})
}
