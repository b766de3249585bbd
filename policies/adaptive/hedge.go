package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

const (
	// farBehind is how much longer than predicted a transfer takes that is far behind.
	// Predictions miss by less than that if nothing is wrong, see usual.
	farBehind = 2
	// leastBehind is added to that, because short transfers differ by chance.
	leastBehind = 250 * time.Millisecond
	// unanswered is how long an answer may take that has not begun.
	unanswered = 3 * time.Second
	// question is the greatest size of a request that waits for an answer. Who sends more
	// sends data, for which nothing is predicted.
	question = 64_000
	// nearly is the share of a size at which it counts as reached, and its inverse that at
	// which it counts as exceeded: sizes leave out headers.
	nearly = 0.9
)

var _ policy.SubflowHedger = (*Policy)(nil)

// ChooseSubflows names a subflow on each other prefix. On a connection whose transfer the
// policy has placed on one prefix, these are backup subflows until it is late. Then those
// on prefixes that cost nothing and have no limit carry data, if the transfer would take no
// longer there than it has taken already. Bulk transfers, and connections that nobody has
// asked about, use all free prefixes from the beginning.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	list := policy.DefaultSubflows(r)
	n, alone := p.alone(r)
	if !alone {
		return list
	}
	for i := range list {
		s := &list[i]
		s.Backup = s.Backup || !r.Late || s.Prefix.Budget.Limit > 0 || !p.helps(r, s.Prefix, n)
	}
	return list
}

// alone tells whether the transfer of a connection was placed on one prefix, and what it
// needs.
func (p *Policy) alone(r *policy.SubflowRequest) (n need, alone bool) {
	if r.Request == nil {
		return n, false
	}
	n = p.of(r.Request.App.UID).needOf(r.Request)
	category, given := r.Request.Intents.Category()
	bulk := given && (category == intent.CategoryBulkTransfer || category == intent.CategoryStream)
	return n, !bulk && n.size < assumedBulk
}

// Late tells whether a transfer has taken far longer than predicted when the request was
// decided on. If its size is not stated, the prediction counts for that part of the bytes
// that have come, and only while more come. An answer that has not begun is late after
// three seconds.
func (p *Policy) Late(r *policy.SubflowRequest) bool {
	n, alone := p.alone(r)
	if !alone || r.First == nil || r.Predicted <= 0 {
		return false
	}
	g := &r.Progress
	received := float64(g.Received)
	patience := farBehind*r.Predicted + leastBehind
	switch {
	case g.Received == 0:
		return g.First && 0 < g.Sent && g.Sent < question && g.Age > max(patience, unanswered)
	case g.First && n.sure && received < n.size/nearly:
		return received < nearly*n.size && g.Age > patience
	case received < predict.InitialWindow || g.Quiet > time.Second:
		return false
	}
	return g.Age.Seconds() > patience.Seconds()*max(1, received/n.size)
}

// helps tells whether the whole transfer would take no longer over q than it has taken
// already.
func (p *Policy) helps(r *policy.SubflowRequest, q *policy.Prefix, n need) bool {
	l := p.link(q)
	e := l.estimate(q)
	l.observe(q, &e, r.Now, &p.sharing)
	l.as(r.Request.App.UID)
	size := max(n.size, float64(r.Progress.Received))
	x := l.transfer(size, l.roundTrip(q, &e, false), 2, 0)
	return l.preview(x, &p.sharing).finish <= r.Progress.Age
}
