package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/socket-intents/mamma/internal/network/attachment"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

// attachments tells what each prefix's interface is attached to, and since when: the access
// point or the modem's operator, as services say, else the gateway by its link-layer
// address. It is not safe for concurrent use, apart from run and save.
type attachments struct {
	log    *slog.Logger
	file   string
	memory *attachment.Memory // what was measured at each

	at    map[policy.PrefixID]attached
	begun uint64 // how many stays
}

// attached is the time at one attachment.
type attached struct {
	stay    uint64
	name    string // "": not known
	rank    int    // of who says so
	index   int    // of the interface
	running bool
	gateway string // its link-layer address, as far as it was ever known
}

// The ranks of those who name an attachment. A higher one names the same attachment
// better; only another word of the same one is another attachment.
const (
	rankNobody = iota
	rankGateway
	rankService
)

// gatewayPrefix begins the name of an attachment that is a gateway. Its link-layer
// address follows.
const gatewayPrefix = "gateway "

func openAttachments(stateDir string, log *slog.Logger) *attachments {
	a := &attachments{log: log, file: filepath.Join(stateDir, "attachments.json"), at: map[policy.PrefixID]attached{}}
	var err error
	if a.memory, err = attachment.Load(a.file); err != nil {
		log.Warn("what was measured of networks begins anew", "err", err)
	}
	return a
}

// look takes over how the host's networks are, and notes it in the managed ones. It returns
// those that may be attached to something else than before.
func (a *attachments) look(list []managed, nets *netmon.Snapshot, facts *hostfacts.Facts) (anew []policy.PrefixID) {
	next := make(map[policy.PrefixID]attached, len(list))
	for i := range list {
		m := &list[i]
		p := nets.PrefixOn(m.prefix.Index, m.prefix.CIDR)
		if p == nil {
			continue // only in tests: both are of one snapshot
		}
		now := evidence(p, nets, facts)
		before, known := a.at[m.prefix.ID]
		if !known || before.left(&now) {
			a.begun++
			now.stay = a.begun
			anew = append(anew, m.prefix.ID)
		} else {
			now.stay = before.stay
			if before.rank > now.rank {
				now.name, now.rank = before.name, before.rank
			}
			if now.gateway == "" {
				now.gateway = before.gateway
			}
		}
		next[m.prefix.ID] = now
		m.attachment, m.stay = now.name, now.stay
	}
	a.at = next
	return anew
}

// evidence is what is known about a prefix's attachment at the moment.
func evidence(p *netmon.Prefix, nets *netmon.Snapshot, facts *hostfacts.Facts) attached {
	now := attached{index: p.Index, running: p.Running, gateway: nets.Hardware(p)}
	l := facts.Link(p.Interface)
	switch name := l.Attachment(); {
	case name != "":
		now.name, now.rank = name, rankService
	case now.gateway != "":
		now.name, now.rank = gatewayPrefix+now.gateway, rankGateway
	}
	return now
}

// left tells whether now may be another attachment than before.
func (before *attached) left(now *attached) bool {
	return before.index != now.index || now.running && !before.running || before.rank == now.rank && before.name != now.name ||
		now.rank != rankService && now.gateway != "" && before.gateway != "" && now.gateway != before.gateway
}

// resumed begins all stays anew: nobody knows where the host has been while it slept.
func (a *attachments) resumed() { a.at = map[policy.PrefixID]attached{} }

// saveInterval is between two writings of what was measured.
const saveInterval = 5 * time.Minute

// run writes what was measured at intervals until ctx ends. What was measured last is
// left to save.
func (a *attachments) run(ctx context.Context) error {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		failing = a.save(failing)
	}
}

// save writes what was measured, and tells whether that failed; it logs that, unless it has
// failed before.
func (a *attachments) save(failing bool) bool {
	err := a.memory.Save(a.file)
	if err != nil && !failing {
		a.log.Warn("what was measured of networks is not saved", "err", err)
	}
	return err != nil
}
