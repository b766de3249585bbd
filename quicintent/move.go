package quicintent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

const (
	// leastProbe is the least time that another network is given to answer.
	leastProbe = 500 * time.Millisecond
	// pauseAfterFailure is the pause between two attempts to leave a network while no
	// other network answers.
	pauseAfterFailure = 500 * time.Millisecond
	// longestPause is the longest pause between two moves that were made because a flow
	// had stopped.
	longestPause = time.Minute
	// settled is how long another network must have been better before a connection
	// moves to it. After such a move, the connection stays for at least that time.
	settled = 5 * time.Second
)

// Move is one attempt to move a connection.
type Move struct {
	From, To string // interfaces, or addresses if these are not known; To is "" if there is no other network
	Reason   string // in words, for people
	Err      error  // why the connection is still on From; nil if it is not
	// Duration is the time from when the reason was seen until the connection switched.
	Duration time.Duration
}

// String describes the attempt in a sentence.
func (m Move) String() string {
	if m.Err != nil {
		return fmt.Sprintf("still on %s (%s): %v", m.From, m.Reason, m.Err)
	}
	return fmt.Sprintf("moved from %s to %s after %v (%s)", m.From, m.To, m.Duration.Round(time.Millisecond), m.Reason)
}

// mover keeps one connection on a network that works.
type mover struct {
	dialer    *Dialer
	conn      *quic.Conn
	remote    netip.AddrPort
	selection client.SelectionProperties
	intents   intent.Set

	first *path // its socket and transport live as long as the connection
	now   *path // the path in use
	// kept are paths that were probed or in use, the latest one last. quic-go ends the
	// connection if the transport of such a path is closed, so they stay until the connection
	// ends. They are used again for their networks.
	kept []*path

	// handshake is closed once the handshake is complete; nil: that was noted.
	handshake <-chan struct{}

	ledger ledger
	probed time.Duration // how long the network in use took to answer when it was probed; 0: it was not

	state       client.Path // of now
	notBefore   time.Time   // no attempt before
	betterSince time.Time   // zero: no other network is better
	guesses     int         // attempts in a row because a flow had stopped
}

// run moves the connection when that is needed, until the connection ends. Then it
// closes the sockets.
func (m *mover) run() {
	defer m.close()
	defer func() { m.report(m.conn.ConnectionStats(), true, false) }()
	reports := time.NewTicker(reportEvery)
	defer reports.Stop()
	for m.dialer.Stay {
		select {
		case <-m.conn.Context().Done():
			return
		case <-m.handshake:
			m.shaken()
		case <-reports.C:
			m.report(m.conn.ConnectionStats(), false, false)
		}
	}
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	for {
		select {
		case <-m.conn.Context().Done():
			return
		case <-m.handshake:
			m.shaken()
			continue
		case <-reports.C:
			m.report(m.conn.ConnectionStats(), false, false)
			continue
		case p, ok := <-m.now.socket.Changes():
			if !ok {
				return // the watch is closed only together with the connection
			}
			m.state = p
			m.noteBetter(time.Now())
		case <-m.now.socket.silence.wake:
		case <-next.C:
		}
		now := time.Now()
		if r := m.reason(now); r.why != "" && !now.Before(m.notBefore) {
			m.move(r, now)
		}
		next.Reset(m.wait(time.Now()))
	}
}

// shaken notes that the handshake is complete: its network is in use from now on. When the
// dial returned it had not been, as with 0-RTT.
func (m *mover) shaken() {
	m.handshake = nil
	if m.now == m.first {
		m.now.socket.silence.begin(time.Now())
	}
}

// roundTrip returns what is known of round-trip times on the network in use. Before the
// first measurement there it is the time of the probe, if there was one.
func (m *mover) roundTrip() roundTrip {
	if stats := m.conn.ConnectionStats(); m.ledger.measured(&stats) {
		return roundTrip{stats.SmoothedRTT, stats.MeanDeviation}
	}
	return firstRoundTrip(m.probed)
}

// reason is why a connection should leave its network.
type reason struct {
	why    string // in words, for people; "": it should stay
	guess  bool   // a flow has stopped: the other end may be the cause, and not the network
	silent bool   // packets that had to be answered were not
}

