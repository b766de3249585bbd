package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Direction tells which packets of an interface a packet filter drops.
type Direction uint32

// The directions, by the numbers of the kernel's hooks (linux/netfilter.h).
const (
	Incoming Direction = 1 // NF_INET_LOCAL_IN
	Outgoing Direction = 3 // NF_INET_LOCAL_OUT
)

// filterTable is the name of the table, and of the chain in it.
const filterTable = "testbed"

// Drop makes the namespace's packet filter (nftables) drop the IP packets of one
// direction of an interface, as a firewall does. The sender of a datagram is told that
// it may not send; others wait. ARP passes. undo removes the rule. A namespace can have
// one such rule at a time. The error wraps ErrUnavailable if the kernel has no
// nf_tables.
func (n *Namespace) Drop(d Direction, iface string) (undo func() error, err error) {
	direction := uint32(unix.NFT_META_IIFNAME)
	if d == Outgoing {
		direction = unix.NFT_META_OIFNAME
	}
	table := nftRequest{unix.NFT_MSG_NEWTABLE, netlink.Create, func(a *netlink.AttributeEncoder) {
		a.String(unix.NFTA_TABLE_NAME, filterTable)
	}}
	chain := nftRequest{unix.NFT_MSG_NEWCHAIN, netlink.Create, func(a *netlink.AttributeEncoder) {
		a.String(unix.NFTA_CHAIN_TABLE, filterTable)
		a.String(unix.NFTA_CHAIN_NAME, filterTable)
		a.String(unix.NFTA_CHAIN_TYPE, "filter")
		nest(a, unix.NFTA_CHAIN_HOOK, func(a *netlink.AttributeEncoder) {
			a.Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(d))
			a.Uint32(unix.NFTA_HOOK_PRIORITY, 0)
		})
	}}
	rule := nftRequest{unix.NFT_MSG_NEWRULE, netlink.Create | netlink.Append, func(a *netlink.AttributeEncoder) {
		a.String(unix.NFTA_RULE_TABLE, filterTable)
		a.String(unix.NFTA_RULE_CHAIN, filterTable)
		nest(a, unix.NFTA_RULE_EXPRESSIONS, func(a *netlink.AttributeEncoder) {
			expression(a, "meta", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_META_DREG, unix.NFT_REG_1)
				a.Uint32(unix.NFTA_META_KEY, direction)
			})
			expression(a, "cmp", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_CMP_SREG, unix.NFT_REG_1)
				a.Uint32(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ)
				nest(a, unix.NFTA_CMP_DATA, func(a *netlink.AttributeEncoder) {
					name := make([]byte, unix.IFNAMSIZ)
					copy(name, iface)
					a.Bytes(unix.NFTA_DATA_VALUE, name)
				})
			})
			expression(a, "immediate", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
				nest(a, unix.NFTA_IMMEDIATE_DATA, func(a *netlink.AttributeEncoder) {
					nest(a, unix.NFTA_DATA_VERDICT, func(a *netlink.AttributeEncoder) {
						a.Uint32(unix.NFTA_VERDICT_CODE, 0) // NF_DROP
					})
				})
			})
		})
	}}
	switch err := n.nft(table, chain, rule); {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("%w: no nf_tables in the kernel: %w", ErrUnavailable, err)
	case err != nil:
		return nil, fmt.Errorf("packet filter of %s: %w", n.name, err)
	}
	return func() error {
		return n.nft(nftRequest{unix.NFT_MSG_DELTABLE, 0, func(a *netlink.AttributeEncoder) {
			a.String(unix.NFTA_TABLE_NAME, filterTable)
		}})
	}, nil
}

// nftRequest is a message of linux/netfilter/nf_tables.h.
type nftRequest struct {
	message netlink.HeaderType
	flags   netlink.HeaderFlags
	fill    func(*netlink.AttributeEncoder)
}

// nft sends requests as one transaction: all of them take effect or none.
func (n *Namespace) nft(requests ...nftRequest) error { return nft(n.FD(), requests...) }

// nft is Namespace.nft for the namespace with that descriptor. 0 means the namespace of
// the calling thread.
func nft(namespace int, requests ...nftRequest) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: namespace})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	// In the header (struct nfgenmsg) of the batch, the last field names the subsystem.
	// In the header of a request, the first field names the family.
	frame := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	batch := []netlink.Message{{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: frame}}
	for _, r := range requests {
		a := netlink.NewAttributeEncoder()
		a.ByteOrder = binary.BigEndian
		r.fill(a)
		attrs, err := a.Encode()
		if err != nil {
			return err
		}
		batch = append(batch, netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | r.message, Flags: netlink.Request | netlink.Acknowledge | r.flags},
			Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
		})
	}
	batch = append(batch, netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: frame})
	if _, err := c.SendMessages(batch); err != nil {
		return err
	}
	for answered := 0; answered < len(requests); {
		acks, err := c.Receive()
		if err != nil {
			return err
		}
		if len(acks) == 0 {
			return errors.New("no answer to a request")
		}
		answered += len(acks)
	}
	return nil
}

func nest(a *netlink.AttributeEncoder, kind uint16, fill func(*netlink.AttributeEncoder)) {
	a.Nested(kind, func(inner *netlink.AttributeEncoder) error {
		inner.ByteOrder = a.ByteOrder
		fill(inner)
		return nil
	})
}

// expression is an element of a rule.
func expression(a *netlink.AttributeEncoder, name string, fill func(*netlink.AttributeEncoder)) {
	nest(a, unix.NFTA_LIST_ELEM, func(a *netlink.AttributeEncoder) {
		a.String(unix.NFTA_EXPR_NAME, name)
		nest(a, unix.NFTA_EXPR_DATA, fill)
	})
}
