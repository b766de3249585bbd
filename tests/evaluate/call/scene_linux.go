package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const (
	first, second = "wlan0", "wwan0"
	port          = 4000 // of the first peer
)

// The callers of a case.
const (
	byIntent = "by intent"
	net1     = "net 1"
	net2     = "net 2"
)

var callers = []string{byIntent, net1, net2}

// scene is a case: how both links are in each third of the call.
type scene struct {
	name   string
	length time.Duration
	one    [3]testbed.Shape
	two    [3]testbed.Shape
	quick  bool // a part of --quick
}

// config has the first network as the default one.
func config(policy string) string {
	return fmt.Sprintf(`policy %q {}
interface %q {
  default  = true
  link_dns = false
}
interface %q { link_dns = false }
`, policy, first, second)
}

func scenes(length time.Duration) []scene {
	const ms = time.Millisecond
	shape := func(delay, jitter time.Duration, loss float64) testbed.Shape {
		return testbed.Shape{Rate: 20 * testbed.Mbit, Delay: delay, Jitter: jitter, Loss: loss}
	}
	always := func(s testbed.Shape) [3]testbed.Shape { return [3]testbed.Shape{s, s, s} }
	good, fair := shape(15*ms, 2*ms, 0), shape(40*ms, 5*ms, 0.005)
	lossy, shaky := shape(15*ms, 2*ms, 0.10), shape(150*ms, 120*ms, 0.01)
	return []scene{
		{"nothing happens", length, always(good), always(fair), false},
		{"net 1 loses 10 % in the middle", length, [3]testbed.Shape{good, lossy, good}, always(fair), false},
		{"net 1 jitters in the middle", length, [3]testbed.Shape{good, shaky, good}, always(fair), false},
		{"net 1, then net 2 loses 10 %", length, [3]testbed.Shape{fair, shape(40*ms, 5*ms, 0.10), fair}, [3]testbed.Shape{fair, fair, shape(40*ms, 5*ms, 0.10)}, true},
		{"net 1 jitters, then net 2 loses 10 %", length, [3]testbed.Shape{good, shaky, good}, [3]testbed.Shape{fair, fair, shape(40*ms, 5*ms, 0.10)}, false},
		{"net 1 loses 10 % all the time", length, always(lossy), always(fair), true},
	}
}

// result is how a call went in both directions.
type result struct {
	mos, worst     float64
	unheard, delay float64 // share; milliseconds
	each           []float64
	moves          []string
}

func resultOf(c Called, peer Heard) result {
	down, up := scoreOf(c.Heard), scoreOf(peer)
	r := result{
		mos: (down.mos + up.mos) / 2, worst: min(down.worst, up.worst), moves: c.Moves,
		unheard: (down.lost + down.late + up.lost + up.late) / 2, delay: (down.delays + up.delays) / 2,
	}
	for i := range down.each {
		r.each = append(r.each, (down.each[i]+up.each[i])/2)
	}
	return r
}

// measure has all callers call at the same time over the links of a case.
func measure(ctx context.Context, program, dir, policy string, sc *scene, seed uint64) (_ map[string]result, err error) {
	c := testbed.Config{}
	for i, shape := range []testbed.Shape{sc.one[0], sc.two[0]} {
		link := &testbed.LinkConfig{Down: shape, Up: shape, Seed: 2*seed + uint64(i)}
		c.Networks = append(c.Networks, testbed.NetworkConfig{Name: []string{first, second}[i], SourceRule: true, Emulate: link})
	}
	bed, err := testbed.New(c)
	if err != nil {
		return nil, err
	}
	defer bed.Close()
	daemon, err := stage.StartDaemon(ctx, bed.Client, program, dir, "e12", config(policy))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.Stop()) }()
	count := int(sc.length / voiceEvery)
	jobs := map[string]Call{
		byIntent: {Socket: daemon.Socket}, net1: {Source: bed.Network(first).Client4}, net2: {Source: bed.Network(second).Client4},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	results, failed := make([]result, len(callers)), make([]error, len(callers)+1)
	for i, who := range callers {
		job := jobs[who]
		job.Packets, job.Peer = count, netip.AddrPortFrom(testbed.ServiceAddr4, uint16(port+i))
		wg.Go(func() {
			if results[i], failed[i] = measureOne(ctx, bed, job); failed[i] != nil {
				cancel()
			}
		})
	}
	wg.Go(func() { failed[len(callers)] = play(ctx, bed, sc) })
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, daemon.Output())
	}
	all := map[string]result{}
	for i, who := range callers {
		all[who] = results[i]
	}
	return all, nil
}

// measureOne has one caller call a peer of its own.
func measureOne(ctx context.Context, bed *testbed.Bed, job Call) (r result, err error) {
	pc, err := bed.Service.ListenPacket("udp4", job.Peer.String())
	if err != nil {
		return r, err
	}
	p := newPeer(pc)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = pc.Close() }()
	defer cancel()
	wg.Go(p.run)
	wg.Go(func() { p.talk(ctx, job.Packets) })
	actor, err := stage.StartActor(bed.Client)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, actor.Close()) }()
	var c Called
	if err := actor.Do("call", job, &c); err != nil {
		return r, err
	}
	return resultOf(c, p.result(job.Packets)), nil
}

// play changes the links as the case says.
func play(ctx context.Context, bed *testbed.Bed, sc *scene) error {
	for i := range sc.one {
		for name, shape := range map[string]testbed.Shape{first: sc.one[i], second: sc.two[i]} {
			if err := bed.Network(name).Link.Set(shape, shape); err != nil {
				return err
			}
		}
		t := time.NewTimer(sc.length / 3)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	return nil
}
