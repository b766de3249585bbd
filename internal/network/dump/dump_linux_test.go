package dump

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// message builds a netlink message.
func message(kind, flags uint16, seq uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(HeaderLen+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0)
	b = append(b, body...)
	return append(b, make([]byte, Align(len(b))-len(b))...)
}

// code returns the body of a DONE or ERROR message.
func code(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

func TestWalk(t *testing.T) {
	const seq = 7
	short := message(20, 0, seq, []byte("body"))
	long := append([]byte(nil), short...)
	binary.NativeEndian.PutUint32(long, uint32(len(long)+4))
	tiny := append([]byte(nil), short...)
	binary.NativeEndian.PutUint32(tiny, HeaderLen-1)
	for _, test := range []struct {
		name   string
		parts  [][]byte
		bodies []string
		done   bool
		intr   bool
		err    error
	}{
		{name: "nothing"},
		{name: "two and the end", parts: [][]byte{short, message(20, 0, seq, []byte("odd")), message(unix.NLMSG_DONE, 0, seq, code(0))},
			bodies: []string{"body", "odd"}, done: true},
		{name: "end without a code", parts: [][]byte{message(unix.NLMSG_DONE, 0, seq, nil)}, done: true},
		{name: "rest of an earlier dump", parts: [][]byte{message(20, unix.NLM_F_DUMP_INTR, seq-1, []byte("x")), message(unix.NLMSG_DONE, 0, seq-1, nil), short},
			bodies: []string{"body"}},
		{name: "interrupted", parts: [][]byte{message(20, unix.NLM_F_DUMP_INTR, seq, nil)}, bodies: []string{""}, intr: true},
		{name: "no operation, acknowledged", parts: [][]byte{message(unix.NLMSG_NOOP, 0, seq, nil), message(unix.NLMSG_ERROR, 0, seq, code(0))}},
		{name: "error", parts: [][]byte{message(unix.NLMSG_ERROR, 0, seq, code(-int32(unix.EINVAL)))}, err: unix.EINVAL},
		{name: "error at the end", parts: [][]byte{short, message(unix.NLMSG_DONE, 0, seq, code(-int32(unix.ENOBUFS)))},
			bodies: []string{"body"}, done: true, err: unix.ENOBUFS},
		{name: "overrun", parts: [][]byte{message(unix.NLMSG_OVERRUN, 0, seq, nil)}, err: unix.ENOBUFS},
		{name: "cut header", parts: [][]byte{short, short[:10]}, bodies: []string{"body"}, err: ErrTruncated},
		{name: "longer than the read", parts: [][]byte{long}, err: ErrTruncated},
		{name: "shorter than a header", parts: [][]byte{tiny}, err: ErrTruncated},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b []byte
			for _, p := range test.parts {
				b = append(b, p...)
			}
			var bodies []string
			done, intr, err := Walk(b, seq, func(_ uint16, body []byte) { bodies = append(bodies, string(body)) })
			if !errors.Is(err, test.err) || done != test.done || intr != test.intr {
				t.Errorf("done %v, interrupted %v, error %v", done, intr, err)
			}
			if diff := cmp.Diff(test.bodies, bodies); diff != "" {
				t.Errorf("bodies (-want +got):\n%s", diff)
			}
		})
	}
}
