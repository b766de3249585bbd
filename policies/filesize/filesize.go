// Package filesize is the policy that maps ranges of file sizes to prefixes
// (doc/original/policies.md section 8).
package filesize

import (
	"math"
	"strconv"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonRange   = "file size in the prefix's range"
	reasonNoRange = "no prefix for this file size: default"
	reasonNoSize  = "no file size given: default"
	reasonSilent  = "no file size given: no preference"
)

// Policy is the filesize policy. It has no state.
type Policy struct{}

var (
	_ policy.Policy         = (*Policy)(nil)
	_ policy.ResolveChooser = (*Policy)(nil)
	_ policy.Annotator      = (*Policy)(nil)
)

// New makes the policy. It has no settings of its own; prefixes have minfilesize
// and maxfilesize.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	var opts struct {
		Min int64 `mam:"minfilesize" min:"0" unit:"B"`
		Max int64 `mam:"maxfilesize" min:"0" unit:"B"`
	}
	if err := cfg.CheckPrefixes(&opts); err != nil {
		return nil, err
	}
	return &Policy{}, nil
}

// Choose reuses the first offered socket, whatever its prefix. Without a socket it
// suggests the first candidate whose range contains the file size, or else the last
// default prefix. It suggests nothing for a new socket by name if the file size is
// unknown.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	if d, ok := shape.FirstSocket(r); ok {
		d.Lease = shape.Lease()
		return d
	}
	size, given := r.Intents.FileSize()
	d := policy.Decision{Resolution: policy.ResolveDefault, Reason: reasonSilent}
	if given || r.Kind == policy.Connect {
		d = Select(r)
	}
	d.Lease = shape.Lease(intent.OptFileSize)
	if given && !r.Bound.IsValid() {
		d.Lease.Sizes = alike(r.Prefixes, size)
	}
	return d
}

// exact is the number up to which a float64 represents every integer exactly.
const exact = 1 << 53

// alike returns the range of file sizes around size for which Select chooses the same
// of the prefixes.
func alike(prefixes []*policy.Prefix, size int64) policy.SizeRange {
	if size < -exact || size > exact {
		return policy.SizeRange{From: size, To: size}
	}
	s, from, to := float64(size), -float64(exact), float64(exact)
	for _, q := range prefixes {
		low, high := bounds(q)
		switch {
		case high < low: // the range is empty
		case s < low:
			to = min(to, math.Ceil(low)-1)
		case s > high:
			from = max(from, math.Floor(high)+1)
		default:
			from, to = max(from, math.Ceil(low)), min(to, math.Floor(high))
			return policy.SizeRange{From: int64(from), To: int64(to)}
		}
	}
	return policy.SizeRange{From: int64(from), To: int64(to)}
}

// ChooseResolver asks the resolver of the prefix that Choose would suggest for a
// new socket.
func (p *Policy) ChooseResolver(r *policy.Request) policy.Decision {
	if _, given := r.Intents.FileSize(); !given {
		return policy.Decision{Resolution: policy.ResolveDefault, Reason: reasonSilent}
	}
	return Select(r)
}

// Select chooses by size: the first candidate whose range contains the file size, or
// else the last default one, also if the size is unknown. A socket that the application
// bound stays as it is, and its name is looked up at the default resolver.
func Select(r *policy.Request) policy.Decision {
	if r.Bound.IsValid() {
		return shape.Bound(r, policy.ResolveDefault, false)
	}
	size, given := r.Intents.FileSize()
	if !given {
		return shape.Default(r, shape.LastDefault(r), reasonNoSize)
	}
	for _, q := range r.Prefixes {
		if low, high := bounds(q); low <= float64(size) && float64(size) <= high {
			return shape.Suggest(r, q, reasonRange, "in range")
		}
	}
	return shape.Default(r, shape.LastDefault(r), reasonNoRange)
}

// bounds returns the prefix's range, both ends included. Without settings it begins at
// 0 and has no end. In the original it ends at 2147483647, the largest size that the
// original can express.
func bounds(p *policy.Prefix) (low, high float64) {
	low, _ = p.Options.Number("minfilesize")
	high, limited := p.Options.Number("maxfilesize")
	if !limited {
		high = math.Inf(1)
	}
	return low, high
}

// Annotate names the range of the prefix, and marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return Range(q) + policy.AnnotateDefault(q) }

// Range returns a prefix's range of file sizes for people.
func Range(p *policy.Prefix) string {
	low, high := bounds(p)
	text := " (from " + strconv.FormatFloat(low, 'f', 0, 64)
	if !math.IsInf(high, 1) {
		text += " to " + strconv.FormatFloat(high, 'f', 0, 64)
	}
	return text + " bytes)"
}
