package conditions

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }

func describe(list []simulate.Path) string {
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteString(" + ")
		}
		b.WriteString(p.String())
		if p.Loss > 0 {
			fmt.Fprintf(&b, " (loses %g %%)", 100*p.Loss)
		}
		if p.Queue > 0 {
			fmt.Fprintf(&b, " (queue %d ms)", p.Queue.Milliseconds())
		}
	}
	return b.String()
}

// Groups draws all groups by a seed.
func Groups(seed uint64) []Group {
	return []Group{
		static(seed), cross(seed), traces(seed), loss(seed), many(seed), changes(seed),
		sizes(seed), idle(seed), randomCold(seed, 1500), films(seed),
	}
}

// access are access links of today.
func access() []simulate.Path {
	ms := time.Millisecond
	return []simulate.Path{
		{Mbps: 100, RTT: 20 * ms}, {Mbps: 300, RTT: 8 * ms}, {Mbps: 40, RTT: 45 * ms}, {Mbps: 200, RTT: 25 * ms},
		{Mbps: 150, RTT: 40 * ms}, {Mbps: 150, RTT: 600 * ms}, {Mbps: 16, RTT: 30 * ms}, {Mbps: 3, RTT: 15 * ms, Queue: 500 * ms},
	}
}

// static are links that never change, measured before, with all sizes known.
func static(seed uint64) Group {
	g := Group{Name: "static"}
	d := roll(seed, 1)
	links := access()
	kinds := []string{"G", "mixedA", "mixedC", "mixedD", "100kBx32", "10kBx16"}
	n := 0
	for i := range links {
		for j := range links {
			if i == j {
				continue
			}
			paths := []simulate.Path{links[i], links[j]}
			at := describe(paths)
			drawn := workload.Drawn(2, d.Uint64())
			kind := kinds[d.IntN(len(kinds))]
			g.Cases = append(g.Cases,
				Case{Name: at + ", a page like P1", Host: simulate.Config{Paths: paths}, Play: pages(drawn[:1], time.Second)},
				Case{Name: at + ", a page like P2", Host: simulate.Config{Paths: paths}, Play: pages(drawn[1:], time.Second)},
				Case{Name: at + ", " + kind, Host: simulate.Config{Paths: paths, TLS: n%2 == 1}, Play: pages(named(kind, 1), time.Second)},
				Case{Name: at + ", two drawn pages, connections kept", Host: simulate.Config{Paths: paths, Keep: true}, Play: pages(drawn, time.Second)},
			)
			if n < 39 {
				size := int64(round(d.between(5e3, 10e6)))
				g.Cases = append(g.Cases, Case{Name: text("%s, a file of %d kB", at, size/1000), Host: simulate.Config{Paths: paths}, Play: files(1, size, 0)})
			}
			n++
		}
	}
	return g
}

// cross has others on one of the links.
func cross(seed uint64) Group {
	g := Group{Name: "cross traffic"}
	for i := range 84 {
		d := roll(seed, 200+uint64(i))
		paths := d.pair()
		t := simulate.Traffic{Path: i % 2, Own: i/2%2 == 0}
		if i%3 > 0 && paths[1-t.Path].Mbps > paths[t.Path].Mbps { // most are on the faster one
			slices.Reverse(paths)
		}
		what := "others'"
		if t.Own {
			what = "own"
		}
		if i/4%2 == 0 {
			t.Mbps = round(paths[t.Path].Mbps * d.between(0.6, 0.97))
			what += text(" datagrams of %g Mbit/s", t.Mbps)
		} else {
			t.Flows = 1 + d.IntN(12)
			what += text(" TCP of %d", t.Flows)
		}
		c := Case{Host: simulate.Config{Paths: paths}}
		name, p := d.usual(4, 2*time.Second)
		if i/8%2 == 0 {
			c.Host.Others = []simulate.Traffic{t}
			c.Play = p
			what += " from the start"
		} else {
			c.Play = first(func(h Host) { h.Start(t); h.Idle(3 * time.Second) }, p)
			what += " later"
		}
		c.Name = text("%s, %s on net %d, %s", describe(paths), what, t.Path+1, name)
		g.Cases = append(g.Cases, c)
	}
	return g
}

// traces have rates that change each second.
func traces(seed uint64) Group {
	g := Group{Name: "rates that change each second"}
	for i := range 28 {
		d := roll(seed, 400+uint64(i))
		paths := []simulate.Path{d.path(2, 40, 10, 80), d.path(2, 40, 10, 80)}
		var rates [][]float64
		for j, p := range paths {
			spread := d.between(0.15, 0.8)
			if i%4 == j {
				spread = 0.02
			}
			rates = append(rates, d.trace(p.Mbps, spread, 300))
		}
		name, p := d.usual(12, time.Second)
		g.Cases = append(g.Cases, Case{
			Name: text("about %s, %s", describe(paths), name), Host: simulate.Config{Paths: paths},
			Play: first(func(h Host) {
				for j := range paths {
					h.Follow(j, paths[j], rates[j])
				}
			}, p),
		})
	}
	return g
}

// loss has one link that loses.
func loss(seed uint64) Group {
	g := Group{Name: "loss"}
	for i := range 80 {
		d := roll(seed, 500+uint64(i))
		paths := d.pair()
		lossy := slices.Clone(paths)
		lossy[i%2].Loss = []float64{0.01, 0.03}[i/2%2]
		name, p := d.usual(5, time.Second)
		if i%5 == 0 {
			name, p = "6 files of 1 MB", files(6, 1e6, time.Second)
		}
		if i/4%2 == 0 {
			paths = lossy
		} else {
			name += ", after the warm-up"
			p = first(func(h Host) { h.Set(i%2, lossy[i%2]) }, p)
		}
		g.Cases = append(g.Cases, Case{Name: describe(lossy) + ", " + name, Host: simulate.Config{Paths: paths}, Play: p})
	}
	return g
}

