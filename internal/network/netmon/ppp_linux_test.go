package netmon

import (
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// The kernel's lists are read as it writes them (drivers/net/ppp/pppoe.c, net/l2tp/l2tp_ppp.c).
func TestPPPLists(t *testing.T) {
	t.Parallel()
	const pppoe = "Id       Address              Device\n001F0000 02:00:5e:10:00:01        eth1\n002F0000 02:00:5e:10:00:01        eth1\n"
	for text, want := range map[string]int{"": 0, "Id       Address              Device\n": 0, pppoe: 2} {
		if got := pppoeSessions(text); got != want {
			t.Errorf("%d sessions in %q, want %d", got, text, want)
		}
	}
	b, err := os.ReadFile("testdata/pppol2tp")
	if err != nil {
		t.Fatal(err)
	}
	if got := l2tpLinks(string(b)); len(got) != 2 || got[0] != "ppp1" || got[1] != "ppp7" {
		t.Errorf("links %q by L2TP", got)
	}
}

func TestMarkPPP(t *testing.T) {
	t.Parallel()
	ppp := func(index, mtu int) Link {
		return Link{Index: index, Name: "ppp" + string(rune('0'+index)), Type: "ppp", MTU: mtu}
	}
	for _, tt := range []struct {
		name     string
		links    []Link
		sessions int
		l2tp     []string
		want     string // a letter for each link
	}{
		{"a modem", []Link{ppp(1, 1500)}, 0, nil, "-"},
		{"PPPoE by a program", []Link{ppp(1, 1492)}, 0, nil, "E"},
		{"PPPoE of large frames (RFC 4638)", []Link{ppp(1, 1500)}, 1, nil, "E"},
		{"L2TP above PPPoE", []Link{ppp(1, 1492), ppp(2, 1400)}, 1, nil, "E-"},
		{"the same in another order", []Link{ppp(1, 1400), ppp(2, 1492)}, 1, nil, "-E"},
		{"PPPoE of small packets, and what came after it", []Link{ppp(1, 1454), ppp(2, 1454)}, 1, nil, "E-"},
		{"the kernel says that it is L2TP", []Link{ppp(1, 1492), ppp(2, 1492)}, 1, []string{"ppp1"}, "LE"},
		{"not PPP", []Link{{Index: 1, Name: "eth0", Type: "device", MTU: 1492}}, 1, nil, "-"},
	} {
		markPPP(tt.links, tt.sessions, tt.l2tp)
		got := ""
		for _, l := range tt.links {
			switch {
			case l.PPPoE:
				got += "E"
			case l.L2TP:
				got += "L"
			default:
				got += "-"
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestDetour(t *testing.T) {
	t.Parallel()
	direct := map[int]bool{8: true}
	by := func(index int, gateway string) []oracle.Step {
		s := oracle.Step{Hop: oracle.Hop{Index: index}}
		if gateway != "" {
			s.Gateway = netip.MustParseAddr(gateway)
		}
		return []oracle.Step{s}
	}
	for _, tt := range []struct {
		prefix   string
		hops     []oracle.Step
		protocol uint8
		kind     uint8
		want     bool
	}{
		{"203.0.113.77/32", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, true},
		{"2a00:c::77/128", by(2, "fe80::1"), unix.RTPROT_STATIC, unix.RTN_UNICAST, true},
		{"203.0.113.77/32", by(8, ""), unix.RTPROT_BOOT, unix.RTN_UNICAST, true},
		{"203.0.113.77/32", by(2, ""), unix.RTPROT_STATIC, unix.RTN_UNICAST, false}, // a gateway on the link
		{"203.0.113.0/24", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, true},
		{"10.7.7.7/32", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, true},
		{"10.7.0.0/16", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, false}, // another site
		{"100.64.0.0/16", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, false},
		{"fd00:7::/48", by(2, "fe80::1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, false},
		{"128.0.0.0/1", by(2, "192.168.0.1"), unix.RTPROT_BOOT, unix.RTN_UNICAST, false},
		{"9.9.9.9/32", by(2, "192.168.0.1"), unix.RTPROT_DHCP, unix.RTN_UNICAST, false}, // a name server, by systemd-networkd
		{"198.19.0.1/32", by(8, ""), unix.RTPROT_KERNEL, unix.RTN_UNICAST, false},       // the other end
		{"203.0.113.77/32", nil, unix.RTPROT_BOOT, unix.RTN_BLACKHOLE, false},
		{"fe80::9/128", by(8, ""), unix.RTPROT_BOOT, unix.RTN_UNICAST, false},
	} {
		r := oracle.Route{Prefix: netip.MustParsePrefix(tt.prefix), Hops: tt.hops, Protocol: tt.protocol, Kind: tt.kind}
		if got := detour(&r, direct); got != tt.want {
			t.Errorf("%s by %v, protocol %d, kind %d: %v", tt.prefix, tt.hops, tt.protocol, tt.kind, got)
		}
	}
}