// reason says why the connection should leave its network now.
func (m *mover) reason(now time.Time) reason {
	d := m.now.socket.silence.doubt(now, m.roundTrip())
	due := !d.at.IsZero() && !now.Before(d.at)
	switch {
	case m.state.State == client.NetworkDown:
		return reason{why: m.state.Err.Error()}
	case due:
		return reason{why: "silent for " + d.mute.Round(time.Millisecond).String(), guess: !d.certain, silent: d.certain}
	case m.state.State == client.NetworkSuspect && d.mute > ackDelay && !d.at.IsZero():
		return reason{why: m.state.Err.Error()}
	case !m.betterSince.IsZero() && now.Sub(m.betterSince) >= settled:
		return reason{why: m.state.Best.Interface + " is better"}
	}
	return reason{}
}

// errAnswered tells that there is no reason any more to leave a network.
var errAnswered = errors.New("its network has answered meanwhile")

// still says whether r, for which another network was sought, is still a reason to leave.
// Finding another network takes a round trip. Meanwhile the doubt may have ended, or an
// answer that was only guessed to be missing may have become due.
func (m *mover) still(r reason, now time.Time) (reason, error) {
	again := m.reason(now)
	if again.why == "" {
		return r, errAnswered
	}
	r.guess, r.silent = again.guess, again.silent
	return r, nil
}

// wait returns how long nothing need be looked at, as far as is known.
func (m *mover) wait(now time.Time) time.Duration {
	at := now.Add(time.Hour)
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	earlier(m.now.socket.silence.doubt(now, m.roundTrip()).at)
	if !m.betterSince.IsZero() {
		earlier(m.betterSince.Add(settled))
	}
	if m.state.State == client.NetworkDown {
		at = now
	}
	if at.Before(m.notBefore) {
		at = m.notBefore
	}
	return max(time.Millisecond, at.Sub(now))
}

// noteBetter notes since when another network is better and costs no more.
func (m *mover) noteBetter(now time.Time) {
	p := &m.state
	switch better := m.dialer.MoveToBetter && p.Better && p.Best.State == client.NetworkUp && p.Best.Cost <= p.Network.Cost; {
	case !better:
		m.betterSince = time.Time{}
	case m.betterSince.IsZero():
		m.betterSince = now
	}
}

// move tries to move the connection to another network.
func (m *mover) move(r reason, begun time.Time) {
	mv := Move{From: m.now.name(), Reason: r.why}
	to, err := m.probe()
	before := m.conn.ConnectionStats()
	if err == nil {
		if r, err = m.still(r, time.Now()); err == nil {
			err = to.quic.Switch()
		}
		if err != nil {
			m.kept = append(m.kept, to)
		}
	}
	now := time.Now()
	mv.Err, mv.Duration = err, now.Sub(begun)
	pause := pauseAfterFailure
	if r.guess {
		// If an application falls silent now and then, its connections must not move to
		// and fro all the time. So the pauses become longer.
		m.guesses++
		pause = min(leastGap<<min(m.guesses, 10), longestPause)
		m.now.socket.silence.forgive()
	} else {
		m.guesses = 0
	}
	if err == nil {
		m.wake(to)
		mv.To = to.name()
		m.report(before, true, r.silent)
		m.leave(to, now)
		m.ledger, m.probed = ledger{begun: before, told: before}, to.answered
	}
	if err != nil || r.guess {
		m.notBefore = now.Add(pause)
	}
	m.betterSince = time.Time{}
	m.noteBetter(now) // there may be no further change that tells so
	m.tell(mv)
}

// wake makes quic-go switch to the path at once. Switch only notes which path is to be
// used. If nothing is to be sent, the peer would go on sending to the old path, until
// something else happens. A path that is closed before it is probed sends nothing.
func (m *mover) wake(to *path) {
	if p, err := m.conn.AddPath(to.transport); err == nil {
		_ = p.Close()
	}
}

