package hosts

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/hostbed"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	if path, ok := hostbed.Task(); ok {
		os.Exit(child(path))
	}
	_ = testbed.Enter() // the tests say what is missing
	os.Exit(m.Run())
}

// Each host does what its file says, except for what expected-failures.txt lists.
func TestHosts(t *testing.T) {
	files, err := filepath.Glob("*.host")
	if err != nil || len(files) == 0 {
		t.Fatalf("no hosts: %v", err)
	}
	known := readExpected(t)
	for _, f := range files {
		name := strings.TrimSuffix(f, ".host")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			h, err := hostfile.Parse(text, f)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(f)
			if err != nil {
				t.Fatal(err)
			}
			b, err := hostbed.Child(path, 2*time.Minute)
			if err != nil {
				testbed.SkipOrFail(t, err)
			}
			var got outcome
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			if got.Unavailable != "" {
				t.Skipf("this kernel lacks what the host needs: %s", got.Unavailable)
			}
			for verb, diff := range compare(h, &got) {
				reason, listed := known[name+"/"+verb]
				switch {
				case diff != "" && !listed:
					t.Errorf("%s (-want +got)\n%s", verb, diff)
				case diff != "":
					t.Logf("as expected (%s), %s (-want +got)\n%s", reason, verb, diff)
				case listed:
					t.Errorf("%s is right now: take %s/%s out of %s", verb, name, verb, expectedFile)
				}
			}
		})
	}
	for key := range known {
		name, verb, _ := strings.Cut(key, "/")
		if !slices.Contains(files, name+".host") || !slices.Contains(verbs, verb) {
			t.Errorf("%s: %q is not a host and verb", expectedFile, key)
		}
	}
}

// verbs are the kinds of expectations that are compared.
var verbs = []string{"managed", "connect", "unbound", "kernel", "doctor"}

// compare returns the difference for each verb about which the host's file says
// something. It is "" if there is none.
func compare(h *hostfile.Host, got *outcome) map[string]string {
	want := map[string][]string{}
	for i := range h.Want {
		s := &h.Want[i]
		if s.Words() == "none" {
			want[s.Verb] = []string{}
			continue
		}
		want[s.Verb] = append(want[s.Verb], strings.TrimSpace(s.Words()))
	}
	diffs := map[string]string{}
	for verb, w := range want {
		var g []string
		switch verb {
		case "managed":
			g = slices.Sorted(slices.Values(got.Managed))
			w = slices.Sorted(slices.Values(w))
		case "connect":
			w, g = connects(h, verb, got.Connect)
		case "unbound":
			w, g = connects(h, verb, got.Unbound)
		case "kernel":
			w, g = kernels(h, got.Kernel)
		case "doctor":
			g = slices.Sorted(slices.Values(got.Doctor))
			w = slices.Sorted(slices.Values(w))
		}
		diffs[verb] = cmp.Diff(append([]string{}, w...), append([]string{}, g...))
	}
	return diffs
}

// connects puts each destination before its result. If the file wants a source by its
// prefix only, the source is shown as that prefix.
func connects(h *hostfile.Host, verb string, came []string) (want, got []string) {
	i := 0
	for j := range h.Want {
		s := &h.Want[j]
		if s.Verb != verb {
			continue
		}
		question := s.Args[0].Value
		for _, key := range []string{"by", "udp"} {
			if v, ok := s.Get(key); ok {
				question += strings.TrimRight(" "+key+" "+v, " ")
			}
		}
		answer := "refused"
		if !s.Has("refused") {
			answer = "from " + s.Value("from") + " dev " + s.Value("dev")
		}
		c := came[i]
		i++
		if p, err := netip.ParsePrefix(s.Value("from")); err == nil {
			if fields := strings.Fields(c); len(fields) > 1 {
				if a, err := netip.ParseAddr(fields[1]); err == nil && p.Contains(a) {
					c = strings.Replace(c, fields[1], p.String(), 1)
				}
			}
		}
		want, got = append(want, question+": "+answer), append(got, question+": "+c)
	}
	return want, got
}

// kernels shortens each of the kernel's answers to what is wanted of it. If that is not
// in the answer, it shows the whole answer.
func kernels(h *hostfile.Host, came []string) (want, got []string) {
	i := 0
	for j := range h.Want {
		s := &h.Want[j]
		if s.Verb != "kernel" {
			continue
		}
		c := came[i]
		i++
		words := strings.Fields(s.Value("has"))
		missing := false
		for k := 0; k+1 < len(words); k += 2 {
			missing = missing || !strings.Contains(" "+c+" ", " "+words[k]+" "+words[k+1]+" ")
		}
		if !missing && !strings.HasPrefix(c, "refused") {
			c = s.Value("has")
		}
		want, got = append(want, s.Args[0].Value+": "+s.Value("has")), append(got, s.Args[0].Value+": "+c)
	}
	return want, got
}

const expectedFile = "expected-failures.txt"

// readExpected reads the expectations that do not hold yet: NAME/VERB: REASON.
func readExpected(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(expectedFile)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, ": ")
		if !ok || known[key] != "" {
			t.Fatalf("%s: %q is not NAME/VERB: REASON, or is there twice", expectedFile, line)
		}
		known[key] = reason
	}
	return known
}
