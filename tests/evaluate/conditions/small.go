package conditions

import (
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/player"
	"github.com/socket-intents/mamma/tests/evaluate/simulate"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// Small are single conditions in which a policy that does not learn fails, each with
// one cause. They take a second or less.
func Small() Group {
	pair := func(r1, t1, r2, t2 float64) []simulate.Path {
		p := simulate.PairOf(r1, t1, r2, t2)
		return p[:]
	}
	with := func(list []simulate.Path, edit func(list []simulate.Path)) []simulate.Path {
		edit(list)
		return list
	}
	becomes := func(mbps float64, p play) play {
		return first(func(h Host) { h.Set(0, simulate.Path{Mbps: mbps}) }, p)
	}
	mix := append(named("P1", 1), workload.Drawn(3, 77)...)
	drawn := workload.Drawn(4, 78)
	others := func(t simulate.Traffic, p play) play {
		return first(func(h Host) { h.Start(t); h.Idle(3 * time.Second) }, p)
	}
	buffer := workload.V()
	trace := roll(5, 5).trace(0.2, 0.6, 300)
	return Group{"small", []Case{
		{Name: "becomes slow, 100 kB", Host: simulate.Config{Paths: pair(10, 20, 5, 40)}, Play: becomes(0.5, files(10, 100e3, time.Second)), Skip: 2},
		{Name: "becomes slow, 100 kB each 2 min", Host: simulate.Config{Paths: pair(10, 20, 5, 40)}, Play: becomes(0.5, files(10, 100e3, 2*time.Minute)), Skip: 2},
		{Name: "becomes slow, pages", Host: simulate.Config{Paths: pair(2, 10, 20, 100)}, Play: becomes(0.2, pages(append(named("P1", 1), append(named("P2", 1), drawn...)...), 30*time.Second)), Skip: 2},
		{Name: "own download", Host: simulate.Config{Paths: pair(50, 10, 20, 50)}, Play: others(simulate.Traffic{Path: 0, Flows: 1, Own: true}, pages(drawn, time.Second))},
		{Name: "foreign TCP", Host: simulate.Config{Paths: pair(2, 10, 2, 10)}, Play: others(simulate.Traffic{Path: 1, Flows: 8}, pages(named("P1", 4), time.Second))},
		{Name: "cold, 100 kB", Host: simulate.Config{Paths: pair(8, 40, 40, 10), Cold: true}, Play: files(4, 100e3, time.Second)},
		{Name: "cold, satellite", Host: simulate.Config{Paths: pair(33, 580, 76, 7), Cold: true}, Play: files(4, 94e3, time.Second)},
		{Name: "cold, slow default", Host: simulate.Config{Paths: pair(0.5, 200, 50, 10), Cold: true}, Play: pages(drawn, time.Second)},
		{Name: "short calls", Host: simulate.Config{Paths: pair(40, 60, 8, 40)}, Play: files(10, 2000, time.Second)},
		{Name: "long queues", Host: simulate.Config{Paths: with(pair(3.2, 10, 60, 270), func(l []simulate.Path) { l[0].Queue, l[1].Queue = 670*time.Millisecond, 780*time.Millisecond }), Keep: true}, Play: files(8, 650e3, 0)},
		{Name: "loss, 1 MB", Host: simulate.Config{Paths: pair(2, 10, 20, 100)}, Play: first(func(h Host) { h.Set(1, simulate.Path{Mbps: 20, Loss: 0.03}) }, files(6, 1e6, time.Second))},
		{Name: "recovered", Host: simulate.Config{Paths: pair(16, 30, 4, 45)}, Play: first(func(h Host) { h.Set(1, simulate.Path{Mbps: 40}) }, pages(mix, time.Second))},
		{Name: "no size", Host: simulate.Config{Paths: pair(2, 10, 20, 100), Tell: untold}, Play: files(4, 1e6, time.Second)},
		{Name: "a tenth of the size", Host: simulate.Config{Paths: pair(0.5, 10, 50, 200), Tell: scaled(0.1)}, Play: pages(drawn, time.Second)},
		{Name: "film", Host: simulate.Config{Paths: pair(1, 20, 0.5, 80)}, Film: func(h *simulate.Host) float64 {
			h.Follow(1, simulate.Path{RTT: 80 * time.Millisecond}, trace)
			return h.Watch(&buffer, player.BufferBased).MOS
		}},
	}}
}
