package policy

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Observer is implemented by policies that learn between requests. Its methods are
// called in the policy's turn, like Choose, so never two at once. Recordings hold the
// transfers, and a replay tells the policy of them. They do not hold all measurements: in
// a replay, Measured is called before each decision, with the networks of its request.
type Observer interface {
	// Measured tells of new measurements, some ten times a second while something
	// changes. The prefixes are all managed ones, usable or not. The slice belongs to
	// the manager; the prefixes are immutable and may be kept.
	Measured(prefixes []*Prefix, now time.Time)
	// Ended tells how a finished transfer went. The Transfer is valid during the call
	// only.
	Ended(*Transfer)
}

// LeaseObserver is implemented by policies that count connections under way. Its method
// is called in the policy's turn.
type LeaseObserver interface {
	// Leased tells that clients have made so many further connections by the lease of
	// the decision with this Token, in about the last second before now. The candidates
	// and their measurements may have changed since that decision.
	Leased(token uint64, uses uint32, now time.Time)
}

// Revoker is implemented by policies that may notice between requests that they would
// now decide otherwise than a lease says. Its method is called in the policy's turn,
// after each call of another method except Choose and ChooseResolver.
type Revoker interface {
	// Revoke tells whether all leases with Lease.Measured granted so far should end. It
	// returns true once for each reason.
	Revoke() bool
}

// Transfer is what a connection has received in one use: from the moment when it was
// asked for, or used again, until its last byte.
type Transfer struct {
	// Token is the Token of the Decision that led to the transfer; 0: another policy
	// decided.
	Token  uint64
	Prefix *Prefix // the prefix that it used; nil if that is gone
	// App is the program that asked. It also reports everything below, and may report
	// anything: use what is learnt from it for the same user only.
	App App
	// Measured tells that the program reports nothing, and that the manager has asked the
	// kernel instead. The transfer then ends with the first pause of a second or so. The
	// program still determines how fast it reads, and how long it waits.
	Measured bool
	// The purpose of the transfer, as in the request.
	Kind    Kind
	Intents intent.Set
	Host    string // "" if unknown
	Remote  netip.Addr
	Port    uint16

	Reused   bool          // the connection was open before
	Partial  bool          // it was given up early
	Bytes    uint64        // received; 0: unknown
	Duration time.Duration // until the last byte
	Connect  time.Duration // until the connection stood; 0: unknown, or Reused
	RTT      time.Duration // smoothed, at the end; 0: unknown
	MinRTT   time.Duration // the least round-trip time of the connection; 0: unknown
	// Predicted is the time that the policy had predicted for Prefix; 0: none.
	Predicted time.Duration
	End       time.Time // when the last byte came
}
