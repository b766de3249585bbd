// Package sample is the policy that always uses the default prefix: the
// smallest policy there is, and a template for new ones.
//
// Its decisions and its log are those of doc/original/policies.md section 4.
package sample

import (
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

type options struct {
	LogFile string `mam:"logfile"`
}

// Policy is the sample policy. It has no state.
type Policy struct{ opts options }

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.LineLogger     = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile.
func New(cfg policy.Config) (policy.Policy, error) {
	p := &Policy{}
	if err := cfg.Decode(&p.opts); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&struct{}{}); err != nil {
		return nil, err
	}
	return p, nil
}

// Choose reuses the first offered socket, whatever its prefix, and else
// suggests the first default prefix.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	d, ok := shape.FirstSocket(r)
	switch {
	case ok:
	case r.Bound.IsValid():
		d = shape.Bound(r, policy.ResolveOnPrefix, false)
	default:
		d = shape.Default(r, r.DefaultPrefix(), shape.ReasonDefault)
	}
	d.Lease = shape.Lease()
	return d
}

// ChooseResolver asks the resolver of the prefix that the application bound to,
// else the default one.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision { return shape.Resolver(r) }

// LogFile is the setting logfile.
func (p *Policy) LogFile() string { return p.opts.LogFile }

// LogLine gives the line of doc/original/policies.md section 4.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	var b []byte
	switch r.Kind {
	case policy.Connect:
	case policy.SocketConnect:
		b = append(append(b, "<ts>"...), strings.Repeat(",", 12)...)
	case policy.SocketChoose:
		b = shape.AppendSockets(append(b, "<ts>,"...), shape.LogList(r), r.Sockets)
		b = append(b, strings.Repeat(",", 9)...)
	default:
		return ""
	}
	switch {
	case d.Socket != nil && d.Socket.Prefix != nil:
		b = append(append(b, d.Socket.Prefix.Interface...), ",reuse"...)
	case d.Socket != nil:
		b = append(strconv.AppendInt(b, int64(d.Socket.FD), 10), ",reuse"...)
	case d.Prefix != nil:
		b = append(append(b, d.Prefix.Interface...), ",default"...)
	}
	return string(b)
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }
