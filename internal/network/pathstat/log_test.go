package pathstat

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/policy"
)

func prefixID(name, prefix string) policy.PrefixID {
	return policy.PrefixID{Interface: name, Prefix: netip.MustParsePrefix(prefix)}
}

// logged makes a snapshot with three prefixes: a measured one on a wireless link, one about
// which nothing is known, and loopback.
func logged() *Snapshot {
	wlan, eth, lo := prefixID("wlan0", "10.0.1.0/24"), prefixID("eth0", "2001:db8::/64"), prefixID("lo", "127.0.0.0/8")
	stamp := time.Unix(1795338649, 184885999)
	return &Snapshot{
		Time: time.Unix(1795338650, 1000),
		Prefixes: []Prefix{
			{ID: wlan, Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("10.0.1.3")}},
			{ID: eth, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
			{ID: lo, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Loopback: true},
		},
		Paths: map[policy.PrefixID]policy.PathStats{wlan: {
			Time: stamp, Conns: 3, SRTTMean: 26 * time.Microsecond, SRTTVariance: 0.00035,
			SRTTMedian: 21 * time.Microsecond, SRTTMin: 6 * time.Microsecond,
			RTTVarMedian: 10 * time.Microsecond, RTTVarMean: 14 * time.Microsecond,
		}},
		Links: map[string]policy.LinkStats{
			"wlan0": {
				Time: stamp, DownRate: 1, DownRateMax: 2,
				DownSMAMax: policy.Windowed{Short: 5, Mid: 4, Long: 3, VeryLong: 99}, DownSMAMin: policy.Windowed{Short: 8, Mid: 7, Long: 6},
				DownSMAQuantile: policy.Windowed{Short: 11, Mid: 10, Long: 9}, DownSMA: 99,
				UpRate: 12, UpRateMax: 13, UpBytes: 14, DownBytes: 15, RxErrors: 16, TxErrors: 17,
			},
			"eth0": {Time: stamp, UpRate: 0, UpBytes: 70, RxErrors: 8},
		},
		Wifi: map[string]*policy.WifiStats{"wlan0": {
			Signal: -60, SignalAvg: -61, TxRate: 86.7e6 / 8, RxRate: 0,
			BSSLoad: true, Stations: 3, ChannelUtilization: 128 / 2.55, AvailableAdmissionCapacity: 266,
		}},
	}
}

const (
	prefixLog = "1795338649.184885,10.0.1.2,wlan0,0.026000,0.000350,0.021000,0.006000,0.010000,0.014000,0.000000,3\n" +
		"1795338650.000001,2001:db8::1,eth0,NA,NA,NA,NA,NA,NA,NA,NA\n"
	interfaceLog = "1795338649.184885,wlan0,1.000000,2.000000,3.000000,4.000000,5.000000,6.000000,7.000000,8.000000," +
		"9.000000,10.000000,11.000000,12.000000,13.000000,14,15,16,17,-60.00,NA,-61.00,86.70,NA,3,50.20,266\n" +
		"1795338649.184885,eth0,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,NA,0.000000,0.000000,70,NA,8,0,NA,NA,NA,NA,NA,NA,NA,NA\n"
)

func TestLogLines(t *testing.T) {
	for name, test := range map[string]struct {
		lines func(*Snapshot, []byte, func([]byte)) []byte
		want  string
	}{
		"prefix":    {prefixLines, prefixLog},
		"interface": {interfaceLines, interfaceLog},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			test.lines(logged(), nil, func(line []byte) { got.Write(line) })
			if diff := cmp.Diff(test.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogIsReopenedAfterRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prefix.log")
	l := NewPrefixLog(path, nil)
	defer l.file.Close()
	l.write(logged())
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.write(logged())
	if err := os.WriteFile(path+".new", []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // another inode, never absent
		t.Fatal(err)
	}
	l.write(logged())
	if got := read(t, path+".1"); got != prefixLog {
		t.Errorf("before rotation: %q", got)
	}
	if got := read(t, path); got != "old\n"+prefixLog {
		t.Errorf("after rotation: %q", got)
	}
}

func TestLogRefusesLinksAndPipes(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe} {
		l := NewPrefixLog(path, nil)
		l.write(logged())
		if !l.failed {
			t.Errorf("wrote to %s", path)
		}
		l.file.Close()
	}
	if got := read(t, target); got != "" {
		t.Errorf("the link's target holds %q", got)
	}
}

// fullDisk makes a file system of one page, for this thread only.
func fullDisk(t *testing.T) string {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	dir := t.TempDir()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		required.Lacking(t, "needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		required.Lacking(t, "needs CAP_SYS_ADMIN for private mounts: %v", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		required.Lacking(t, "needs CAP_SYS_ADMIN to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestLogReportsFullDiskOnce(t *testing.T) {
	var messages bytes.Buffer
	path := filepath.Join(fullDisk(t), "prefix.log")
	l := NewPrefixLog(path, slog.New(slog.NewTextHandler(&messages, nil)))
	defer l.file.Close()
	for range 100 {
		l.write(logged())
	}
	if got := len(read(t, path)); got != 4096 {
		t.Fatalf("%d bytes on a disk of 4096", got)
	}
	if n := strings.Count(messages.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, &messages)
	}
	// There is space again. The piece of a line at the end of the file gets a newline.
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	l.write(logged())
	if got, want := read(t, path), (prefixLog + prefixLog)[:100]+"\n"+prefixLog; got != want {
		t.Errorf("after the disk was full:\n%s", cmp.Diff(want, got))
	}
	if n := strings.Count(messages.String(), "level=INFO"); n != 1 {
		t.Errorf("%d notes that it works again:\n%s", n, &messages)
	}
}

func TestLogNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "prefix.log")
		l := NewPrefixLog(path, nil)
		for range logQueue + 5 { // nobody writes
			l.Record(logged())
		}
		if got := l.Dropped(); got != 5 {
			t.Errorf("%d dropped, want 5", got)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		cancel(stop)
		if err := l.Run(ctx); !errors.Is(err, stop) {
			t.Errorf("Run: %v", err)
		}
		if got := read(t, path); got != strings.Repeat(prefixLog, logQueue) {
			t.Errorf("what waited was not written at the end: %d bytes", len(got))
		}
	})
}
