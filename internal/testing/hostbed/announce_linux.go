package hostbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/operator/hostfile"
)

// announcements returns the lines of the default routes that announce makes, by sending
// router advertisements. These are routes of a description that came from router
// advertisements and share their metric with another such route. If a program added
// them, the kernel would join them to one multipath route.
func announcements(h *hostfile.Host) map[int]bool {
	count := map[string]int{}
	at := map[int]string{}
	for _, s := range h.All("route6") {
		g, err := netip.ParseAddr(s.Value("via"))
		if s.Value("proto") != "ra" || s.Args[0].Value != "default" || err != nil || !g.IsLinkLocalUnicast() || s.Has("table") || s.Has("nhid") {
			continue
		}
		at[s.Line] = s.Value("metric")
		count[at[s.Line]]++
	}
	list := map[int]bool{}
	for line, p := range at {
		if count[p] > 1 {
			list[line] = true
		}
	}
	return list
}

// announce sends router advertisements (RFC 4861, section 4.2). It returns when the
// kernel has their routes.
func (w *World) announce(h *hostfile.Host, lines map[int]bool) error {
	if len(lines) == 0 {
		return nil
	}
	for _, s := range h.All("route6") {
		if !lines[s.Line] {
			continue
		}
		if err := w.advertise(&s); err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	var dead []hostfile.Statement // the advertisement may have changed the state of such a neighbour
	for _, s := range h.All("neigh") {
		if s.Value("nud") == "failed" && familyOf(&s) == "-6" {
			dead = append(dead, s)
		}
	}
	return run(dead, "-6")
}

func (w *World) advertise(s *hostfile.Statement) error {
	dev := s.Value("dev")
	i := slices.IndexFunc(w.wires, func(x *wire) bool { return x.name == dev })
	if i < 0 || !w.wires[i].frames {
		return errors.New("routers announce themselves on links with frames only")
	}
	conf := "net/ipv6/conf/" + dev + "/"
	parameters := map[string]string{"accept_ra": "1", "accept_ra_pinfo": "0", "accept_ra_mtu": "0"}
	if m := s.Value("metric"); m != "" && m != strconv.Itoa(announcedMetric) {
		parameters["ra_defrtr_metric"] = m // Linux 5.12
	}
	for key, value := range parameters {
		if err := setParameter(conf+key, value); err != nil {
			return err
		}
	}
	life := uint64(1800) // RFC 4861, section 6.2.1
	if e := s.Value("expires"); e != "" {
		life, _ = strconv.ParseUint(e, 10, 16) // the parser has checked it; a longer time makes no difference
	}
	gateway := netip.MustParseAddr(s.Value("via"))
	if _, err := w.wires[i].file.Write(w.wires[i].advertisement(gateway, s.Value("pref"), uint16(life))); err != nil {
		return err
	}
	k, err := oracle.Open(0)
	if err != nil {
		return err
	}
	defer k.Close()
	return await("the route of a router does not come", func() (found bool, err error) {
		err = k.Routes(oracle.Filter{V6: true, Table: oracle.TableMain, Protocol: unix.RTPROT_RA}, func(r *oracle.Route) bool {
			found = found || r.Wide() && slices.ContainsFunc(r.Hops, func(h oracle.Step) bool { return h.Gateway == gateway })
			return true
		})
		return found, err
	})
}

// announcedMetric is the metric of routes that routers announce (IP6_RT_PRIO_USER).
const announcedMetric = 1024

// advertisement returns a frame with a router advertisement to all nodes (RFC 4191,
// section 2.2).
func (x *wire) advertisement(router netip.Addr, preference string, life uint16) []byte {
	const kind = 134
	b := make([]byte, 16)
	b[0] = kind
	switch preference {
	case "high":
		b[5] = 0x08
	case "low":
		b[5] = 0x18
	}
	binary.BigEndian.PutUint16(b[6:], life)
	packet := wrap(router, netip.IPv6LinkLocalAllNodes(), unix.IPPROTO_ICMPV6, b, 2)
	return slices.Concat([]byte{0x33, 0x33, 0, 0, 0, 1}, x.mac, []byte{0x86, 0xdd}, packet)
}
