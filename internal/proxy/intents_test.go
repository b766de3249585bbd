package proxy

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

func TestIntentsByPrecedence(t *testing.T) {
	c := parse(t, `
intents "video" {
  destination = "*.video.example"
  set = "category=stream,filesize=1G"
}
intents "all of alice" {
  user = "alice"
  set = "timeliness=transfer,filesize=2G"
}
intents "network" {
  destination = "198.51.100.0/24"
  set = "category=keepalives"
}`)
	learnt := habits.New(c.learning)
	for range 4 {
		learnt.See(habits.Dest{Host: "big.example", Port: 443}, 300e6, time.Minute)
		learnt.See(habits.Dest{Host: "a.video.example", Port: 443}, 5e6, time.Minute)
	}
	ch := &chooser{header: "Socket-Intents", rules: c.intents, learnt: learnt, ports: true, who: func(*socks.Request) rules.Caller { return rules.Caller{} }}
	for _, tt := range []struct {
		name       string
		user       string
		header     string
		dest       socks.Addr
		want, from string
		wrong      bool
	}{
		{"nothing", "", "", socks.Addr{Host: "example.org", Port: 443}, "", "", false},
		{"port", "", "", socks.Addr{Host: "example.org", Port: 22}, "category=controltraffic,timeliness=interactive", "port 22", false},
		{"user name", "category=bulktransfer,filesize=1MB", "", socks.Addr{Host: "example.org", Port: 443}, "category=bulktransfer,filesize=1MB", "client", false},
		{"user name with a user", "bob,filesize=3k", "", socks.Addr{Host: "example.org", Port: 443}, "filesize=3kB", "client", false},
		{"header", "", "category=query", socks.Addr{Host: "example.org", Port: 22}, "category=query", "client", false},
		{"rule", "", "", socks.Addr{Host: "A.Video.example.", Port: 443}, "category=stream,filesize=1GB", "rule video", false},
		{"rules complete each other, the first counts", "alice", "", socks.Addr{Host: "a.video.example", Port: 443}, "category=stream,filesize=1GB,timeliness=transfer", "rule video, rule all of alice", false},
		{"rule by network", "", "", socks.Addr{Host: "198.51.100.9", Port: 443}, "category=keepalives", "rule network", false},
		{"client before rule", "filesize=7B", "", socks.Addr{Host: "a.video.example", Port: 443}, "category=stream,filesize=7B", "client, rule video", false},
		{"learnt", "", "", socks.Addr{Host: "BIG.example", Port: 443}, "category=bulktransfer,filesize=300MB,duration=60", "learnt", false},
		{"learnt completes", "timeliness=backgroundtraffic", "", socks.Addr{Host: "big.example", Port: 443}, "category=bulktransfer,filesize=300MB,duration=60,timeliness=backgroundtraffic", "client, learnt", false},
		{"learnt is of no interest where the kind is stated", "category=query", "", socks.Addr{Host: "big.example", Port: 443}, "category=query", "client", false},
		{"nonsense", "category=film", "", socks.Addr{Host: "example.org", Port: 443}, "", "", true},
		{"a user name is not nonsense", "bob", "", socks.Addr{Host: "example.org", Port: 443}, "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &socks.Request{Command: socks.CommandConnect, Dest: tt.dest, User: tt.user, Client: netip.MustParseAddrPort("127.0.0.1:1")}
			if tt.header != "" {
				r.Header = http.Header{"Socket-Intents": {tt.header}}
			}
			got := ch.choose(r, tt.dest)
			r.Command = socks.CommandUDPAssociate // which has its destinations later
			r.Dest = socks.Addr{Host: "0.0.0.0"}
			if udp := ch.choose(r, tt.dest); udp.set != got.set {
				t.Errorf("for an association it is %q", udp.set.String())
			}
			if text := got.set.String(); text != tt.want || got.from != tt.from || (got.mistake != nil) != tt.wrong {
				t.Errorf("%q from %q, %v; want %q from %q", text, got.from, got.mistake, tt.want, tt.from)
			}
		})
	}
}

// The manager is told no more about the origin of a request than was found out.
func TestOrigin(t *testing.T) {
	for _, tt := range []struct {
		name  string
		asked bool
		who   rules.Caller
		want  client.Origin
	}{
		{"nobody asked", false, rules.Caller{Known: true, UID: 1000}, client.Origin{UID: client.UnknownUID, Source: "client"}},
		{"elsewhere", true, rules.Caller{}, client.Origin{UID: client.UnknownUID, Source: "client"}},
		{"root, whose processes cannot be read", true, rules.Caller{Known: true}, client.Origin{Source: "client"}},
		{"all is known", true, rules.Caller{Known: true, UID: 1000, PID: 4121, Executable: "/usr/bin/curl"}, client.Origin{UID: 1000, PID: 4121, Command: "curl", Source: "client"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &socks.Request{}
			d := detailsOf(r)
			d.once.Do(func() { d.who = tt.who })
			d.asked.Store(tt.asked)
			if got := (&chooser{who: who}).origin(r, d, "client"); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
