// Package mptcpfilesize is policy filesize for hosts whose kernel opens MPTCP
// connections by itself. It places the first subflow by file size, and leaves names to
// the client (doc/original/policies.md section 18). It does not ask for MPTCP.
package mptcpfilesize

import (
	"strconv"

	"github.com/socket-intents/mamma/policies/filesize"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the mptcp_filesize policy. It has no state.
type Policy struct {
	foo *int64 // nil: not set
}

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.SubflowChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
	_ policy.Announcer      = (*Policy)(nil)
)

// New makes the policy. Its setting foo comes from the Socket Intents prototype, and is
// only printed.
// Prefixes have minfilesize and maxfilesize, and id, which is only printed.
func New(cfg policy.Config) (policy.Policy, error) {
	var opts struct {
		Foo *int64 `mam:"foo"`
	}
	if err := cfg.Decode(&opts); err != nil && !cfg.Lenient { // the original takes any text for a number
		return nil, err
	}
	var prefix struct {
		Min int64 `mam:"minfilesize" min:"0" unit:"B"`
		Max int64 `mam:"maxfilesize" min:"0" unit:"B"`
		ID  int64 `mam:"id"`
	}
	if err := cfg.CheckPrefixes(&prefix); err != nil {
		return nil, err
	}
	return &Policy{foo: opts.Foo}, nil
}

// Announcement prints the setting foo, which has no other use.
func (p *Policy) Announcement() []string {
	if p.foo == nil {
		return nil
	}
	return []string{"foo: " + strconv.FormatInt(*p.foo, 10)}
}

// Choose suggests a prefix by file size, as policy filesize does for a connect. Idle
// sockets are not reused.
func (p *Policy) Choose(r *policy.Request) policy.Decision { return filesize.Select(r) }

// ChooseResolver leaves the name to the client, as in the Socket Intents prototype.
func (p *Policy) ChooseResolver(*policy.Request) policy.Decision {
	return policy.Decision{Resolution: policy.ResolveNever, Reason: shape.ReasonUnresolved}
}

// ChooseSubflows names every possible subflow, because the Socket Intents prototype
// accepts all of them.
func (p *Policy) ChooseSubflows(r *policy.SubflowRequest) []policy.Subflow {
	return policy.DefaultSubflows(r)
}

// Annotate names the range and the id of the prefix, and marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string {
	id, _ := q.Options.Number("id")
	return filesize.Range(q) + " (id " + strconv.FormatFloat(id, 'f', 0, 64) + ")" + policy.AnnotateDefault(q)
}
