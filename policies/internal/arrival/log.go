package arrival

import (
	"strconv"

	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// LogLine returns the line of the policies with a latency test
// (doc/original/policies.md sections 10 to 12). Its columns are: time stamp, file size,
// sockets, three empty columns, the time, the counts if the policy keeps them, and the
// rule that decided. There is no line for a bound socket.
func (b *Base) LogLine(r *policy.Request, d policy.Decision) string {
	if b.result.Rule == Bound {
		return ""
	}
	out := append(b.AppendHead(nil, r), ",,,"...)
	switch b.result.Rule {
	case NoSize:
	case Unpredictable:
		out = append(out, "0.0,0,0,"...)
	default:
		out = b.AppendTime(out)
		out = b.AppendCounts(out)
	}
	return string(b.AppendChoice(out, d, "_highbw"))
}

// AppendHead appends the first columns of the family's lines: time stamp, file size,
// and the offered sockets of all candidates.
func (b *Base) AppendHead(out []byte, r *policy.Request) []byte {
	out = append(out, "<ts>,"...)
	if size, given := r.Intents.FileSize(); given {
		out = strconv.AppendInt(out, size, 10)
	}
	return shape.AppendSockets(append(out, ','), r.Prefixes, r.Sockets)
}

// AppendTime appends the time of the result in milliseconds, and a comma.
func (b *Base) AppendTime(out []byte) []byte {
	return append(strconv.AppendFloat(out, float64(b.result.Time), 'f', 2, 64), ',')
}

// AppendCounts appends the numbers of big and small transfers on the winner's prefix,
// each with a comma. Without counts the columns are empty.
func (b *Base) AppendCounts(out []byte) []byte {
	if b.Counts == nil || b.result.Winner == nil {
		return append(out, ",,"...)
	}
	s := b.Counts.State(b.result.Winner.Prefix.ID)
	out = append(strconv.AppendInt(out, int64(s.Big), 10), ',')
	return append(strconv.AppendInt(out, int64(s.Small), 10), ',')
}

// AppendChoice appends the interface and the rule that decided; fastest is the word for
// predicted times. Without a choice the text is "none" (original: defect).
func (b *Base) AppendChoice(out []byte, d policy.Decision, fastest string) []byte {
	if d.Prefix == nil {
		return append(out, "none"...)
	}
	out = append(out, d.Prefix.Interface...)
	switch b.result.Rule {
	case LowRTT:
		return append(out, "_lowrtt"...)
	case Fastest:
		return append(out, fastest...)
	}
	return append(out, "_default"...)
}
