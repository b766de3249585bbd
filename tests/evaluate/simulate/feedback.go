package simulate

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
)

// reportDelay is how long the client library keeps a report.
const reportDelay = 20 * time.Millisecond

// use is what a connection is used for at a time.
type use struct {
	begun     time.Duration
	intents   intent.Set
	host      int
	token     uint64
	kind      policy.Kind
	port      uint16
	predicted time.Duration
}

// browser is who asks, and so reports.
func browser() policy.App { return policy.App{UID: 1000, PID: 4711, Command: "browser"} }

func hostName(host int) string { return "h" + strconv.Itoa(host) + ".example.net" }

// transfer returns the report of a flow of a connection.
func (h *Host) transfer(c *conn, f *flow) policy.Transfer {
	u := &c.use
	t := policy.Transfer{
		Token: u.token, App: browser(), Prefix: h.measures[h.indexOf(f.path)].prefix, Kind: u.kind, Intents: u.intents, Host: hostName(u.host),
		Remote: netip.AddrFrom4([4]byte{192, 0, 2, byte(u.host + 1)}), Port: u.port, Predicted: u.predicted,
		RTT: f.client.srtt, MinRTT: f.least, End: start().Add(h.now),
	}
	if f.shook > 0 && f.began >= u.begun {
		t.Connect = f.shook
	}
	return t
}

func (h *Host) report(t policy.Transfer) {
	if h.observer != nil {
		h.after(reportDelay, func() { h.observer.Ended(&t) })
	}
}

// ended reports what a connection brought.
func (h *Host) ended(c *conn, partial bool) {
	if c.flows[0] == nil {
		return
	}
	t := h.transfer(c, c.flows[0])
	t.Reused, t.Partial = c.reused, partial
	t.Bytes, t.Duration = uint64(max(0, c.total-c.missing)*segment), h.now-c.use.begun
	h.report(t)
}

// shaken reports the handshake that another one was quicker than.
func (h *Host) shaken(c *conn, f *flow) {
	if f.loser {
		h.report(h.transfer(c, f))
	}
}
