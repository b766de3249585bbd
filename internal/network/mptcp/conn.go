package mptcp

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// The family (MPTCP_PM_NAME and so on).
const (
	familyName  = "mptcp_pm"
	eventsGroup = "mptcp_pm_events"
	version     = 1
)

// Commands (MPTCP_PM_CMD_*).
const (
	cmdAddEndpoint = iota + 1
	cmdDelEndpoint
	cmdGetEndpoint
	cmdFlushEndpoints
	cmdSetLimits
	cmdGetLimits
	cmdSetFlags
	cmdAnnounce
	cmdRemove
	cmdCreateSubflow
	cmdDestroySubflow
)

// Attributes of requests (MPTCP_PM_ATTR_*).
const (
	attrAddr = iota + 1
	attrAddAddrs
	attrSubflows
	attrToken
	attrLocalID
	attrRemoteAddr
)

// Token identifies an MPTCP connection on this host while it lasts.
type Token uint32

func (t Token) String() string { return fmt.Sprintf("%08x", uint32(t)) }

// Conn makes requests to the path manager. It is safe for concurrent use.
type Conn struct {
	c      *genetlink.Conn
	family genetlink.Family
}

// Dial opens a Conn.
func Dial() (*Conn, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	return newConn(c)
}

func dial() (*genetlink.Conn, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	// Without this option the kernel's errors are bare numbers. Kernels before 4.12 do
	// not know the option.
	_ = c.SetOption(netlink.ExtendedAcknowledge, true)
	return c, nil
}

func newConn(c *genetlink.Conn) (*Conn, error) {
	f, err := c.GetFamily(familyName)
	if err != nil {
		_ = c.Close()
		if errors.Is(err, os.ErrNotExist) {
			return nil, featureFamily.missing(nil)
		}
		return nil, explain("look up "+familyName, featureFamily, err)
	}
	return &Conn{c: c, family: f}, nil
}

// Close closes the Conn. Endpoints and subflows that were made with it remain in the
// kernel.
func (c *Conn) Close() error { return c.c.Close() }

// request sends a command and returns the answers. If the kernel does not know the
// command, the error says that it lacks f.
func (c *Conn) request(doing string, f feature, command uint8, flags netlink.HeaderFlags, fill func(*netlink.AttributeEncoder)) ([]genetlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	if fill != nil {
		fill(ae)
	}
	data, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	answers, err := c.c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: command, Version: version}, Data: data,
	}, c.family.ID, netlink.Request|flags)
	return answers, explain(doing, f, err)
}

// do sends a command whose only answer is an acknowledgement.
func (c *Conn) do(doing string, f feature, command uint8, fill func(*netlink.AttributeEncoder)) error {
	_, err := c.request(doing, f, command, netlink.Acknowledge, fill)
	return err
}

// Endpoints lists the endpoints of the in-kernel path manager.
func (c *Conn) Endpoints() ([]Endpoint, error) {
	const doing = "list MPTCP endpoints"
	answers, err := c.request(doing, featureManagement, cmdGetEndpoint, netlink.Dump, nil)
	if err != nil {
		return nil, err
	}
	var list []Endpoint
	for _, m := range answers {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		var e Endpoint
		for ad.Next() {
			if ad.Type() == attrAddr {
				ad.Nested(e.decode)
			}
		}
		if err := ad.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		list = append(list, e)
	}
	return list, nil
}

// AddEndpoint adds an endpoint. The in-kernel path manager uses it for existing
// connections too. No endpoint may have its Addr already. If the ID is 0, the kernel
// chooses one.
func (c *Conn) AddEndpoint(e Endpoint) error {
	return c.do("add MPTCP endpoint "+e.Addr.String(), featureManagement, cmdAddEndpoint, func(ae *netlink.AttributeEncoder) {
		e.encode(ae, attrAddr)
	})
}

// DeleteEndpoint deletes the endpoint with this ID, and the subflows from its address.
// Since Linux 6.12 that includes first subflows.
func (c *Conn) DeleteEndpoint(id uint8) error {
	return c.do(fmt.Sprintf("delete MPTCP endpoint %d", id), featureManagement, cmdDelEndpoint, func(ae *netlink.AttributeEncoder) {
		Endpoint{ID: id}.encode(ae, attrAddr)
	})
}

// FlushEndpoints deletes all endpoints, also those that other programs have added.
func (c *Conn) FlushEndpoints() error {
	return c.do("flush MPTCP endpoints", featureManagement, cmdFlushEndpoints, nil)
}

