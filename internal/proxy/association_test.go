package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
)

// The table says where an association is after each call, by the manager's list, the time
// at which the association began to receive nothing, and the time of the call.
func TestSeat(t *testing.T) {
	type call struct {
		list       string // first bytes of source addresses, - for none
		since, now int    // seconds; since 0: does not matter
		want       string
		answering  bool // before the silence
	}
	for _, tt := range []struct {
		name  string
		calls []call
	}{
		{"the manager is followed at once", []call{{"123-", 0, 0, "1", false}, {"213-", 10, 11, "2", false}, {"123-", 10, 12, "1", false}}},
		{"it moves by itself later", []call{{"123-", 0, 0, "1", false}, {"123-", 10, 11, "1", false}, {"123-", 10, 12, "1", false}, {"123-", 10, 14, "2", false}}},
		{"each is tried once", []call{{"123-", 0, 0, "1", false}, {"123-", 10, 14, "2", false}, {"123-", 10, 18, "3", false}, {"123-", 10, 26, "1", false}, {"123-", 10, 42, "1", false}}},
		{"it stays where it was answered", []call{{"12-", 0, 0, "1", false}, {"12-", 10, 14, "2", false}, {"12-", 20, 21, "2", false}, {"12-", 0, 22, "2", false}, {"12-", 20, 24, "1", false}, {"12-", 20, 28, "1", false}}},
		{"unless the manager learns something", []call{{"12-", 0, 0, "1", false}, {"12-", 10, 14, "2", false}, {"21-", 20, 21, "2", false}, {"12-", 20, 22, "1", false}}},
		{"where it was is gone", []call{{"123-", 0, 0, "1", false}, {"123-", 10, 14, "2", false}, {"13-", 20, 21, "1", false}}},
		{"sending fails", []call{{"12-", 0, 0, "1", false}, {"12-", 0, 1, "1", false}, {"21-", 0, 2, "2", false}}},
		{"it was answered before", []call{{"123-", 0, 0, "1", false}, {"123-", 10, 10, "2", true}, {"123-", 10, 11, "3", true}, {"123-", 10, 13, "1", true}}},
		{"one network", []call{{"1-", 0, 0, "1", false}, {"1-", 10, 14, "1", false}, {"1-", 10, 18, "1", false}}},
		{"no preference", []call{{"-", 0, 0, "-", false}, {"-", 10, 14, "-", false}, {"1-", 10, 18, "1", false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := func(seconds int) time.Time {
				if seconds == 0 {
					return time.Time{}
				}
				return time.Unix(int64(seconds), 0)
			}
			var s seat
			var got, want string
			for _, c := range tt.calls {
				var list []client.Endpoint
				for _, b := range c.list {
					e := client.Endpoint{}
					if b != '-' {
						e.Source = netip.AddrFrom4([4]byte{byte(b), 0, 0, 1})
					}
					list = append(list, e)
				}
				got += c.list[s.choose(list, at(c.since), at(c.now), c.answering):][:1]
				want += c.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
