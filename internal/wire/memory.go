package wire

import "unsafe"

// maxKept bounds the bytes of memory that a Message keeps from one decoding to the
// next. Ordinary messages need a tenth of that. Without a bound, a series of messages,
// each large in another field, would make all fields large.
const maxKept = 32 << 10

// kept returns roughly how many bytes the slices and strings of m occupy, including
// parts that only a former message has filled.
func (m *Message) kept() int {
	n := m.Context.kept() + size(m.Sockets) + size(m.WideIntents) + size(m.Alternates) + size(m.Paths) + len(m.Reason) +
		size(m.Costs) + size(m.Selection) + size(m.Leased) + size(m.Networks)
	for _, s := range m.Sockets[:cap(m.Sockets)] {
		n += s.Context.kept()
	}
	for _, a := range m.Alternates[:cap(m.Alternates)] {
		n += size(a.Remotes) + len(a.Device)
	}
	for _, w := range m.Networks[:cap(m.Networks)] {
		n += size(w.Addrs) + len(w.Interface) + len(w.Name) + len(w.Device) + len(w.Reason)
	}
	for _, p := range m.Selection[:cap(m.Selection)] {
		n += len(p.Name)
	}
	return n
}

func (c *Context) kept() int {
	n := len(c.Hostname) + len(c.Service)
	for _, list := range [...][]AddrInfo{c.Hint, c.Result} {
		n += size(list)
		for _, a := range list[:cap(list)] {
			n += len(a.CanonName)
		}
	}
	for _, list := range [...][]SockOpt{c.OptionsCurrent, c.OptionsSuggested} {
		n += size(list)
		for _, o := range list[:cap(list)] {
			n += cap(o.Value)
		}
	}
	return n
}

// size returns how many bytes the elements of s occupy, including the spare capacity.
func size[T any](s []T) int {
	var element T
	return cap(s) * int(unsafe.Sizeof(element))
}
