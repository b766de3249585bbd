package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/process/httpserver"
	"github.com/socket-intents/mamma/internal/process/limits"
	"github.com/socket-intents/mamma/internal/process/service"
	"github.com/socket-intents/mamma/socks"
)

// Proxy is the SOCKS and HTTP server with all that it needs: settings that can be
// reloaded, listeners, the connection to mamma, metrics, and what was learnt.
type Proxy struct {
	options Options
	log     *slog.Logger

	server   *socks.Server
	metrics  *metrics
	mistakes *mistakes
	unknown  *undecided
	nameless *nameless
	kinds    *addrKinds
	senders  senders
	learner  *habits.Learner
	out      atomic.Pointer[outgoing]
	access   atomic.Bool // whether each request is logged

	mu        sync.Mutex // held for the length of a reload; guards the fields below
	settings  *settings
	managers  map[string]*client.Daemon // all managers asked since the start, by socket
	activated bool                      // the service manager passed on the listeners, and no others are opened
	listeners map[string]net.Listener   // by address as configured; without those passed on
	web       *http.Server              // serves the metrics; nil if they are not served
	webAddr   string                    // where web listens
	serving   sync.WaitGroup            // the goroutines of listeners and web
}

// New reads the configuration, for which it waits until ctx ends, and opens the listeners.
// The caller must call Run, which closes them.
func New(ctx context.Context, options Options, log *slog.Logger) (*Proxy, error) {
	p := &Proxy{options: options, log: log, listeners: map[string]net.Listener{}, managers: map[string]*client.Daemon{}}
	p.server = socks.New(socks.Config{})
	p.metrics = newMetrics(p.server.Conns, func() bool { return p.out.Load().manager.present() })
	p.mistakes = newMistakes(log, p.metrics.mistakes)
	p.unknown = newUndecided(log)
	p.nameless = newNameless(log, who)
	p.kinds = newAddrKinds(kindOf)
	c, err := options.load(ctx)
	if err != nil {
		return nil, err
	}
	p.learner = habits.New(c.learning)
	if c.learning.File != "" {
		if err := p.learner.Load(c.learning.File); err != nil {
			log.Warn("starting to learn anew", "err", err)
		}
	}
	handed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take the listeners that were handed in: %w", err)
	}
	for _, l := range handed {
		if l != nil {
			p.activated = true
			p.serve(l)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.adoptLocked(c); err != nil {
		p.closeLocked()
		return nil, err
	}
	return p, nil
}

// CheckManager says why the Multi Access Manager does not answer; nil if it does.
// The proxy works without an answer: the host's routes then choose the network.
func (p *Proxy) CheckManager(ctx context.Context) error { return p.out.Load().check(ctx) }

// Reload reads the configuration again. After an error the old settings stay.
func (p *Proxy) Reload(ctx context.Context) error {
	prompt, cancel := config.Promptly(ctx)
	defer cancel()
	c, err := p.options.load(prompt)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.adoptLocked(c)
}

// adoptLocked applies c to the clients that connect from now on. Steps that can fail
// come first, so that an error leaves the old settings in use.
func (p *Proxy) adoptLocked(c *settings) error {
	var auth socks.Authenticator
	if c.known != nil {
		auth = withoutIntents{c.known}
	}
	opened, err := p.openLocked(c)
	if err != nil {
		return err
	}
	if p.options.OnLog != nil {
		p.options.OnLog(c.logLevel, c.logFormat)
	}
	p.warn(c)
	if err := p.exposeLocked(c.metrics); err != nil {
		for _, l := range opened {
			_ = l.Close()
		}
		return err
	}
	p.access.Store(c.logAccess)
	p.learner.Configure(c.learning)
	learnt := p.learner
	if !c.learning.On {
		learnt = nil
	}
	choose := &chooser{header: c.header, rules: c.intents, learnt: learnt, ports: c.portIntents, who: who, identify: c.identify}
	manager := p.managers[c.socket]
	if manager == nil {
		manager = &client.Daemon{Path: c.socket} // "" stands for the usual places
		p.managers[c.socket] = manager
	}
	out := newOutgoing(manager, choose, p.mistakes.note, p.log)
	if old := p.out.Swap(out); old != nil {
		out.manager.begin(old.manager.present())
		if last := old.dialer.Daemon; last != manager {
			_ = last.Close()
		}
	}
	p.server.Reconfigure(p.socksConfig(c, out, auth))
	for addr, l := range p.listeners {
		if opened[addr] == nil && !slices.Contains(c.listen, addr) {
			_ = l.Close()
			delete(p.listeners, addr)
		}
	}
	for addr, l := range opened {
		p.listeners[addr] = l
		p.serve(l)
	}
	p.settings = c
	return nil
}

func (p *Proxy) socksConfig(c *settings, out *outgoing, auth socks.Authenticator) socks.Config {
	learn := c.learning.On
	return socks.Config{
		Dial: out.dial, ListenPacket: out.listenPacket, Resolve: out.resolve, ResolvePTR: out.resolvePTR,
		Auth: auth, Rules: &access{rules: c.rules, who: who, kind: p.kinds.of, sender: p.senders.of, unknown: p.unknown.note},
		IgnoreNames: !c.names, Nameless: p.nameless.is, Via: c.via, AllowBind: c.bind, DisableUDP: !c.udp, PrivateHeaders: []string{c.header},
		MaxConns: p.affordable(c.conns), MaxFiles: forConns(limits.Files()), MaxConnsPerClient: c.perClient,
		Handshake: c.handshake, Connect: c.connect, Idle: c.idle, HalfClosed: c.halfClosed, UDPIdle: c.udpIdle,
		Logger: p.log,
		Hooks: socks.Hooks{
			Rejected: func(client netip.AddrPort, err error) {
				p.metrics.rejected.Inc()
				p.log.Debug("client rejected", "client", client, "err", err)
			},
			NoName:      p.nameless.note,
			Established: p.metrics.established,
			Ended: func(ss *socks.Session, err error) {
				p.metrics.ended(ss, replyOf(ss, err))
				if p.access.Load() {
					logAccess(p.log, ss, err)
				}
				if bytes := ss.Sent() + ss.Received(); learn && bytes > 0 && ss.Conn != nil {
					p.learner.See(habits.Dest(ss.Request.Dest), bytes, time.Since(ss.Begun))
				}
			},
		},
	}
}

// warn logs settings that are valid but may not be what the operator meant.
func (p *Proxy) warn(c *settings) {
	for _, w := range c.warnings() {
		p.log.Warn(w)
	}
}

// openLocked opens the configured listeners that are not open yet, and returns
// these. An address that the host lacks is skipped, unless no listener is left.
func (p *Proxy) openLocked(c *settings) (map[string]net.Listener, error) {
	opened := map[string]net.Listener{}
	if p.activated {
		return opened, nil
	}
	var skipped error
	for _, addr := range c.listen {
		if p.listeners[addr] != nil || opened[addr] != nil {
			continue
		}
		l, err := listen(addr)
		switch {
		case err == nil:
			opened[addr] = l
		case errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT):
			// A host without IPv6 lacks one of the default addresses.
			skipped = errors.Join(skipped, err)
		default:
			for _, l := range opened {
				_ = l.Close()
			}
			return nil, err
		}
	}
	if skipped != nil {
		if len(opened)+len(p.listeners) == 0 {
			return nil, skipped
		}
		p.log.Warn("an address does not exist on this host", "err", skipped)
	}
	return opened, nil
}

