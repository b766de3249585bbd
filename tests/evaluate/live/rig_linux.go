package live

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// Path describes a path.
type Path struct {
	Mbps float64 // to the client
	RTT  time.Duration
	// Queue is how long the longest queue takes to send; 0: 150 ms.
	Queue time.Duration
	// Loss is the share of packets to the client that are lost on the way, 0 to 1.
	Loss float64
}

// The common rules of doc/original/evaluation.md.
const (
	upMbps  = 20
	queue   = 150 * time.Millisecond
	control = "cubic"
)

// Jobs are those that an actor does for a Rig.
func Jobs() map[string]stage.Job {
	ctx := context.Background()
	kept := keeper{}
	return map[string]stage.Job{
		"warm":     stage.Typed(func(j WarmJob) (int64, error) { return Warm(ctx, j) }),
		"page":     stage.Typed(func(j PageJob) (Loaded, error) { return kept.loadPage(ctx, j) }),
		"messages": stage.Typed(func(j MessagesJob) (Messages, error) { return RunMessages(ctx, j) }),
		"video":    stage.Typed(func(j VideoJob) (Watched, error) { return Watch(ctx, j) }),
	}
}

// Rig is a client host with two emulated access networks.
type Rig struct {
	Actor *stage.Actor
	// Server is where programs load from, Secure the same over TLS.
	Server, Secure Server
	// MPTCP tells why the host has no MPTCP; nil if it has.
	MPTCP error

	bed     *testbed.Bed
	servers *servers
	daemons map[string]*stage.Daemon
	locals  []netip.Addr
}

// Policy is a policy that a Rig has a daemon for.
type Policy struct {
	Name     string // for people, unique
	Policy   string
	Settings string // in HCL
	// Only is the network that its daemon knows, the first is 1; 0: all.
	Only int
}

// NewRig makes one, with a daemon for each of the policies, by the given program,
// whose files are put below dir. The first path is the default one.
func NewRig(ctx context.Context, program, dir string, paths []Path, policies []Policy) (_ *Rig, err error) {
	config := testbed.Config{Congestion: control, Zone: pageHosts()}
	var blocks []string
	for i, p := range paths {
		down, up := shapes(p)
		config.Networks = append(config.Networks, testbed.NetworkConfig{
			Name: fmt.Sprintf("net%d", i+1), Prefix4: prefix(i), SourceRule: true, Emulate: &testbed.LinkConfig{Down: down, Up: up},
		})
		blocks = append(blocks, fmt.Sprintf("prefix %q {\n  default    = %v\n  nameserver = [%q]\n}\n", prefix(i).Masked(), i == 0, prefix(i).Masked().Addr().Next()))
	}
	r := &Rig{daemons: map[string]*stage.Daemon{}}
	if r.bed, err = testbed.New(config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	for _, n := range r.bed.Networks {
		r.locals = append(r.locals, n.Client4)
	}
	// The kernel must not use what it learnt about a destination in an earlier run.
	for _, n := range []*testbed.Namespace{r.bed.Client, r.bed.Service.Namespace} {
		if err := n.Sysctl("net.ipv4.tcp_no_metrics_save", "1"); err != nil {
			return nil, err
		}
	}
	if r.servers, err = serveHosts(r.bed.Service); err != nil {
		return nil, err
	}
	r.Server, r.Secure = r.servers.Server, r.servers.Secure
	r.MPTCP = r.bed.Client.Do(func() error { return joinNetworks(r.bed.Networks) })
	for _, p := range policies {
		text := strings.Join(blocks, "")
		if p.Only > 0 {
			text = strings.Replace(blocks[p.Only-1], "= false", "= true", 1)
		}
		d, err := stage.StartDaemon(ctx, r.bed.Client, program, dir, fileName(p.Name), fmt.Sprintf("policy %q {\n%s\n}\n%s", p.Policy, p.Settings, text))
		if err != nil {
			return nil, fmt.Errorf("daemon for %s: %w", p.Name, err)
		}
		r.daemons[p.Name] = d
	}
	r.Actor, err = stage.StartActor(r.bed.Client)
	return r, err
}

// joinNetworks lets MPTCP open subflows over all networks.
func joinNetworks(networks []*testbed.Network) error {
	c, err := mptcp.Dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetLimits(mptcp.Limits{Subflows: uint32(len(networks)), AddAddrs: uint32(len(networks))}); err != nil {
		return err
	}
	for _, n := range networks {
		if err := c.AddEndpoint(mptcp.Endpoint{Addr: n.Client4, Flags: mptcp.FlagSubflow, Index: n.Index}); err != nil {
			return err
		}
	}
	return nil
}

// Close ends everything.
func (r *Rig) Close() error {
	var errs []error
	if r.Actor != nil {
		errs = append(errs, r.Actor.Close())
	}
	for _, d := range r.daemons {
		errs = append(errs, d.Stop())
	}
	if r.servers != nil {
		errs = append(errs, r.servers.close())
	}
	if r.bed != nil {
		r.bed.Close()
	}
	return errors.Join(errs...)
}

// One is the way over one network alone, the first is 0.
func (r *Rig) One(n int) Way {
	return Way{Name: fmt.Sprintf("net %d", n+1), Kind: One, Net: n, Locals: r.locals}
}

// Asked is the way of the policy of that name, as Asked or New.
func (r *Rig) Asked(name string, kind Kind) Way {
	return Way{Name: name, Kind: kind, Socket: r.daemons[name].Socket, Locals: r.locals}
}

// Plain is a way without daemon, Two or First.
func (r *Rig) Plain(kind Kind, name string) Way { return Way{Name: name, Kind: kind, Locals: r.locals} }

// Warm loads each path for a while, so that measurements exist.
func (r *Rig) Warm(d time.Duration) error {
	for i := range r.locals {
		var bytes int64
		if err := r.Actor.Do("warm", WarmJob{r.One(i), r.Server.Address, d.Seconds()}, &bytes); err != nil {
			return err
		}
	}
	return nil
}

// Set changes a path.
func (r *Rig) Set(path int, p Path) error { return r.bed.Networks[path].Link.Set(shapes(p)) }

// Received returns how many bytes the client got over each network so far.
func (r *Rig) Received() []uint64 {
	var n []uint64
	for _, network := range r.bed.Networks {
		down, _ := network.Link.Counts()
		n = append(n, down.Bytes)
	}
	return n
}

func prefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i + 1), 0, 2}), 24)
}

func shapes(p Path) (down, up testbed.Shape) {
	shape := func(mbps, loss float64, longest time.Duration) testbed.Shape {
		return testbed.Shape{
			Rate: testbed.BitRate(mbps) * testbed.Mbit, Delay: p.RTT / 2, Loss: loss,
			Queue: int(mbps * 1e6 / 8 * longest.Seconds()),
		}
	}
	longest := p.Queue
	if longest == 0 {
		longest = queue
	}
	return shape(p.Mbps, p.Loss, longest), shape(upMbps, 0, queue)
}

func fileName(name string) string { return filepath.Base(filepath.Clean("/" + name)) }
