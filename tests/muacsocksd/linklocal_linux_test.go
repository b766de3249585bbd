package muacsocksd

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// linkLocal adds a link-local address to the link that has a given address.
func linkLocal(t *testing.T, n *testbed.Namespace, has, gets string) (link string) {
	t.Helper()
	links, err := n.Handle().LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		addrs, err := n.Handle().AddrList(l, unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if a.IP.String() != has {
				continue
			}
			own, err := netlink.ParseAddr(gets + "/64")
			if err != nil {
				t.Fatal(err)
			}
			own.Flags = unix.IFA_F_NODAD
			if err := n.Handle().AddrAdd(l, own); err != nil {
				t.Fatal(err)
			}
			return l.Attrs().Name
		}
	}
	t.Fatalf("no link has %s", has)
	return ""
}

// A client with only a link-local address can have an association.
func TestLinkLocalAssociation(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	beyond := bed.Networks[0].Server.Namespace
	here := linkLocal(t, bed.Client, "10.1.0.2", "fe80::2")
	there := linkLocal(t, beyond, "10.1.0.1", "fe80::1")
	startAt(t, bed, "[fe80::2%"+here+"]:9051", "rule \"link\" {\n  action = \"allow\"\n  client = [\"fe80::/10\"]\n}\n")
	c, err := inside{beyond}.Dial("tcp", fmt.Sprintf("[fe80::2%%%s]:9051", there))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	var b [2 + 4 + 18]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || b[3] != 0 || b[5] != 4 {
		t.Fatalf("reply %x, %v", b, err)
	}
	relay := netip.AddrFrom16([16]byte(b[6:22])).WithZone(there)
	u, err := inside{beyond}.Dial("udp", netip.AddrPortFrom(relay, uint16(b[22])<<8|uint16(b[23])).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	_ = u.SetDeadline(time.Now().Add(patience))
	q, err := new(dns.Msg).SetQuestion("www.example.net.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(append([]byte(serviceHeader), q...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1500)
	if n, err := u.Read(answer); err != nil || string(answer[:len(serviceHeader)]) != serviceHeader {
		t.Errorf("%x, %v", answer[:n], err)
	}
}
