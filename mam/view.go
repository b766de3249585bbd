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
	// Lookup returns at least one address of host in the given family. If the error
	// wraps ErrNotFound, the name is known not to exist, or to have no address of this
	// family. Any other error means that nothing could be found out.
	Lookup(ctx context.Context, host string, family policy.Family) (Result, error)
}

// ErrNotFound is what a Resolver wraps if it knows that the name does not exist, or has
// no address of the requested family.
var ErrNotFound = errors.New("no such name")

// NameRouter is a Resolver that passes some names on to other resolvers.
type NameRouter interface {
	// For returns the resolver that a name is passed on to, and the domain that causes
	// this. It returns nil if the NameRouter itself looks the name up.
	For(host string) (other Resolver, domain string)
}

// Result is what a Resolver has found.
type Result struct {
	Addrs     []netip.Addr // in the order in which to try them
	Canonical string       // canonical name; "" if unknown
}

// Flow describes a connection to be opened, with all that a route may depend on.
type Flow struct {
	Dst  netip.Addr // may have an IPv6 zone, which matters
	User uint32
	// UserUnknown tells that User has no meaning. If routing depends on the user, no
	// interface then leads to the destination.
	UserUnknown bool
	Transport   policy.Transport
	Port        uint16 // of the destination; 0: unknown
}

// Routes tells where the kernel's routes lead. Implementations are safe for concurrent
// use and answer within microseconds.
type Routes interface {
	Reach(f Flow) Reach
}

// Reach names the interfaces by which a destination can be reached. The zero value
// means every interface that leads to everywhere.
type Reach struct {
	// Specific tells that a route of its own leads to dst, as for loopback and
	// link-local destinations, the LAN, a container bridge or a split tunnel. Then only
	// Index and Others lead there; an Index of 0 means no interface.
	Specific bool
	Index    int
	Others   []int
	// Source is the address that the kernel would use on interface Index; invalid if
	// unknown.
	Source netip.Addr
	// Not and NotFrom name prefixes that cannot send to the destination, although their
	// interfaces lead there: a rule refuses them, or they find no route. Not[i] is the
	// prefix's interface and NotFrom[i] its first address.
	Not     []int
	NotFrom []netip.Addr
}

// bars tells whether p is one of the prefixes in Not and NotFrom.
func (r *Reach) bars(p *policy.Prefix) bool {
	for i, index := range r.Not {
		if index == p.Index && r.NotFrom[i] == p.Addr() {
			return true
		}
	}
	return false
}

// Via tells whether the interface with this index leads to the destination.
func (r Reach) Via(index int) bool {
	if !r.Specific {
		return true
	}
	return r.Index == index && index != 0 || slices.Contains(r.Others, index)
}

// Extent says how far a prefix leads.
type Extent uint8

// The extents.
const (
	Everywhere Extent = iota
	OwnLink           // to its own network and to destinations with a specific route over it
	Nowhere           // the host's administrator has forbidden its use
)

// Destinations returns what was measured between a prefix and the destination's
// network. The zero PathStats means that nothing was. Implementations must answer at
// once.
type Destinations interface {
	Destination(policy.PrefixID, netip.Addr) policy.PathStats
}

// Reports knows what programs have reported of their own datagrams. Implementations are
// safe for concurrent use and must answer at once.
type Reports interface {
	// With returns the figures of a destination over a prefix for a user: those that were
	// measured, together with those that programs of this user have reported.
	With(measured policy.PathStats, uid uint32, over policy.PrefixID, destination netip.Addr) policy.PathStats
}

// Connections tells how many live connections on a prefix belong to the application
// that asks. Implementations are safe for concurrent use and must answer at once.
type Connections interface {
	// Count returns one entry for each of the prefixes, for app, whose user must be
	// known. Count appends them to buf. It appends nothing if nothing is known.
	Count(buf []policy.Connections, prefixes []*policy.Prefix, app policy.App) []policy.Connections
}

// Told is what services of the host say about a prefix, and which service says it. It
// does not cover what the kernel says or what is measured. The zero value means that no
// service says anything.
type Told struct {
	// Cost and Resolvers name the services that the prefix's cost and its own resolvers
	// come from. Cost is "" if nobody states a cost, Resolvers if the prefix has no
	// resolvers of its own.
	Cost, Resolvers string
	Facts           []Fact
}

// Fact is one statement of a service of the host.
type Fact struct {
	Name, Value, Source string
	Overruled           bool // the configuration decides this matter, differently or alike
	Measured            bool // a figure that changes all the time, such as a signal's strength
}

