package mam

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// Resolver resolves names over one prefix, or over none in particular. It is
// safe for concurrent use.
type Resolver interface {
	// Lookup returns the addresses of host in the given family, at least one.
	// An error that wraps ErrNotFound means that the name, or an address of this family,
	// is known not to exist; any other that nothing could be found out.
	Lookup(ctx context.Context, host string, family policy.Family) (Result, error)
}

// ErrNotFound means that a resolver knows that there is no such name, or no
// address of the family asked for.
var ErrNotFound = errors.New("no such name")

// NameRouter is a Resolver that asks others for some names.
type NameRouter interface {
	// For returns who is asked for a name, and the domain that says so; nil if it is the
	// Resolver itself.
	For(host string) (other Resolver, domain string)
}

// Result is what a Resolver found.
type Result struct {
	Addrs     []netip.Addr // in the order to try them
	Canonical string       // canonical name; "" if unknown
}

// Flow is a connection to be opened, as far as routing may depend on it.
type Flow struct {
	Dst  netip.Addr // an IPv6 zone counts
	User uint32
	// UserUnknown tells that User is not known: where routing depends on it, nothing
	// leads to the destination.
	UserUnknown bool
	Transport   policy.Transport
	Port        uint16 // of the destination; 0: unknown
}

// Routes tells where the kernel's routes lead. It is safe for concurrent use and
// answers within microseconds.
type Routes interface {
	Reach(f Flow) Reach
}

// Reach is by which interfaces a destination can be reached. The zero value
// means any that leads to everywhere.
type Reach struct {
	// Specific tells that dst is reached other than most destinations are:
	// loopback and link-local destinations, the LAN, a container bridge, a split
	// tunnel. Then only Index and Others lead there; an Index of 0 is none.
	Specific bool
	Index    int
	Others   []int
	// Source is the address that the kernel would use by Index; invalid if unknown.
	Source netip.Addr
	// Not are interfaces, and NotFrom in the same order the first addresses, of prefixes
	// from which nothing is sent there, though their interfaces lead to it: it is refused to
	// them, or they find no route.
	Not     []int
	NotFrom []netip.Addr
}

// bars tells whether nothing would be sent from a prefix.
func (r *Reach) bars(p *policy.Prefix) bool {
	for i, index := range r.Not {
		if index == p.Index && r.NotFrom[i] == p.Addr() {
			return true
		}
	}
	return false
}

// Via tells whether the interface with this index leads there.
func (r Reach) Via(index int) bool {
	if !r.Specific {
		return true
	}
	return r.Index == index && index != 0 || slices.Contains(r.Others, index)
}

// Extent is how far a prefix leads.
type Extent uint8

// The extents.
const (
	Everywhere Extent = iota
	OwnLink           // to its own network, and where routes lead from there
	Nowhere           // its host's administrator has forbidden its use
)

// Destinations tells what was measured between a prefix and the network of a
// destination; the zero PathStats is "nothing". It must answer at once.
type Destinations interface {
	Destination(policy.PrefixID, netip.Addr) policy.PathStats
}

// Connections tells how many live connections of those who ask there are on a prefix.
// It is safe for concurrent use, and must answer at once.
type Connections interface {
	// Count returns the figures of prefixes for app, whose user is known. It appends
	// them to buf, one for each; none if nothing is known.
	Count(buf []policy.Connections, prefixes []*policy.Prefix, app policy.App) []policy.Connections
}

// Told is what is known of a prefix besides what the kernel says and what is measured, and who
// says so. The zero value is nothing.
type Told struct {
	// Cost and Resolvers say where the prefix's cost and its own resolvers come from; ""
	// is that nobody says what it costs, and that it has none.
	Cost, Resolvers string
	Facts           []Fact
}

// Fact is one thing that a service of the host says.
type Fact struct {
	Name, Value, Source string
	Overruled           bool // the configuration says something else, or the same
}

