package testbed

import (
	"errors"
	"fmt"
	"net/netip"
)

// plan fills in the descriptions of the networks and checks them.
func plan(networks []NetworkConfig) ([]NetworkConfig, error) {
	if len(networks) > 60 {
		return nil, fmt.Errorf("%d networks: at most 60", len(networks))
	}
	var plans []NetworkConfig
	for i, p := range networks {
		if p.Name == "" {
			p.Name = fmt.Sprintf("net%d", i)
		}
		if !p.Prefix4.IsValid() && !p.Prefix6.IsValid() {
			p.Prefix4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i + 1), 0, 2}), 24)
			p.Prefix6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(i + 1), 15: 2}), 64)
		}
		if p.Metric == 0 {
			p.Metric = 100 * (i + 1)
		}
		if p.MTU == 0 {
			p.MTU = 1500
		}
		var err4, err6 error
		p.Prefix4, err4 = clientPrefix(p.Prefix4, true)
		p.Prefix6, err6 = clientPrefix(p.Prefix6, false)
		if err := errors.Join(err4, err6); err != nil {
			return nil, fmt.Errorf("network %s: %w", p.Name, err)
		}
		for _, q := range plans {
			switch {
			case q.Name == p.Name:
				return nil, fmt.Errorf("two networks are named %s", p.Name)
			case q.Prefix4.Overlaps(p.Prefix4), q.Prefix6.Overlaps(p.Prefix6):
				return nil, fmt.Errorf("networks %s and %s overlap", q.Name, p.Name)
			}
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// clientPrefix returns a network's prefix with the client's address in it.
func clientPrefix(p netip.Prefix, want4 bool) (netip.Prefix, error) {
	if !p.IsValid() {
		return netip.Prefix{}, nil
	}
	gateway := gatewayOf(p)
	switch {
	case p.Addr().Is4() != want4 || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is of the other family", p)
	case !p.Contains(gateway.Next()):
		return netip.Prefix{}, fmt.Errorf("%s has no room for gateway and client", p)
	case p.Addr() == gateway:
		return netip.Prefix{}, fmt.Errorf("%s is the gateway's address", p)
	case p.Addr() == p.Masked().Addr():
		return netip.PrefixFrom(gateway.Next(), p.Bits()), nil
	}
	return p, nil
}

// gatewayOf returns the first address of a network, or the zero address if there is no
// network.
func gatewayOf(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	return p.Masked().Addr().Next()
}
