package mptcp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var family = genetlink.Family{
	ID: 0x1a, Version: 1, Name: familyName,
	Groups: []genetlink.MulticastGroup{{ID: 7, Name: "mptcp_pm_cmds"}, {ID: 8, Name: eventsGroup}},
}

// comparer compares values with addresses.
var comparer = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// request is a request to the fake kernel.
type request struct {
	Command uint8
	Flags   netlink.HeaderFlags
	Data    []byte
}

// fake makes a Conn to a fake kernel, which remembers the requests and answers them.
func fake(t *testing.T, answer func() ([]genetlink.Message, error)) (*Conn, *request) {
	t.Helper()
	var seen request
	c, err := newConn(genltest.Dial(genltest.ServeFamily(family, func(m genetlink.Message, nm netlink.Message) ([]genetlink.Message, error) {
		if nm.Header.Type != netlink.HeaderType(family.ID) || m.Header.Version != version {
			return nil, fmt.Errorf("family %d, version %d", nm.Header.Type, m.Header.Version)
		}
		seen = request{m.Header.Command, nm.Header.Flags, m.Data}
		return answer()
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, &seen
}

func acknowledge() ([]genetlink.Message, error) { return nil, io.EOF }

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// The bytes are those that iproute2 and the kernel's pm_nl_ctl send, worked out
// from include/uapi/linux/mptcp_pm.h, in little-endian order.
func TestRequests(t *testing.T) {
	a4, a6 := netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("2001:db8::2")
	const plain, dump = netlink.Request | netlink.Acknowledge, netlink.Request | netlink.Dump
	for _, tt := range []struct {
		name string
		call func(*Conn) error
		want request
	}{
		{
			"add", func(c *Conn) error {
				return c.AddEndpoint(Endpoint{Addr: a4, Flags: FlagSubflow | FlagBackup, Index: 3})
			},
			request{1, plain, hexed("2400 0180" + "0600 0100 0200 0000" + "0800 0300 0a010002" + "0800 0600 06000000" + "0800 0700 03000000")},
		},
		{
			"add IPv6 with ID and port", func(c *Conn) error {
				return c.AddEndpoint(Endpoint{ID: 9, Addr: a6, Port: 0x1234, Flags: FlagSignal})
			},
			request{1, plain, hexed("3800 0180" + "0600 0100 0a00 0000" + "1400 0400 20010db8000000000000000000000002" +
				"0500 0200 09000000" + "0600 0500 3412 0000" + "0800 0600 01000000")},
		},
		{"delete", func(c *Conn) error { return c.DeleteEndpoint(5) }, request{2, plain, hexed("0c00 0180 0500 0200 05000000")}},
		{"list", func(c *Conn) error { _, err := c.Endpoints(); return err }, request{3, dump, nil}},
		{"flush", (*Conn).FlushEndpoints, request{4, plain, nil}},
		{"set limits", func(c *Conn) error { return c.SetLimits(Limits{AddAddrs: 1, Subflows: 4}) }, request{5, plain, hexed("0800 0200 01000000 0800 0300 04000000")}},
		{"read limits", func(c *Conn) error { _, err := c.Limits(); return err }, request{6, netlink.Request, nil}},
		{
			"set flags", func(c *Conn) error { return c.SetFlags(Endpoint{ID: 5, Flags: FlagSubflow}) },
			request{7, plain, hexed("1400 0180 0500 0200 05000000 0800 0600 02000000")},
		},
		{
			"announce", func(c *Conn) error { return c.Announce(0x11223344, Endpoint{ID: 2, Addr: a4}) },
			request{8, plain, hexed("2400 0180" + "0600 0100 0200 0000" + "0800 0300 0a010002" + "0500 0200 02000000" + "0800 0600 01000000" + "0800 0400 44332211")},
		},
		{"remove", func(c *Conn) error { return c.Remove(1, 2) }, request{9, plain, hexed("0800 0400 01000000 0500 0500 02000000")}},
		{
			"create subflow", func(c *Conn) error {
				return c.CreateSubflow(1, Endpoint{ID: 2, Addr: a4, Index: 3}, ap("192.0.2.1:80"))
			},
			request{10, plain, hexed("2400 0180" + "0600 0100 0200 0000" + "0800 0300 0a010002" + "0500 0200 02000000" + "0800 0700 03000000" +
				"0800 0400 01000000" + "1c00 0680" + "0600 0100 0200 0000" + "0800 0300 c0000201" + "0600 0500 5000 0000")},
		},
		{
			"destroy subflow", func(c *Conn) error { return c.DestroySubflow(1, ap("10.1.0.2:4660"), ap("192.0.2.1:80")) },
			request{11, plain, hexed("1c00 0180" + "0600 0100 0200 0000" + "0800 0300 0a010002" + "0600 0500 3412 0000" +
				"0800 0400 01000000" + "1c00 0680" + "0600 0100 0200 0000" + "0800 0300 c0000201" + "0600 0500 5000 0000")},
		},
		{
			"subflow flags", func(c *Conn) error {
				return c.SetSubflowFlags(1, ap("10.1.0.2:4660"), ap("192.0.2.1:80"), FlagBackup)
			},
			request{7, plain, hexed("2400 0180" + "0600 0100 0200 0000" + "0800 0300 0a010002" + "0600 0500 3412 0000" + "0800 0600 04000000" +
				"0800 0400 01000000" + "1c00 0680" + "0600 0100 0200 0000" + "0800 0300 c0000201" + "0600 0500 5000 0000")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, seen := fake(t, acknowledge)
			if err := tt.call(c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *seen, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("request (-want +got)\n%s", diff)
			}
		})
	}
}

// hexed reads bytes written in hexadecimal with spaces.
func hexed(s string) []byte {
	s = strings.ReplaceAll(s, " ", "")
	b := make([]byte, len(s)/2)
	for i := range b {
		if _, err := fmt.Sscanf(s[2*i:2*i+2], "%02x", &b[i]); err != nil {
			panic(err)
		}
	}
	return b
}

func TestAnswers(t *testing.T) {
	c, _ := fake(t, func() ([]genetlink.Message, error) {
		return []genetlink.Message{
			{Data: hexed("2c00 0180" + "0600 0100 0200 0000" + "0500 0200 01000000" + "0800 0600 06000000" + "0800 0700 03000000" + "0800 0300 0a010002")},
			{Data: hexed("3800 0180" + "0600 0100 0a00 0000" + "0500 0200 09000000" + "0600 0500 3412 0000" + "0800 0600 01000000" +
				"1400 0400 20010db8000000000000000000000002")},
		}, nil
	})
	want := []Endpoint{
		{ID: 1, Addr: netip.MustParseAddr("10.1.0.2"), Flags: FlagSubflow | FlagBackup, Index: 3},
		{ID: 9, Addr: netip.MustParseAddr("2001:db8::2"), Port: 0x1234, Flags: FlagSignal},
	}
	got, err := c.Endpoints()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, comparer); diff != "" {
		t.Errorf("endpoints (-want +got)\n%s", diff)
	}
	c, _ = fake(t, func() ([]genetlink.Message, error) {
		return []genetlink.Message{{Data: hexed("0800 0200 00000000 0800 0300 02000000")}}, nil
	})
	if l, err := c.Limits(); err != nil || l != (Limits{Subflows: 2}) {
		t.Errorf("limits: %+v, %v", l, err)
	}
}

func TestBadAnswers(t *testing.T) {
	for name, data := range map[string]string{
		"short address": "0c00 0180 0700 0300 0a010000",
		"long address":  "1000 0180 0c00 0300 0a01000200000000",
		"cut off":       "2400 0180 0600",
		"short ID":      "0800 0180 0400 0200",
	} {
		c, _ := fake(t, func() ([]genetlink.Message, error) { return []genetlink.Message{{Data: hexed(data)}}, nil })
		if list, err := c.Endpoints(); err == nil {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		errno unix.Errno
		call  func(*Conn) error
		is    error
		want  string
	}{
		{
			"too old", unix.EOPNOTSUPP, func(c *Conn) error { return c.Remove(1, 2) }, ErrUnsupported,
			"remove address 2 of MPTCP connection 00000001: an MPTCP path manager in user space: not supported by this kernel: needs Linux 5.19 or later with CONFIG_MPTCP",
		},
		{
			"not permitted", unix.EPERM, func(c *Conn) error { return c.DeleteEndpoint(3) }, unix.EPERM,
			"delete MPTCP endpoint 3: needs CAP_NET_ADMIN: ",
		},
		{"anything else", unix.EINVAL, func(c *Conn) error { return c.SetLimits(Limits{}) }, unix.EINVAL, "set MPTCP limits: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := fake(t, func() ([]genetlink.Message, error) { return nil, genltest.Error(int(tt.errno)) })
			err := tt.call(c)
			if !errors.Is(err, tt.is) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNoFamily(t *testing.T) {
	_, err := newConn(genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(unix.ENOENT))
	}))
	var f *FeatureError
	if !errors.Is(err, ErrUnsupported) || !errors.As(err, &f) || f.Since != "5.7" {
		t.Errorf("got %v", err)
	}
	old := family
	old.Groups = family.Groups[:1]
	_, err = newListener(genltest.Dial(genltest.ServeFamily(old, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) { return nil, io.EOF })))
	if !errors.As(err, &f) || f.Since != "5.12" {
		t.Errorf("without events: %v", err)
	}
}

func TestFlagsString(t *testing.T) {
	for flags, want := range map[Flags]string{
		0: "", FlagSubflow | FlagBackup: "subflow backup", FlagSignal | FlagFullmesh | FlagImplicit | FlagLaminar: "signal fullmesh implicit laminar",
		FlagSubflow | 1<<9: "subflow 0x200",
	} {
		if got := flags.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(flags), got, want)
		}
	}
}