func (p *Proxy) serve(l net.Listener) {
	p.serving.Go(func() {
		if err := p.server.Serve(l); err != nil && !errors.Is(err, socks.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			p.log.Error("a listener has failed", "listen", l.Addr(), "err", err)
		}
	})
	p.log.Info("listening", "addr", l.Addr().String())
}

// exposeLocked serves the metrics at addr; "" stops serving them.
func (p *Proxy) exposeLocked(addr string) error {
	if addr == p.webAddr {
		return nil
	}
	var l net.Listener
	if addr != "" {
		var err error
		if l, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	if p.web != nil {
		_ = p.web.Close()
		p.web = nil
	}
	p.webAddr = addr
	if l != nil {
		web := httpserver.New(p.metrics.handler(), p.log)
		p.web = web
		l = httpserver.Limit(l, httpserver.Conns(limits.Files()))
		p.serving.Go(func() { _ = web.Serve(l) }) // ends with Close
	}
	return nil
}

// Run serves until ctx ends, and saves what was learnt from time to time. After ctx
// has ended, Run waits for the clients. The wait ends when the configured time is
// over or hurry is closed; the clients that are left are cut off.
func (p *Proxy) Run(ctx context.Context, hurry <-chan struct{}) {
	tick := time.NewTicker(habits.SaveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			p.save()
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.server.Conns(); n > 0 {
		p.log.Info("waiting for clients to finish", "connections", n, "at_most", p.settings.drain)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.settings.drain)
	defer cancel()
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-drain.Done():
		}
	}()
	n := p.server.Conns()
	if err := p.server.Shutdown(drain); err != nil {
		p.log.Warn("clients were cut off", "of", n)
	}
	p.closeLocked()
	p.leaveLocked(hurry)
	p.saveTo(p.settings.learning.File)
}

const (
	// lateInHurry is how long an urgent end waits for late answers. A manager of the
	// original may be busy measuring before it answers.
	lateInHurry = time.Second
	// noticeable is how long the end waits for late answers before it says so.
	noticeable = 100 * time.Millisecond
)

// leaveLocked waits until managers of the original have answered. If the process ended
// before, that would harm such a manager, and with it every program of the host that
// asks it.
func (p *Proxy) leaveLocked(hurry <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-hurry:
			time.AfterFunc(lateInHurry, cancel)
		case <-ctx.Done():
		}
	}()
	late := time.AfterFunc(noticeable, func() {
		p.log.Info("waiting for the Multi Access Manager to answer what it was asked")
	})
	defer late.Stop()
	var all sync.WaitGroup
	for _, m := range p.managers {
		all.Go(func() {
			_ = m.Flush(ctx)
			_ = m.Close()
		})
	}
	all.Wait()
}

// Beat tells the service manager at every interval that the proxy is alive, until
// done is closed. Before it does, it takes locks that requests take, too: a proxy that
// hangs on one of them sends no sign of life and is restarted.
func (p *Proxy) Beat(every time.Duration, done <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.server.Conns()
			p.learner.Typical(habits.Dest{})
			service.Alive()
		case <-done:
			return
		}
	}
}

func (p *Proxy) save() {
	p.mu.Lock()
	file := p.settings.learning.File
	p.mu.Unlock()
	p.saveTo(file)
}

func (p *Proxy) saveTo(file string) {
	if file == "" {
		return
	}
	if err := p.learner.Save(file); err != nil {
		p.log.Error("cannot save what was learnt, so the next start does not know it; make the directory writable for muacsocksd, or name another file", "file", file, "err", err)
	}
}

func (p *Proxy) closeLocked() {
	_ = p.server.Close()
	if p.web != nil {
		_ = p.web.Close()
	}
	p.serving.Wait()
	p.senders.close()
}
