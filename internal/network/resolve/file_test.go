package resolve

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A byte-order mark does not belong to the first line.
func TestByteOrderMark(t *testing.T) {
	hosts := newFile(write(t, "hosts", "\ufeff192.0.2.1 first\n192.0.2.2 second\n"), parseHosts, nil).load(time.Unix(1, 0))
	if len(hosts.addrs["first"]) != 1 || len(hosts.addrs["second"]) != 1 {
		t.Errorf("hosts: %v", hosts.addrs)
	}
	conf := newFile(write(t, "resolv.conf", "\ufeffnameserver 192.0.2.1\noptions rotate\n"), parseResolvConf, nil).load(time.Unix(1, 0))
	if len(conf.servers) != 1 || !conf.rotate {
		t.Errorf("resolv.conf: %+v", conf)
	}
}

// In a file that is too long, the lines count that were read as a whole.
func TestLongFile(t *testing.T) {
	var log bytes.Buffer
	const last = "192.0.2.2 last\n"
	filler := strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", maxFile/1024-1)
	filler += "#" + strings.Repeat("x", maxFile-len(filler)-len("192.0.2.1 first\n")-len(last)-2) + "\n"
	path := write(t, "hosts", "192.0.2.1 first\n"+filler+last+"192.0.2.3 beyond\n")
	h := newFile(path, parseHosts, slog.New(slog.NewTextHandler(&log, nil))).load(time.Unix(1, 0))
	if len(h.addrs["first"]) != 1 || len(h.addrs["last"]) != 1 || len(h.addrs["beyond"]) != 0 {
		t.Errorf("%v", h.addrs)
	}
	if !strings.Contains(log.String(), "too long") {
		t.Errorf("log: %s", &log)
	}
	for _, tt := range []struct {
		text, want string
		cut        bool
	}{
		{"a\nb\n", "a\nb\n", false},
		{"a\nb\nc", "a\nb\n", true},
		{"a\nbc\n", "a\n", true},
		{"abcde", "", true},
	} {
		if data, cut, err := readLines(write(t, "f", tt.text), 4); string(data) != tt.want || cut != tt.cut || err != nil {
			t.Errorf("%q: %q, %v, %v", tt.text, data, cut, err)
		}
	}
}
