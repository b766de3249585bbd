package proxy

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// One processor is used while one client at a time makes requests and these take little
// time. Whatever else happens, it is all of them soon.
func TestProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clients, spent atomic.Int64
		var one atomic.Bool
		p := &processors{
			clients: func() int { return int(clients.Load()) },
			spent:   func() time.Duration { return time.Duration(spent.Load()) },
			use: func(want bool) {
				if one.Swap(want) == want {
					t.Errorf("%v again", want)
				}
			},
		}
		// requests makes requests for a while, each of which takes so much processor time.
		requests := func(d, each time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				spent.Add(int64(each))
				p.request()
			}
			synctest.Wait()
		}
		check := func(when string, want bool) {
			t.Helper()
			if one.Load() != want {
				t.Errorf("%s: one processor %v, want %v", when, one.Load(), want)
			}
		}
		clients.Store(1)
		requests(processorsEvery*(processorsCalm-1), time.Millisecond)
		check("at first", false)
		requests(2*processorsEvery, time.Millisecond)
		check("one client", true)
		clients.Store(fewClients + 1)
		p.request()
		check("more clients", false)
		clients.Store(1)
		requests(processorsEvery*(processorsCalm+1), time.Millisecond)
		check("one again", true)
		requests(2*processorsEvery, 9*time.Millisecond)
		check("busy", false)
		requests(processorsEvery*(processorsCalm+1), time.Millisecond)
		check("calm again", true)
		time.Sleep(2 * processorsIdle)
		synctest.Wait()
		check("no requests", false)
		if p.running {
			t.Error("still looks")
		}
		requests(processorsEvery*(processorsCalm+1), time.Millisecond)
		check("requests again", true)
		time.Sleep(2 * processorsIdle)
	})
	(*processors)(nil).request() // where there is nothing to choose from
}
