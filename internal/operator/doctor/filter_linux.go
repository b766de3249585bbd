package doctor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"encoding/binary"
	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// chain identifies a chain of the packet filter, as rules refer to it.
type chain struct {
	family      uint8
	table, name string
}

func (c chain) String() string {
	family := map[uint8]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[c.family]
	return fmt.Sprintf("%s %s %s", family, c.table, c.name)
}

// contents says what the rules of a chain do, as far as it matters here.
type contents struct {
	marks bool // they set the mark of packets
	jumps []chain
}

// markers returns the chains of nftables that set marks on packets which this host
// sends, at a point where the packets' route can still change. These are chains of the
// type "route" at the hook output, and chains that they jump to; those of iptables-nft
// are included. known is false if the filter cannot be read, or if there may be rules
// of iptables-legacy, which cannot be read here.
func (o *Options) markers() (list []string, known bool) {
	c, err := mdnetlink.Dial(unix.NETLINK_NETFILTER, &mdnetlink.Config{NetNS: o.Namespace})
	if err != nil {
		return nil, false
	}
	defer func() { _ = c.Close() }()
	list, err = nftMarkers(c)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		// The kernel lacks nf_tables.
	case err != nil:
		return nil, false
	}
	for _, f := range []string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"} {
		b, err := o.ReadFile(f)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return list, false
		}
		if slices.Contains(strings.Fields(string(b)), "mangle") {
			return list, false
		}
	}
	return list, true
}

// nftMarkers returns the chains of nf_tables that set marks.
func nftMarkers(c *mdnetlink.Conn) ([]string, error) {
	chains, err := dump(c, unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, err
	}
	starts, err := outputChains(chains)
	if err != nil || len(starts) == 0 {
		return nil, err
	}
	rules, err := dump(c, unix.NFT_MSG_GETRULE)
	if err != nil {
		return nil, err
	}
	all, err := chainContents(rules)
	if err != nil {
		return nil, err
	}
	return reached(all, starts), nil
}

// reached returns the chains that set marks, among those that can be reached from the
// given chains.
func reached(all map[chain]*contents, from []chain) []string {
	var list []string
	seen := map[chain]bool{}
	for len(from) > 0 {
		c := from[0]
		from = from[1:]
		x := all[c]
		if seen[c] || x == nil {
			continue
		}
		seen[c] = true
		if x.marks {
			list = append(list, c.String())
		}
		from = append(from, x.jumps...)
	}
	return list
}

// dump asks for all objects of a kind.
func dump(c *mdnetlink.Conn, kind uint16) ([]mdnetlink.Message, error) {
	return c.Execute(mdnetlink.Message{
		Header: mdnetlink.Header{Type: mdnetlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: mdnetlink.Request | mdnetlink.Dump},
		Data:   []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
}

// decode calls each for every object of a dump, with the family of its table.
func decode(list []mdnetlink.Message, each func(family uint8, a *mdnetlink.AttributeDecoder) error) error {
	for _, m := range list {
		if len(m.Data) < 4 {
			return errors.New("short answer of nf_tables")
		}
		a, err := mdnetlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return err
		}
		if err := each(m.Data[0], a); err != nil {
			return err
		}
	}
	return nil
}

// outputChains returns the chains of the type "route" at the hook output.
func outputChains(dump []mdnetlink.Message) (list []chain, err error) {
	err = decode(dump, func(family uint8, a *mdnetlink.AttributeDecoder) error {
		x := chain{family: family}
		kind := ""
		for a.Next() {
			switch a.Type() {
			case unix.NFTA_CHAIN_TABLE:
				x.table = a.String()
			case unix.NFTA_CHAIN_NAME:
				x.name = a.String()
			case unix.NFTA_CHAIN_TYPE:
				kind = a.String()
			}
		}
		if kind == "route" { // this type has no other hook
			list = append(list, x)
		}
		return a.Err()
	})
	return list, err
}

// chainContents returns, for each chain in a dump, what its rules do.
func chainContents(dump []mdnetlink.Message) (map[chain]*contents, error) {
	all := map[chain]*contents{}
	err := decode(dump, func(family uint8, a *mdnetlink.AttributeDecoder) error {
		at := chain{family: family}
		var rule contents
		for a.Next() {
			switch a.Type() {
			case unix.NFTA_RULE_TABLE:
				at.table = a.String()
			case unix.NFTA_RULE_CHAIN:
				at.name = a.String()
			case unix.NFTA_RULE_EXPRESSIONS:
				a.Nested(func(e *mdnetlink.AttributeDecoder) error {
					for e.Next() {
						e.Nested(rule.expression)
					}
					return nil
				})
			}
		}
		if all[at] == nil {
			all[at] = &contents{}
		}
		all[at].marks = all[at].marks || rule.marks
		for _, to := range rule.jumps {
			all[at].jumps = append(all[at].jumps, chain{family, at.table, to.name})
		}
		return a.Err()
	})
	return all, err
}

// expression reads an expression of a rule. Three kinds matter: "meta" that sets a
// mark, a target of iptables that sets a mark, and a jump.
func (x *contents) expression(a *mdnetlink.AttributeDecoder) error {
	name := ""
	for a.Next() {
		switch a.Type() {
		case unix.NFTA_EXPR_NAME:
			name = a.String()
		case unix.NFTA_EXPR_DATA:
			switch name {
			case "meta":
				a.Nested(x.meta)
			case "target":
				a.Nested(x.target)
			case "immediate":
				a.Nested(x.immediate)
			}
		}
	}
	return nil
}

func (x *contents) meta(a *mdnetlink.AttributeDecoder) error {
	mark, set := false, false
	a.ByteOrder = binary.BigEndian
	for a.Next() {
		switch a.Type() {
		case unix.NFTA_META_KEY:
			mark = a.Uint32() == unix.NFT_META_MARK
		case unix.NFTA_META_SREG:
			set = true
		}
	}
	x.marks = x.marks || mark && set
	return nil
}

func (x *contents) target(a *mdnetlink.AttributeDecoder) error {
	for a.Next() {
		if a.Type() == unix.NFTA_TARGET_NAME && slices.Contains([]string{"MARK", "CONNMARK"}, a.String()) {
			x.marks = true
		}
	}
	return nil
}

func (x *contents) immediate(a *mdnetlink.AttributeDecoder) error {
	for a.Next() {
		if a.Type() != unix.NFTA_IMMEDIATE_DATA {
			continue
		}
		a.Nested(func(d *mdnetlink.AttributeDecoder) error {
			for d.Next() {
				if d.Type() != unix.NFTA_DATA_VERDICT {
					continue
				}
				d.Nested(func(v *mdnetlink.AttributeDecoder) error {
					for v.Next() {
						if v.Type() == unix.NFTA_VERDICT_CHAIN {
							x.jumps = append(x.jumps, chain{name: v.String()})
						}
					}
					return nil
				})
			}
			return nil
		})
	}
	return nil
}