func (m *mover) tell(mv Move) {
	if m.conn.Context().Err() != nil {
		return
	}
	if l := m.dialer.Logger; l != nil {
		l.Info("QUIC connection", "remote", m.remote, "move", mv.String())
	}
	if f := m.dialer.OnMove; f != nil {
		f(m.conn, mv)
	}
}

// leave makes to the path in use. That used before is kept, also for packets under way.
func (m *mover) leave(to *path, now time.Time) {
	if m.now != m.first {
		m.kept = append(m.kept, m.now)
	}
	m.now, m.state = to, to.socket.Path()
	to.socket.silence.forgive()
	to.socket.silence.received(now)
	to.socket.silence.begin(now)
}

// again returns the kept path over the same network as p, which is not used then, or else p.
// A kept path whose network has another address by now is of no use any more.
func (m *mover) again(p *path) *path {
	for i, k := range m.kept {
		if k.at() == p.at() && k.socket.Path().State != client.NetworkDown {
			m.kept = slices.Delete(m.kept, i, i+1)
			p.close() // nothing was sent over it
			return k
		}
	}
	return p
}

// morePaths is how many paths the peer has connection IDs for, besides the first one. A
// probe takes none if it repeats one of a path that was never used. A path that was left
// takes another one, as quic-go gives its ID back. New ones come only over a network that
// works.
const morePaths = 2

// prepare makes p ready to be probed, and gives up paths that were probed or used before, the
// oldest one first, if that is needed.
func (m *mover) prepare(p *path) (err error) {
	if p.quic != nil {
		return nil
	}
	room := morePaths - 1
	if m.now != m.first {
		room--
	}
	for _, k := range slices.Backward(m.kept) {
		if k.quic == nil {
			continue
		}
		if room--; room < 0 && k.quic.Close() == nil {
			k.quic = nil
		}
	}
	p.quic, err = m.conn.AddPath(p.transport)
	return err
}

// mostKept limits the sockets of a connection: a host whose networks have had so many
// addresses while the connection lasted does not move it any more.
const mostKept = 32

// probe opens a path over another network and returns when that network has answered.
func (m *mover) probe() (*path, error) {
	ctx, cancel := context.WithTimeout(m.conn.Context(), max(leastProbe, 3*m.roundTrip().smoothed))
	defer cancel()
	p, err := m.elsewhere(ctx)
	if err != nil {
		return nil, fmt.Errorf("no other network: %w", err)
	}
	if p = m.again(p); len(m.kept) >= mostKept { // it is none of those that are kept
		p.close()
		return nil, errors.New("it has used too many networks")
	}
	if err := m.prepare(p); err != nil {
		m.kept = append(m.kept, p)
		return nil, err
	}
	begun := time.Now()
	if err := p.quic.Probe(ctx); err != nil {
		m.kept = append(m.kept, p)
		return nil, fmt.Errorf("%s: %w", p.name(), err)
	}
	p.answered = time.Since(begun)
	return p, nil
}

// errNone tells that the only usable network is the present one.
var errNone = errors.New("there is none but the present one")

// elsewhere opens a socket on another network. If the present network has lost its
// address, it counts as another one, because it may have a new address.
func (m *mover) elsewhere(ctx context.Context) (*path, error) {
	network := "udp6"
	if m.remote.Addr().Is4() {
		network = "udp4"
	}
	ctx = client.WithSelection(intent.NewContext(ctx, m.intents), m.selection)
	present := m.now.socket.Interface()
	if present != "" {
		p, err := m.dialer.open(ctx, network, m.remote.String(), client.SelectionProperties{}.WithInterface(present, client.Prohibit))
		if err == nil || m.state.State != client.NetworkDown {
			return p, err
		}
	}
	p, err := m.dialer.open(ctx, network, m.remote.String(), client.SelectionProperties{})
	if err == nil && p.socket.LocalAddr().(*net.UDPAddr).IP.Equal(m.now.socket.LocalAddr().(*net.UDPAddr).IP) {
		p.close()
		err = errNone
	}
	return p, err
}

func (m *mover) close() {
	for _, p := range append(m.kept, m.now) {
		if p != nil && p != m.first {
			p.close()
		}
	}
	m.first.close()
}
