package hostfile

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// encapsulations are the encapsulations of routes that a description can express
// (ip-route(8), "encap"), with the words that each of them knows.
var encapsulations = map[string]map[string]kind{
	"ip":        {"id": word, "dst": address, "src": address, "ttl": number, "tos": number, "key": flag, "csum": flag, "seq": flag},
	"ip6":       {"id": word, "dst": address, "src": address, "hoplimit": number, "tc": number, "key": flag, "csum": flag, "seq": flag},
	"mpls":      {"ttl": number},
	"seg6":      {"mode": word, "segs": segments},
	"seg6local": {"action": word, "table": table, "vrftable": table, "nh4": address, "nh6": address},
}

const mpls = "mpls" // has labels directly after its name

// takeEncapsulation returns the number of words that an encapsulation has. It ends at the first
// word that its kind does not know.
func takeEncapsulation(words []string) (int, error) {
	if len(words) == 0 {
		return 0, errors.New("without its value")
	}
	known, ok := encapsulations[words[0]]
	if !ok {
		return 0, fmt.Errorf("%q is not an encapsulation that a description can express", words[0])
	}
	n := 1
	if words[0] == mpls {
		if len(words) < 2 || !areLabels(words[1]) {
			return 0, errors.New("mpls without labels such as 100/200")
		}
		n++
	}
	seen := map[string]bool{}
	for n < len(words) {
		k, ok := known[words[n]]
		switch {
		case !ok:
			return n, nil
		case seen[words[n]]:
			return 0, fmt.Errorf("%s says %s twice", words[0], words[n])
		}
		seen[words[n]] = true
		if k != flag {
			if n++; n == len(words) {
				return 0, fmt.Errorf("%s without its value", words[n-1])
			}
			if err := check(k, words[n]); err != nil {
				return 0, fmt.Errorf("%s: %q is %w", words[n-1], words[n], err)
			}
		}
		n++
	}
	return n, nil
}

func areLabels(v string) bool {
	const bits = 20
	for l := range strings.SplitSeq(v, "/") {
		if _, err := strconv.ParseUint(l, 10, bits); err != nil {
			return false
		}
	}
	return true
}

// checkSegments checks a list of IPv6 addresses.
func checkSegments(v string) error {
	for s := range strings.SplitSeq(v, ",") {
		if a, err := netip.ParseAddr(s); err != nil || !a.Is6() {
			return errors.New("not a list of IPv6 addresses such as 2001:db8::1,2001:db8::2")
		}
	}
	return nil
}
