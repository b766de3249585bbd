package hostbed

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// A statement fails because the kernel was built without something, or because it is
// wrong. Only the first may skip a test, and only if nothing else is wrong.
func TestFailures(t *testing.T) {
	h, err := hostfile.Parse([]byte(`# Some routes
link eth0
route 10.0.0.0/24 dev eth0 proto kernel scope link
route6 2001:db8:5::/48 encap seg6 mode encap segs 2001:db8::1 dev eth0
route 10.5.0.0/16 via 10.0.0.1 dev eth0
`), "test")
	if err != nil {
		t.Fatal(err)
	}
	batch := append(h.All("route"), h.All("route6")...)
	line := func(prefix string) string {
		for i := range batch {
			if strings.Contains(batch[i].String(), prefix) {
				return fmt.Sprintf("Command failed -:%d\n", i+1)
			}
		}
		t.Fatalf("no statement has %s: %v", prefix, batch)
		return ""
	}
	var (
		exists  = "RTNETLINK answers: File exists\n" + line("10.0.0.0/24")
		lacks   = "Error: lwt encapsulation type not supported.\n" + line("seg6")
		without = "Error: CONFIG_LWTUNNEL is not enabled in this kernel.\n" + line("seg6")
		wrong   = "Error: Nexthop has invalid gateway.\n" + line("10.5.0.0/16")
	)
	for name, c := range map[string]struct {
		output              string
		failed, unavailable bool
	}{
		"nothing":              {"", false, false},
		"made by the kernel":   {exists, false, false},
		"no encapsulation":     {lacks, true, true},
		"no encapsulations":    {exists + without, true, true},
		"wrong":                {wrong, true, false},
		"lacking and wrong":    {lacks + wrong, true, false},
		"wrong and lacking":    {wrong + lacks, true, false},
		"exists, but not made": {"RTNETLINK answers: File exists\n" + line("10.5.0.0/16"), true, false},
		"not of the batch":     {"Error: What?\nCommand failed -:9\n", true, false},
	} {
		err := failures(batch, c.output)
		if (err != nil) != c.failed || errors.Is(err, testbed.ErrUnavailable) != c.unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
