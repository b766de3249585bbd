package pathstat

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/dump"
)

// Numbers of linux/if_link.h that x/sys lacks.
const (
	rtmNewStats     = 92 // RTM_NEWSTATS
	rtmGetStats     = 94 // RTM_GETSTATS
	ifStatsMsgLen   = 12 // struct if_stats_msg
	iflaStatsLink64 = 1  // IFLA_STATS_LINK_64
)

// linkReader reads the counters of all links by one dump.
type linkReader struct {
	d *dump.Dumper
	// whole means to read the links themselves (RTM_GETLINK), which is ten times as
	// much data. Kernels before 4.7 cannot send the counters alone.
	whole bool
}

func newLinkReader() *linkReader { return &linkReader{d: dump.New(unix.NETLINK_ROUTE)} }

// Read calls visit with the index and the counters of each link. A link may be missing
// if the table changes during the reading; the next pass finds it.
func (r *linkReader) Read(visit func(index int, c LinkCounters)) error {
	if !r.whole {
		_, err := r.d.Dump(statsRequest(), func(kind uint16, body []byte) {
			if index, c, ok := parseStats(kind, body); ok {
				visit(index, c)
			}
		})
		if err == nil || !unsupported(err) {
			return err
		}
		r.whole = true
	}
	_, err := r.d.Dump(linkRequest(), func(kind uint16, body []byte) {
		if index, c, ok := parseLink(kind, body); ok {
			visit(index, c)
		}
	})
	return err
}

func (r *linkReader) Close() error { return r.d.Close() }

func statsRequest() []byte {
	b := make([]byte, dump.HeaderLen+ifStatsMsgLen)
	binary.NativeEndian.PutUint16(b[4:], rtmGetStats)
	binary.NativeEndian.PutUint32(b[dump.HeaderLen+8:], 1<<(iflaStatsLink64-1))
	return b
}

func linkRequest() []byte {
	b := make([]byte, dump.HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETLINK)
	return b
}

func parseStats(kind uint16, b []byte) (index int, c LinkCounters, ok bool) {
	if kind != rtmNewStats || len(b) < ifStatsMsgLen {
		return 0, LinkCounters{}, false
	}
	c, ok = findCounters(b[ifStatsMsgLen:], iflaStatsLink64)
	return int(int32(binary.NativeEndian.Uint32(b[4:]))), c, ok
}

func parseLink(kind uint16, b []byte) (index int, c LinkCounters, ok bool) {
	if kind != unix.RTM_NEWLINK || len(b) < unix.SizeofIfInfomsg {
		return 0, LinkCounters{}, false
	}
	c, ok = findCounters(b[unix.SizeofIfInfomsg:], unix.IFLA_STATS64)
	return int(int32(binary.NativeEndian.Uint32(b[4:]))), c, ok
}

// findCounters reads the struct rtnl_link_stats64 in the attribute want.
func findCounters(b []byte, want uint16) (LinkCounters, bool) {
	for {
		kind, data, rest, err := dump.Attribute(b)
		if err != nil {
			return LinkCounters{}, false
		}
		if kind == want && len(data) >= 48 {
			return LinkCounters{
				RxBytes:  binary.NativeEndian.Uint64(data[16:]),
				TxBytes:  binary.NativeEndian.Uint64(data[24:]),
				RxErrors: binary.NativeEndian.Uint64(data[32:]),
				TxErrors: binary.NativeEndian.Uint64(data[40:]),
			}, true
		}
		b = rest
	}
}
