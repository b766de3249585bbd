package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// ErrCapability means that the process may not change routes.
var ErrCapability = errors.New("changing routes takes CAP_NET_ADMIN: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN")

// Kernel changes the routing tables and rules of a namespace. It is not safe for
// concurrent use.
type Kernel struct {
	log    *slog.Logger
	handle *netlink.Handle
	tables *oracle.Kernel
	conn   *mdnetlink.Conn // makes changes to routes
	wrote  func()          // for tests: called after each change; may be nil
}

// answerTime bounds the wait for an answer, which may have been lost.
const answerTime = 2 * time.Second

// Open opens the namespace with the given descriptor, or that of the calling thread if
// it is 0. Close does not remove what was added; Apply with an empty Plan does.
func Open(namespace int, log *slog.Logger) (*Kernel, error) {
	ns := netns.None()
	if namespace != 0 {
		ns = netns.NsHandle(namespace)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	if err := h.SetSocketTimeout(answerTime); err != nil {
		h.Close()
		return nil, fmt.Errorf("setting the rtnetlink timeout: %w", err)
	}
	t, err := oracle.Open(namespace)
	if err != nil {
		h.Close()
		return nil, err
	}
	c, err := mdnetlink.Dial(unix.NETLINK_ROUTE, &mdnetlink.Config{NetNS: namespace})
	if err != nil {
		h.Close()
		t.Close()
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	return &Kernel{log: log, handle: h, tables: t, conn: c}, nil
}

// Close releases what Open acquired.
func (k *Kernel) Close() {
	k.handle.Close()
	k.tables.Close()
	_ = k.conn.Close() // no error matters: nothing is being changed
}

// Capable tells whether this process may change routes.
func Capable() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// Apply makes the kernel have exactly the routes and rules of plan with our protocol
// number. It adds what is missing, then removes what is not wanted, and writes nothing
// else. It returns the number of changes. It goes on after errors, and joins them. An
// error that wraps ErrCapability means that nothing can be changed.
//
// When ctx ends, Apply stops after the present change and returns ctx's cause. Earlier
// changes stay, and the next Apply continues from there.
func (k *Kernel) Apply(ctx context.Context, plan Plan) (changes int, err error) {
	routes, err := k.routes()
	if err != nil {
		return 0, err
	}
	rules, err := k.readRules()
	if err != nil {
		return 0, err
	}
	p := pass{ctx: ctx, kernel: k}
	if err := p.objects(plan.Routes); err != nil {
		return 0, err
	}
	wanted := p.possible(plan.Routes)
	p.addRoutes(wanted, routes)
	p.addRules(plan.Rules, rules)
	p.removeRules(plan.Rules, rules)
	p.removeRoutes(wanted, routes)
	p.removeObjects()
	if p.changes > 0 {
		k.log.Info("routing changed", "changes", p.changes, "rules", len(plan.Rules), "routes", len(plan.Routes))
	}
	return p.changes, errors.Join(p.errs...)
}

// maxErrors bounds the errors that a pass reports, because often one cause stops all
// changes.
const maxErrors = 8

// pass is one run of Apply.
type pass struct {
	ctx     context.Context
	kernel  *Kernel
	changes int
	failed  int
	errs    []error
	over    bool // ctx has ended

	// Our next-hop objects, by what they lead to: those that exist, and those that are
	// wanted.
	present, wanted map[oracle.Hop]int
	noObjects       bool // the kernel does not know objects
}

// do makes a change, unless the pass is over.
func (p *pass) do(what string, v any, change func() error, harmless ...error) {
	if p.over {
		return
	}
	if p.ctx.Err() != nil {
		p.over = true
		p.errs = append(p.errs, context.Cause(p.ctx))
		return
	}
	err := change()
	switch {
	case err == nil:
		p.changes++
		if p.kernel.wrote != nil {
			p.kernel.wrote()
		}
	case slices.ContainsFunc(harmless, func(h error) bool { return errors.Is(err, h) }):
	case p.failed >= maxErrors:
	default:
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrCapability, err)
		}
		p.failed++
		p.errs = append(p.errs, fmt.Errorf("%s %+v: %w", what, v, err))
	}
}

func (r Rule) encode() *netlink.Rule {
	out := netlink.NewRule()
	out.Family = family(r.Source)
	out.Priority, out.Table, out.SuppressPrefixlen, out.Protocol = r.Priority, r.Table, r.Suppress, Protocol
	out.Src, out.OifName = ipNet(netip.PrefixFrom(r.Source, r.Source.BitLen())), r.Device
	return out
}

// routes lists our routes. The kernel itself selects them from tables that may hold a
// million routes of others.
func (k *Kernel) routes() ([]oracle.Route, error) {
	var out []oracle.Route
	for _, v6 := range []bool{false, true} {
		err := k.tables.Routes(oracle.Filter{V6: v6, Protocol: Protocol}, func(r *oracle.Route) bool {
			if r.Table >= FirstTable && r.Table <= LastTable { // other tables: a route only has our number by chance
				out = append(out, *r)
			}
			return true
		})
		// At worst an interrupted dump misses something. The change that interrupted it
		// leads to another call.
		if err != nil && !errors.Is(err, oracle.ErrInterrupted) {
			return nil, err
		}
	}
	return out, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