// View is what decisions are made on: one state of networks, measurements,
// policy and resolvers. It must not be changed once it is published.
type View struct {
	Time time.Time
	// Epoch is that of the host's networks and of the configuration: Views of the same
	// differ by what was measured and by what works only. It matters to leases.
	Epoch uint64
	// Prefixes are the managed prefixes, usable or not, in prefix-list order.
	Prefixes []*policy.Prefix
	// Runner is the policy; nil for none, then requests are echoed.
	Runner *Runner
	// PolicyFile and PolicySettings are where the policy comes from, "" if it is
	// compiled in, and what it was made with; for people.
	PolicyFile     string
	PolicySettings []policy.Setting
	// Fresh makes another instance of the policy as configured, for Explain, so
	// that hypothetical requests leave no trace in the one that decides. It may
	// be nil, and is safe for concurrent use.
	Fresh func() (policy.Policy, error)
	// Routes narrow the candidates to those that reach a destination; nil: all do.
	Routes Routes
	// Destinations has figures of single destinations' networks; nil: none.
	Destinations Destinations
	// Connections counts those of users and programs; nil: nobody does.
	Connections Connections
	// Devices names for each prefix the interface that a socket must be bound
	// to (SO_BINDTODEVICE) so that its packets leave by it. Prefixes for which
	// the source address alone is enough are absent.
	Devices map[policy.PrefixID]string
	// AltNames are further names of interfaces (ip-link(8), "altname"), by their name.
	AltNames map[string][]string
	// Extents are of those prefixes that do not lead to everywhere.
	Extents map[policy.PrefixID]Extent
	// Avoid lists, by user id, prefixes that this user is not offered unless
	// nothing else is left: its own connects fail there, which is no reason to
	// keep others away.
	Avoid map[uint32][]policy.PrefixID
	// AvoidMetered offers prefixes that cost something only if no cheaper one is
	// left.
	AvoidMetered bool
	// NoMultipath tells that this host has no MPTCP, or has it switched off.
	// Clients that could not fall back are not told to use it then.
	NoMultipath bool
	// Local tells whether an address is one of this host's, so that idle sockets
	// of addresses that are gone are not used again; nil: all are.
	Local func(netip.Addr) bool
	// Configured tells whether the host has an address of a family, other than 127.0.0.1
	// and ::1; nil: of both. It is for requests with AI_ADDRCONFIG.
	Configured func(policy.Family) bool
	// Resolvers are those of the prefixes that have one of their own; Resolver
	// is the one for everything else, and may be nil.
	Resolvers map[policy.PrefixID]Resolver
	Resolver  Resolver
	// Zone gives the index of the interface that an IPv6 zone names, if there is
	// one; nil: there is none of any name.
	Zone func(name string) (index int, ok bool)
	// Told is what other services of the host say of prefixes, for people.
	Told map[policy.PrefixID]Told
	// NameServers are the prefixes whose name server has this address. What is
	// sent there on a port of DNS leaves by one of them: a server of an access
	// network answers to nobody else.
	NameServers map[netip.Addr][]policy.PrefixID

	// usable are, by family, the prefixes that are not down; offered are those of them
	// that cost least where that matters, else the same. Made by prepare.
	usable, offered [3][]*policy.Prefix
	// generations are those of the prefixes; set when it is published.
	generations map[policy.PrefixID]wire.Generation
}

// prepare fills in what is derived: candidates are the prefixes that are not
// down; only where none is left in a family, those that are.
func (v *View) prepare() {
	for _, f := range []policy.Family{policy.IPv4, policy.IPv6} {
		var usable, all []*policy.Prefix
		for _, p := range v.Prefixes {
			if p.Family() != f || len(p.Addrs) == 0 || v.Extents[p.ID] == Nowhere {
				continue
			}
			all = append(all, p)
			if p.Health.State != policy.Down {
				usable = append(usable, p)
			}
		}
		if len(usable) == 0 {
			usable = all
		}
		v.usable[f] = usable
		v.usable[policy.Unspecified] = append(v.usable[policy.Unspecified], usable...)
	}
	for f := range v.usable {
		v.offered[f] = v.usable[f]
		if v.AvoidMetered {
			v.offered[f] = cheapest(nil, v.usable[f])
		}
	}
}

// cheapest returns those of list with the lowest cost. buf, which may be list,
// takes the result.
func cheapest(buf, list []*policy.Prefix) []*policy.Prefix {
	if len(list) == 0 {
		return list
	}
	least := list[0].Cost
	for _, p := range list {
		least = min(least, p.Cost)
	}
	buf = buf[:0]
	for _, p := range list {
		if p.Cost == least {
			buf = append(buf, p)
		}
	}
	return buf
}

// reach looks up where flow can go; anywhere if its destination is not known.
func (v *View) reach(flow Flow) Reach {
	if !flow.Dst.IsValid() || v.Routes == nil {
		return Reach{}
	}
	return v.Routes.Reach(flow)
}

// candidates returns the prefixes of a family that a user is offered towards
// dst, which may be invalid for "anywhere". buf is used where a list has to be
// made.
func (v *View) candidates(buf []*policy.Prefix, f policy.Family, dst netip.Addr, reach Reach, uid uint32) []*policy.Prefix {
	ids := v.Avoid[uid]
	if len(ids) == 0 {
		return v.reaching(buf, v.offered[f], dst, reach)
	}
	// What fails counts for more than what costs.
	list := avoid(buf, v.reaching(buf, v.usable[f], dst, reach), ids)
	if v.AvoidMetered {
		list = cheapest(buf, list)
	}
	return list
}