// SetFlags sets or clears FlagBackup and FlagFullmesh of the endpoint with e.ID, and of
// its subflows. The other flags cannot be changed, and must have their present values.
func (c *Conn) SetFlags(e Endpoint) error {
	return c.do(fmt.Sprintf("change MPTCP endpoint %d", e.ID), featureFlags, cmdSetFlags, func(ae *netlink.AttributeEncoder) {
		Endpoint{ID: e.ID, Addr: e.Addr, Flags: e.Flags}.encode(ae, attrAddr)
	})
}

// Limits reads the limits of the in-kernel path manager.
func (c *Conn) Limits() (Limits, error) {
	const doing = "read MPTCP limits"
	answers, err := c.request(doing, featureManagement, cmdGetLimits, 0, nil)
	if err != nil {
		return Limits{}, err
	}
	var l Limits
	for _, m := range answers {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return Limits{}, fmt.Errorf("%s: %w", doing, err)
		}
		for ad.Next() {
			switch ad.Type() {
			case attrAddAddrs:
				l.AddAddrs = ad.Uint32()
			case attrSubflows:
				l.Subflows = ad.Uint32()
			}
		}
		if err := ad.Err(); err != nil {
			return Limits{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
	return l, nil
}

// SetLimits sets the limits of the in-kernel path manager.
func (c *Conn) SetLimits(l Limits) error {
	return c.do("set MPTCP limits", featureManagement, cmdSetLimits, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(attrAddAddrs, l.AddAddrs)
		ae.Uint32(attrSubflows, l.Subflows)
	})
}

// The methods below are for a path manager in user space. The kernel refuses them for
// connections that its own path manager handles.

// Announce announces a local address to the peer of a connection (ADD_ADDR).
// e.ID must not be 0, and FlagSignal is added.
func (c *Conn) Announce(t Token, e Endpoint) error {
	e.Flags |= FlagSignal
	return c.do(fmt.Sprintf("announce %v on MPTCP connection %v", e.Addr, t), featureUserspace, cmdAnnounce, func(ae *netlink.AttributeEncoder) {
		e.encode(ae, attrAddr)
		ae.Uint32(attrToken, uint32(t))
	})
}

// Remove tells the peer that a local address is gone (REMOVE_ADDR), so that the peer
// gives up the subflows to it. The id 0 means the address of the first subflow (Linux
// 6.8). The subflows remain on this side until the caller destroys them.
func (c *Conn) Remove(t Token, id uint8) error {
	return c.do(fmt.Sprintf("remove address %d of MPTCP connection %v", id, t), featureUserspace, cmdRemove, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(attrToken, uint32(t))
		ae.Uint8(attrLocalID, id)
	})
}

// CreateSubflow opens a subflow from a local address to one of the peer's. local.ID
// must not be 0, and must be the same for all of the connection's subflows from that
// address. Of the flags only FlagBackup counts. An event tells whether the subflow is
// established or has failed.
func (c *Conn) CreateSubflow(t Token, local Endpoint, remote netip.AddrPort) error {
	return c.do(fmt.Sprintf("open subflow from %v to %v on MPTCP connection %v", local.Addr, remote, t),
		featureUserspace, cmdCreateSubflow, func(ae *netlink.AttributeEncoder) {
			local.encode(ae, attrAddr)
			ae.Uint32(attrToken, uint32(t))
			endpointOf(remote).encode(ae, attrRemoteAddr)
		})
}

// DestroySubflow closes the subflow between two addresses, which must have the form in
// which the kernel shows them.
func (c *Conn) DestroySubflow(t Token, local, remote netip.AddrPort) error {
	return c.do(fmt.Sprintf("close subflow from %v to %v on MPTCP connection %v", local, remote, t),
		featureUserspace, cmdDestroySubflow, func(ae *netlink.AttributeEncoder) {
			endpointOf(local).encode(ae, attrAddr)
			ae.Uint32(attrToken, uint32(t))
			endpointOf(remote).encode(ae, attrRemoteAddr)
		})
}

// SetSubflowFlags sets or clears FlagBackup of one subflow, here and at the peer
// (MP_PRIO).
func (c *Conn) SetSubflowFlags(t Token, local, remote netip.AddrPort, flags Flags) error {
	return c.do(fmt.Sprintf("change subflow from %v to %v on MPTCP connection %v", local, remote, t),
		featureUserspace, cmdSetFlags, func(ae *netlink.AttributeEncoder) {
			e := endpointOf(local)
			e.Flags = flags
			e.encode(ae, attrAddr)
			ae.Uint32(attrToken, uint32(t))
			endpointOf(remote).encode(ae, attrRemoteAddr)
		})
}

func endpointOf(a netip.AddrPort) Endpoint { return Endpoint{Addr: a.Addr(), Port: a.Port()} }