// many has three and four networks.
func many(seed uint64) Group {
	g := Group{Name: "three and four networks"}
	for i := range 16 {
		d := roll(seed, 600+uint64(i))
		var paths []simulate.Path
		for range 3 + i%2 {
			paths = append(paths, d.path(0.5, 60, 10, 200))
		}
		name, p := d.usual(4, time.Second)
		g.Cases = append(g.Cases, Case{Name: describe(paths) + ", " + name, Host: simulate.Config{Paths: paths}, Play: p})
	}
	return g
}

// changes has one link that changes for good after the warm-up.
func changes(seed uint64) Group {
	g := Group{Name: "a change for good"}
	for i := range 64 {
		d := roll(seed, 700+uint64(i))
		paths := d.pair()
		which := 0 // mostly the faster one
		if (paths[1].Mbps > paths[0].Mbps) != (i%5 == 4) {
			which = 1
		}
		worse := paths[which]
		worse.Mbps = round(worse.Mbps * d.between(0.02, 0.25))
		gap := []time.Duration{time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute}[i%4]
		name, p := d.usual(10, gap)
		g.Cases = append(g.Cases, Case{
			Name: text("%s, net %d becomes %s, %s, %v apart", describe(paths), which+1, worse, name, gap),
			Host: simulate.Config{Paths: paths}, Play: first(func(h Host) { h.Set(which, worse) }, p), Skip: 2,
		})
	}
	return g
}

// sizes are not told, or wrong.
func sizes(seed uint64) Group {
	g := Group{Name: "no size, or wrong ones"}
	for i := range 36 {
		d := roll(seed, 800+uint64(i))
		paths := d.pair()
		tell, what := untold, "no size"
		switch i % 3 {
		case 1:
			tell, what = scaled(0.1), "a tenth of the size"
		case 2:
			tell, what = scaled(10), "ten times the size"
		}
		name, p := d.usual(4, time.Second)
		g.Cases = append(g.Cases, Case{Name: text("%s, %s, %s", describe(paths), what, name), Host: simulate.Config{Paths: paths, Tell: tell}, Play: p})
	}
	return g
}

// idle has hosts that have measured nothing, or long ago, or something else.
func idle(seed uint64) Group {
	g := Group{Name: "cold, idle, recovery"}
	for i := range 87 {
		d := roll(seed, 900+uint64(i))
		paths := d.pair()
		name, p := d.usual(5, time.Second)
		c := Case{Host: simulate.Config{Paths: paths}, Play: p}
		switch i % 3 {
		case 0:
			c.Host.Cold = true
			c.Name = text("%s, cold, %s", describe(paths), name)
		case 1:
			gap := time.Duration(d.between(60, 1200)) * time.Second
			c.Play = first(func(h Host) { h.Idle(gap) }, p)
			c.Name = text("%s, idle for %v, %s", describe(paths), gap, name)
		case 2:
			which, well := d.IntN(2), slices.Clone(paths)
			paths[which].Mbps = round(paths[which].Mbps / 10)
			c.Play = first(func(h Host) { h.Set(which, well[which]) }, p)
			c.Name = text("%s, net %d had a tenth, %s", describe(well), which+1, name)
		}
		g.Cases = append(g.Cases, c)
	}
	return g
}

// randomCold draws pairs from the whole range of links.
func randomCold(seed uint64, n int) Group {
	g := Group{Name: "random pairs, cold"}
	for i := range n {
		d := roll(seed, 10_000+uint64(i))
		paths := []simulate.Path{d.path(0.5, 100, 5, 600), d.path(0.5, 100, 5, 600)}
		name, p := d.usual(4, time.Second)
		g.Cases = append(g.Cases, Case{Name: describe(paths) + ", " + name, Host: simulate.Config{Paths: paths, Cold: true}, Play: p})
	}
	return g
}

// films are shown while networks vary.
func films(seed uint64) Group {
	g := Group{Name: "films"}
	for i := range 136 {
		d := roll(seed, 1000+uint64(i))
		paths := []simulate.Path{d.path(0.5, 8, 15, 80), d.path(0.5, 8, 15, 100)}
		player, what := player.Named([]string{"buffer", "bola"}[i%2]), []string{"buffer", "bola"}[i%2]
		v := workload.V()
		v.Length = 120 * time.Second
		before := func(*simulate.Host) {}
		switch i / 2 % 3 {
		case 0:
			which := d.IntN(2)
			rates := d.trace(d.between(0.2, 4), d.between(0.3, 0.9), 300)
			before = func(h *simulate.Host) { h.Follow(which, paths[which], rates) }
			what += text(", net %d varies", which+1)
		case 1:
			which := d.IntN(2)
			worse := paths[which]
			worse.Mbps = round(worse.Mbps * d.between(0.03, 0.3))
			at := time.Duration(d.IntN(60)) * time.Second
			before = func(h *simulate.Host) { h.After(at, func() { h.Set(which, worse) }) }
			what += text(", net %d becomes %s after %v", which+1, worse, at)
		}
		g.Cases = append(g.Cases, Case{
			Name: describe(paths) + ", " + what, Host: simulate.Config{Paths: paths},
			Film: func(h *simulate.Host) float64 {
				before(h)
				return h.Watch(&v, player).MOS
			},
		})
	}
	return g
}
