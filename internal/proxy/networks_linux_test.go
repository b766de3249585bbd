package proxy

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// A socket of an association fails to send once the manager says that its network is down or
// gone and another one is up, and not before.
func TestSocketFollowsNetworks(t *testing.T) {
	const up, suspect, down = wire.PathUp, wire.PathSuspect, wire.PathDown
	network := func(prefix string, health uint32) wire.Network {
		return wire.Network{Interface: prefix, Prefix: netip.MustParsePrefix(prefix), Health: health, Flags: wire.NetworkOffered, Cost: wire.Cost{Left: wire.NoBudget}}
	}
	ours := func(health uint32) wire.Network { return network("127.0.0.0/8", health) }
	other := func(health uint32) wire.Network { return network("192.0.2.0/24", health) }
	barred := func(health uint32) wire.Network { n := other(health); n.Flags = 0; return n }
	six := network("2001:db8::/64", up)
	for _, tt := range []struct {
		name  string
		lists [][]wire.Network // one after the other
		fails bool             // in the end
	}{
		{"both are up", [][]wire.Network{{ours(up), other(up)}}, false},
		{"it is down", [][]wire.Network{{ours(up), other(up)}, {other(up), ours(down)}}, true},
		{"it is in doubt", [][]wire.Network{{ours(suspect), other(up)}}, false},
		{"it is down, and so is the other", [][]wire.Network{{ours(down), other(down)}}, false},
		{"the other is down, and comes back", [][]wire.Network{{ours(down), other(down)}, {ours(down), other(up)}}, true},
		{"it comes back", [][]wire.Network{{ours(down), other(up)}, {ours(up), other(up)}}, false},
		{"the other is of another family", [][]wire.Network{{ours(down), six}}, false},
		{"the other may not be used", [][]wire.Network{{ours(down), barred(up)}}, false},
		{"it is gone", [][]wire.Network{{ours(up), other(up)}, {other(up)}}, true},
		{"it was never there", [][]wire.Network{{other(up)}, {other(up), six}}, false},
		{"nothing is left", [][]wire.Network{{ours(up), other(up)}, {}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.1"))
			n := &networks{dialer: &client.Dialer{Daemon: &client.Daemon{Path: m.Path}}}
			m.SetNetworks(tt.lists[0])
			pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			l := n.listen(pc, netip.MustParseAddr("127.0.0.1"), n.number(), nil)
			var failed error
			for i, list := range tt.lists {
				if i > 0 {
					m.SetNetworks(list)
				}
				for deadline := time.Now().Add(10 * time.Second); n.latest.Load() == nil || len(n.latest.Load().list) != len(list) || !same(n.latest.Load().list, list); {
					if time.Now().After(deadline) {
						t.Fatalf("not told of %v", list)
					}
					runtime.Gosched()
				}
				_, failed = l.WriteTo([]byte("x"), pc.LocalAddr())
			}
			if errors.Is(failed, syscall.ENETDOWN) != tt.fails || failed != nil && !tt.fails {
				t.Errorf("sending: %v", failed)
			}
			// What is so when a socket is opened has been decided on.
			if again := n.listen(pc, netip.MustParseAddr("127.0.0.1"), n.number(), nil); again.failed() {
				t.Error("a new socket has failed already")
			} else if err := again.Close(); err != nil {
				t.Error(err)
			}
			_ = l.Close()
			_ = l.Close()
			if n.users != 0 || n.cancel == nil {
				t.Errorf("%d sockets are followed after the end", n.users)
			}
		})
	}
	plain := (&networks{}).listen(nil, netip.Addr{}, 0, nil)
	if plain.networks != nil {
		t.Error("a socket that the manager did not place is followed")
	}
}

func same(got []client.Network, want []wire.Network) bool {
	for i := range want {
		if got[i].Prefix != want[i].Prefix || uint32(got[i].State) != want[i].Health {
			return false
		}
	}
	return true
}
