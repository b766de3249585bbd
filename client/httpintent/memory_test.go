package httpintent

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memoryURL is the environment variable with the URL that a process of its own must
// fetch. The server's memory does not count in that process.
const memoryURL = "MAMMA_TEST_MEMORY_URL"

// A split takes at most 16 MB, even if a slow reader makes it keep as much as it may.
func TestSplitMemory(t *testing.T) {
	if url := os.Getenv(memoryURL); url != "" {
		splitInMemory(t, url)
		return
	}
	o := startOrigin(t, 100e6, false)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSplitMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryURL+"="+o.URL)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := -1
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		if n, ok := strings.CutPrefix(s.Text(), "took "); ok {
			if took, err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d bytes", took)
	if took < defaultMemory || took > 16e6 {
		t.Errorf("a split took %d bytes", took)
	}
	if o.networks() != 2 {
		t.Errorf("%d networks", o.networks())
	}
}

// splitInMemory prints by how many bytes at most the memory of the process has grown.
func splitInMemory(t *testing.T, url string) {
	tr, _ := start(t, twoNetworks)
	tr.Base, tr.Split = &http.Transport{}, &Split{}
	taken := func() int {
		s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(s)
		return int(s[0].Value.Uint64() - s[1].Value.Uint64())
	}
	before := taken()
	resp, err := tr.RoundTrip(wanted(bulk(t.Context()), t, url))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	d := resp.Body.(*splitBody).download
	buf := make([]byte, 64<<10)
	most, n := 0, 0
	for err == nil {
		if n < 100 { // the other reads are as long as they may be
			for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
				d.mu.Lock()
				kept := len(d.store.chunks) * chunkSize
				d.mu.Unlock()
				if kept > defaultMemory*9/10 {
					break
				}
			}
		}
		_, err = resp.Body.Read(buf)
		most = max(most, taken())
		n++
	}
	if err != io.EOF { //nolint:errorlint // as the contract of io.Reader has it
		t.Fatal(err)
	}
	fmt.Printf("took %d\n", most-before)
}
