package predict

import "github.com/socket-intents/mamma/policy"

// NoCapacity is the capacity of a link whose highest rate is unknown.
const NoCapacity policy.BytesPerSecond = -1

// FreeCapacity estimates the rate that one more connection over p would get
// (doc/original/policies.md 3.4).
func FreeCapacity(p *policy.Prefix) policy.BytesPerSecond { return capacity(p, Shared) }

// FreeOrBusyCapacity is FreeCapacity with a rounded load: a link that is used for more
// than half counts as full, and one used for less than a tenth as idle (section 11).
func FreeOrBusyCapacity(p *policy.Prefix) policy.BytesPerSecond { return capacity(p, FreeOrBusy) }

func capacity(p *policy.Prefix, share func(highest, rate policy.BytesPerSecond, conns int64) policy.BytesPerSecond) policy.BytesPerSecond {
	return share(policy.BytesPerSecond(Value(policy.MetricDownRateMax, p)), policy.BytesPerSecond(Value(policy.MetricDownRate, p)), truncate(Value(policy.MetricConns, p)))
}

// Shared divides the highest rate by the number of connections. The existing ones are
// weighted by how much of the rate is used; the new one counts as one.
func Shared(highest, rate policy.BytesPerSecond, conns int64) policy.BytesPerSecond {
	if highest <= Epsilon {
		return NoCapacity
	}
	return highest / (policy.BytesPerSecond(conns)*(rate/highest) + 1)
}

// FreeOrBusy is Shared with the load rounded as in FreeOrBusyCapacity.
func FreeOrBusy(highest, rate policy.BytesPerSecond, conns int64) policy.BytesPerSecond {
	if highest <= Epsilon {
		return NoCapacity
	}
	use := rate / highest
	switch {
	case use > 0.5:
		use = 1
	case use < 0.1:
		use = 0
	}
	return highest / (policy.BytesPerSecond(conns)*use + 1)
}

// Counted divides the highest rate by the number of transfers: those that a policy
// knows of, and the new one (section 12).
func Counted(highest policy.BytesPerSecond, transfers int) policy.BytesPerSecond {
	c := highest / policy.BytesPerSecond(transfers+1)
	if !(c >= Epsilon) {
		return NoCapacity
	}
	return c
}
