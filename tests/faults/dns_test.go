package faults

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// resolution asks for a new socket to a host, as the original library does, and returns the
// address to which to connect, or an error if there is none. from is the address to which
// the application has bound the socket, if it is valid.
func resolution(socket, host string, from netip.Addr) (netip.Addr, error) {
	m := &wire.Message{Action: wire.ActionSocketConnectRequest, HasAction: true, Context: wire.Context{
		Domain: wire.AFInet, Type: wire.SockStream, Hostname: host, Service: "80",
	}}
	if from.IsValid() {
		m.Context.BindRequested = wire.SockAddr{AddrPort: netip.AddrPortFrom(from, 0)}
	}
	b, err := m.Append(nil)
	if err != nil {
		return netip.Addr{}, err
	}
	l, err := open(socket)
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = l.Close() }()
	_ = l.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := l.Write(b); err != nil {
		return netip.Addr{}, err
	}
	var got wire.Message
	if err := l.reader.Read(&got); err != nil {
		return netip.Addr{}, err
	}
	switch got.Action {
	case wire.ActionSocketConnectResponse:
		return got.Context.Remote.AddrPort.Addr(), nil
	case wire.ActionErrorResolve:
		return netip.Addr{}, nil
	}
	return netip.Addr{}, fmt.Errorf("answered with action %v", got.Action)
}

// Name servers answer wrongly, in part, late, or never. An answer to a question that was
// not asked is not believed, and a true answer after it is found. Clients that ask for
// something else do not wait.
func TestUnrulyNameServers(t *testing.T) {
	bed, _ := oneNetwork(t)
	conf := `policy "sample" {
}
interface "wlan*" {
  default    = true
  nameserver = ["10.1.0.1"]
}
`
	d := start(t, options{in: bed.Client}, write(t, filepath.Join(t.TempDir(), "policy.conf"), conf))
	right, wrong := netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("198.51.100.66")
	answer := func(q *dns.Msg, a netip.Addr) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: a.AsSlice()}}
		}
		return m
	}
	spoiled := func(w dns.ResponseWriter, q *dns.Msg, spoil func(*dns.Msg)) {
		m := answer(q, wrong)
		spoil(m)
		_ = w.WriteMsg(m)
	}
	overTCP := func(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }
	release := make(chan struct{})
	var late sync.WaitGroup
	for i, tt := range []struct {
		name   string
		handle dns.HandlerFunc
		want   netip.Addr // not valid: none
	}{
		{"other id first", func(w dns.ResponseWriter, q *dns.Msg) {
			spoiled(w, q, func(m *dns.Msg) { m.Id++ })
			_ = w.WriteMsg(answer(q, right))
		}, right},
		{"every id but the right one", func(w dns.ResponseWriter, q *dns.Msg) {
			for n := range 200 {
				spoiled(w, q, func(m *dns.Msg) { m.Id += uint16(n) + 1 })
			}
		}, netip.Addr{}},
		{"other question first", func(w dns.ResponseWriter, q *dns.Msg) {
			spoiled(w, q, func(m *dns.Msg) { m.Question[0].Name = "www.example.org." })
			_ = w.WriteMsg(answer(q, right))
		}, right},
		{"rubbish first", func(w dns.ResponseWriter, q *dns.Msg) {
			_, _ = w.Write([]byte("\x00"))
			_, _ = w.Write([]byte("no message of any kind"))
			_ = w.WriteMsg(answer(q, right))
		}, right},
		{"other name's address", func(w dns.ResponseWriter, q *dns.Msg) {
			spoiled(w, q, func(m *dns.Msg) { m.Answer[0].Header().Name = "www.example.org." })
		}, netip.Addr{}},
		{"truncated, whole over TCP", func(w dns.ResponseWriter, q *dns.Msg) {
			m := answer(q, right)
			if !overTCP(w) {
				m = answer(q, wrong)
				m.Truncated = true
			}
			_ = w.WriteMsg(m)
		}, right},
		{"truncated, cut over TCP", func(w dns.ResponseWriter, q *dns.Msg) {
			if overTCP(w) {
				_, _ = w.Write([]byte("short"))
				_ = w.Close()
				return
			}
			spoiled(w, q, func(m *dns.Msg) { m.Truncated = true })
		}, netip.Addr{}},
		{"aliases in a circle", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}
			back := h
			back.Name = "alias.example.net."
			m.Answer = []dns.RR{&dns.CNAME{Hdr: h, Target: back.Name}, &dns.CNAME{Hdr: back, Target: h.Name}}
			_ = w.WriteMsg(m)
		}, netip.Addr{}},
		{"rubbish behind the answer", func(w dns.ResponseWriter, q *dns.Msg) {
			b, _ := answer(q, right).Pack()
			b[11]++ // one additional record more than there is
			_, _ = w.Write(append(b, "rubbish"...))
		}, right},
		{"drops queries with EDNS", func(w dns.ResponseWriter, q *dns.Msg) {
			if q.IsEdns0() == nil {
				_ = w.WriteMsg(answer(q, right))
			}
		}, right},
		{"refused", func(w dns.ResponseWriter, q *dns.Msg) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
		}, netip.Addr{}},
		{"late", func(w dns.ResponseWriter, q *dns.Msg) {
			late.Go(func() { // while others are asked
				<-release
				_ = w.WriteMsg(answer(q, right))
			})
		}, right},
		{"never", func(dns.ResponseWriter, *dns.Msg) {}, netip.Addr{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bed.Networks[0].Server.DNS.SetHandler(tt.handle)
			type result struct {
				addr netip.Addr
				err  error
			}
			done := make(chan result, 1)
			go func() {
				a, err := resolution(d.socket, fmt.Sprintf("host%d.example.net", i), netip.Addr{})
				done <- result{a, err}
			}()
			// Others are served meanwhile.
			stage.Until(t, "the name server is asked", func() bool { return len(bed.Networks[0].Server.DNS.Queries()) > 0 })
			for range 20 {
				if a := suggestion(t, d.socket, toService); a != bed.Networks[0].Client4 {
					t.Errorf("suggested %v", a)
				}
			}
			if tt.name == "late" {
				close(release)
			}
			if got := <-done; got.err != nil || got.addr != tt.want {
				t.Errorf("%v, %v; want %v\n%s", got.addr, got.err, tt.want, d.Log)
			}
			bed.Networks[0].Server.DNS.Forget()
		})
	}
	late.Wait()
	// Nothing that they have answered is kept.
	bed.Networks[0].Server.DNS.SetHandler(dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(answer(q, right)) }))
	for i := range 11 {
		if a, err := resolution(d.socket, fmt.Sprintf("host%d.example.net", i), netip.Addr{}); err != nil || a == wrong {
			t.Errorf("afterwards: %v, %v", a, err)
		}
	}
	if a, err := resolution(d.socket, "another.example.net", netip.Addr{}); err != nil || a != right {
		t.Errorf("afterwards: %v, %v", a, err)
	}
}