// reaching returns those of all that reach dst.
func (v *View) reaching(buf, all []*policy.Prefix, dst netip.Addr, reach Reach) []*policy.Prefix {
	if !reach.Specific && len(reach.Not) == 0 && len(v.Extents) == 0 {
		return all
	}
	buf = buf[:0]
	for _, p := range all {
		if v.leads(p, dst, reach) {
			buf = append(buf, p)
		}
	}
	if len(buf) == 0 && !dst.IsValid() {
		return all // perhaps the destination is on one of the links
	}
	return buf
}

// Ports of DNS (RFC 1035 section 4.2) and of DNS over TLS (RFC 7858 section 3.1).
const (
	portDNS        = 53
	portDNSOverTLS = 853
)

// serving returns the usable prefixes whose name server is asked at a port of dst,
// none if dst is no name server.
func (v *View) serving(f policy.Family, dst netip.Addr, port uint16, reach Reach) []*policy.Prefix {
	ids := v.NameServers[dst]
	if len(ids) == 0 || port != portDNS && port != portDNSOverTLS {
		return nil
	}
	var list []*policy.Prefix
	for _, p := range v.reaching(nil, v.usable[f], dst, reach) {
		if slices.Contains(ids, p.ID) {
			list = append(list, p)
		}
	}
	return list
}

// leads tells whether p can be used towards dst.
func (v *View) leads(p *policy.Prefix, dst netip.Addr, reach Reach) bool {
	if reach.bars(p) {
		return false
	}
	switch v.Extents[p.ID] {
	case Nowhere:
		return false
	case OwnLink:
		if !reach.Specific || !p.Contains(dst) && !slices.Contains(p.Addrs, reach.Source) {
			return false
		}
	case Everywhere:
	}
	if !reach.Specific {
		return true
	}
	// Of several networks on the link that leads there the destination is in, or
	// behind, that of the kernel's own choice, be it managed or not.
	if reach.Source.IsValid() && p.Index == reach.Index && !slices.Contains(p.Addrs, reach.Source) {
		return false
	}
	return reach.Via(p.Index)
}

// avoid takes those with the given IDs out of list, unless none would be left of
// a family. buf, which may be list, takes the result.
func avoid(buf, list []*policy.Prefix, ids []policy.PrefixID) []*policy.Prefix {
	left := [3]bool{}
	for _, p := range list {
		left[p.Family()] = left[p.Family()] || !slices.Contains(ids, p.ID)
	}
	buf = buf[:0]
	for _, p := range list {
		if !left[p.Family()] || !slices.Contains(ids, p.ID) {
			buf = append(buf, p)
		}
	}
	return buf
}

// standIn is what is used in place of a default prefix that would lead to dst
// and is kept back from list: the first candidate that nothing speaks against.
func (v *View) standIn(list []*policy.Prefix, f policy.Family, dst netip.Addr, reach Reach) *policy.Prefix {
	if len(list) == 0 || slices.ContainsFunc(list, func(p *policy.Prefix) bool { return p.Default }) {
		return nil
	}
	for _, p := range v.Prefixes {
		if !p.Default || f != policy.Unspecified && p.Family() != f || len(p.Addrs) == 0 || !v.leads(p, dst, reach) {
			continue
		}
		for _, q := range list {
			if q.Health.State == policy.Up {
				return q
			}
		}
		return list[0]
	}
	return nil
}

// dead tells that a connection from a local address cannot be expected to work:
// its prefix is down or avoided by the user, or the address is gone.
func (v *View) dead(local netip.Addr, p *policy.Prefix, uid uint32) bool {
	if p == nil {
		return v.Local != nil && local.IsValid() && !v.Local(local)
	}
	return p.Health.State == policy.Down || slices.Contains(v.Avoid[uid], p.ID) ||
		v.Local != nil && !v.Local(local)
}

// prefixOf returns the prefix that a lies in, nil if none.
func (v *View) prefixOf(a netip.Addr) *policy.Prefix {
	if !a.IsValid() {
		return nil
	}
	a = a.Unmap()
	for _, p := range v.Prefixes {
		if p.Contains(a) {
			return p
		}
	}
	return nil
}

// resolverOf returns the resolver of p, and whether it is p's own rather than
// the default one.
func (v *View) resolverOf(p *policy.Prefix) (r Resolver, own bool) {
	if p != nil {
		if r, own = v.Resolvers[p.ID]; own {
			return r, true
		}
	}
	return v.Resolver, false
}