// View is the state that decisions are made on: networks, measurements, policy and
// resolvers at one moment. A View must not be changed once it is published.
type View struct {
	Time time.Time
	// Epoch changes with the host's networks and the configuration. Two Views of one
	// Epoch differ only in measurements, health, NoMultipath and what is shown to people,
	// so that leases may outlive the change.
	Epoch uint64
	// Prefixes are the managed prefixes, usable or not, in prefix-list order.
	Prefixes []*policy.Prefix
	// Runner calls the policy. If it is nil, there is no policy, and requests are
	// echoed.
	Runner *Runner
	// PolicyFile is the plugin that the policy was loaded from, "" if the policy is
	// compiled in. PolicySettings are the settings that the policy was made with. Both
	// are for people.
	PolicyFile     string
	PolicySettings []policy.Setting
	// Fresh makes another instance of the configured policy. Explain needs one, so that
	// hypothetical requests leave no trace in the policy in charge. Fresh may be nil,
	// and is safe for concurrent use.
	Fresh func() (policy.Policy, error)
	// Routes narrows the candidates to those that reach a destination. If it is nil,
	// all of them do.
	Routes Routes
	// Destinations has measurements for single destinations' networks. It may be nil.
	Destinations Destinations
	// Reports adds to Destinations what was reported. It may be nil.
	Reports Reports
	// Connections counts the connections of users and programs. It may be nil.
	Connections Connections
	// Devices names the interface that a prefix's sockets must be bound to
	// (SO_BINDTODEVICE), so that packets leave by that interface. Prefixes whose source
	// address alone is enough are absent.
	Devices map[policy.PrefixID]string
	// AltNames lists further names of an interface (ip-link(8), "altname"), by its
	// first name.
	AltNames map[string][]string
	// Extents holds the prefixes that do not lead to everywhere.
	Extents map[policy.PrefixID]Extent
	// Avoid lists, by user id, the prefixes on which this user's own connects fail. The
	// user is offered them only if nothing else is left. Other users may still use
	// them.
	Avoid map[uint32][]policy.PrefixID
	// AvoidMetered tells to offer only the cheapest usable prefixes.
	AvoidMetered bool
	// NoMultipath tells that this host lacks MPTCP, or has it switched off. Clients
	// that cannot fall back to TCP are then not told to use MPTCP.
	NoMultipath bool
	// Local tells whether an address belongs to this host. Idle sockets with other
	// addresses are not used again. If Local is nil, every address counts as local.
	Local func(netip.Addr) bool
	// Configured tells whether the host has an address of a family other than 127.0.0.1
	// and ::1. Requests with AI_ADDRCONFIG need this. If Configured is nil, the host
	// has both families.
	Configured func(policy.Family) bool
	// Resolvers holds the resolvers of prefixes that have their own. Resolver is the
	// default for all others, and may be nil.
	Resolvers map[policy.PrefixID]Resolver
	Resolver  Resolver
	// Zone returns the index of the interface that an IPv6 zone names, and whether
	// there is one. If Zone is nil, no name is known.
	Zone func(name string) (index int, ok bool)
	// Told is what services of the host say about prefixes. It is shown to people.
	Told map[policy.PrefixID]Told
	// NameServers lists, by address of a name server, the prefixes that use this
	// server. Traffic to the server's DNS ports leaves by one of them if one can be
	// used, because an access network's server answers only its own customers.
	NameServers map[netip.Addr][]policy.PrefixID

	// usable lists the prefixes that are not down, by family. offered is usable,
	// narrowed to the cheapest ones if AvoidMetered is set. prepare fills in both.
	usable, offered [3][]*policy.Prefix
	// generations holds the prefixes' generations, set when the View is published.
	generations map[policy.PrefixID]wire.Generation
}

// prepare fills in the derived lists. The candidates of a family are its prefixes that
// are not down. If all of them are down, all are candidates.
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

// cheapest returns the prefixes of list with the lowest cost. It writes the result to
// buf, which may be list.
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

// reach returns where flow can go. If the destination is unknown, that is everywhere.
func (v *View) reach(flow Flow) Reach {
	if !flow.Dst.IsValid() || v.Routes == nil {
		return Reach{}
	}
	return v.Routes.Reach(flow)
}

// candidates returns the prefixes of family f that a user is offered towards dst. An
// invalid dst stands for any destination. If a new list is needed, buf is used for it.
func (v *View) candidates(buf []*policy.Prefix, f policy.Family, dst netip.Addr, reach Reach, uid uint32) []*policy.Prefix {
	ids := v.Avoid[uid]
	if len(ids) == 0 {
		return v.reaching(buf, v.offered[f], dst, reach)
	}
	// A prefix that fails is worse than one that costs, so avoid comes before cheapest.
	list := avoid(buf, v.reaching(buf, v.usable[f], dst, reach), ids)
	if v.AvoidMetered {
		list = cheapest(buf, list)
	}
	return list
}

// reaching returns the prefixes of all that reach dst.
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
		return all // the unknown destination may be on one of the links
	}
	return buf
}

// Ports of DNS (RFC 1035 section 4.2) and of DNS over TLS (RFC 7858 section 3.1).
const (
	portDNS        = 53
	portDNSOverTLS = 853
)

// serving returns the usable prefixes that use dst as their name server. It returns nil
// if dst is not a name server, or port is not one of DNS.
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

// leads tells whether traffic to dst can use p.
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
	// Several networks may share the link that leads to dst. The destination then
	// belongs to the network that the kernel's own choice of source address is in, even
	// if that network is not managed.
	if reach.Source.IsValid() && p.Index == reach.Index && !slices.Contains(p.Addrs, reach.Source) {
		return false
	}
	return reach.Via(p.Index)
}

// avoid removes the prefixes with the given IDs from list, unless a family would have
// none left. It writes the result to buf, which may be list.
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

// standIn returns a replacement if the kernel's default prefix leads to dst but is not
// in list. The replacement is the first healthy candidate, else the first one. standIn
// returns nil if no replacement is needed.
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

// dead tells whether a connection from a local address has little chance to work: its
// prefix is down, this user avoids it, or the host has lost the address.
func (v *View) dead(local netip.Addr, p *policy.Prefix, uid uint32) bool {
	if p == nil {
		return v.Local != nil && local.IsValid() && !v.Local(local)
	}
	return p.Health.State == policy.Down || slices.Contains(v.Avoid[uid], p.ID) ||
		v.Local != nil && !v.Local(local)
}

// prefixOf returns the prefix that contains a, nil if none does.
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

// resolverOf returns the resolver to use for p. The result own tells whether the
// resolver is p's own rather than the default.
func (v *View) resolverOf(p *policy.Prefix) (r Resolver, own bool) {
	if p != nil {
		if r, own = v.Resolvers[p.ID]; own {
			return r, true
		}
	}
	return v.Resolver, false
}
