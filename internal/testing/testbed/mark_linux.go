package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// markTable is the name of the table and of its first chain. The mark is set in a
// second chain, as it is by real programs that set marks.
const (
	markTable = "testbed-mark"
	markChain = "sets-mark"
)

// Mark makes the namespace's packet filter (nftables) set a mark on all packets that
// the namespace sends, while their route can still change. The error wraps
// ErrUnavailable if the kernel has no nf_tables.
func (n *Namespace) Mark(mark uint32) error {
	if err := Mark(n.FD(), mark); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return nil
}

// Mark is Namespace.Mark for the namespace with that descriptor. 0 means the namespace
// of the calling thread.
func Mark(namespace int, mark uint32) error {
	chain := func(name string, more func(*netlink.AttributeEncoder)) nftRequest {
		return nftRequest{unix.NFT_MSG_NEWCHAIN, netlink.Create, func(a *netlink.AttributeEncoder) {
			a.String(unix.NFTA_CHAIN_TABLE, markTable)
			a.String(unix.NFTA_CHAIN_NAME, name)
			more(a)
		}}
	}
	rule := func(chain string, expressions func(*netlink.AttributeEncoder)) nftRequest {
		return nftRequest{unix.NFT_MSG_NEWRULE, netlink.Create | netlink.Append, func(a *netlink.AttributeEncoder) {
			a.String(unix.NFTA_RULE_TABLE, markTable)
			a.String(unix.NFTA_RULE_CHAIN, chain)
			nest(a, unix.NFTA_RULE_EXPRESSIONS, expressions)
		}}
	}
	err := nft(namespace,
		nftRequest{unix.NFT_MSG_NEWTABLE, netlink.Create, func(a *netlink.AttributeEncoder) { a.String(unix.NFTA_TABLE_NAME, markTable) }},
		chain(markTable, func(a *netlink.AttributeEncoder) {
			a.String(unix.NFTA_CHAIN_TYPE, "route")
			nest(a, unix.NFTA_CHAIN_HOOK, func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(Outgoing))
				a.Uint32(unix.NFTA_HOOK_PRIORITY, 0)
			})
		}),
		chain(markChain, func(*netlink.AttributeEncoder) {}),
		rule(markChain, func(a *netlink.AttributeEncoder) {
			expression(a, "immediate", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1)
				nest(a, unix.NFTA_IMMEDIATE_DATA, func(a *netlink.AttributeEncoder) { a.Bytes(unix.NFTA_DATA_VALUE, nativeBytes(mark)) })
			})
			expression(a, "meta", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_META_KEY, unix.NFT_META_MARK)
				a.Uint32(unix.NFTA_META_SREG, unix.NFT_REG_1)
			})
		}),
		rule(markTable, func(a *netlink.AttributeEncoder) {
			expression(a, "immediate", func(a *netlink.AttributeEncoder) {
				a.Uint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
				nest(a, unix.NFTA_IMMEDIATE_DATA, func(a *netlink.AttributeEncoder) {
					nest(a, unix.NFTA_DATA_VERDICT, func(a *netlink.AttributeEncoder) {
						a.Uint32(unix.NFTA_VERDICT_CODE, jump)
						a.String(unix.NFTA_VERDICT_CHAIN, markChain)
					})
				})
			})
		}),
	)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w: no nf_tables in the kernel: %w", ErrUnavailable, err)
	}
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

// jump is NFT_JUMP of linux/netfilter/nf_tables.h.
const jump = 1<<32 - 3

func nativeBytes(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
