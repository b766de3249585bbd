package policy

import (
	"net/netip"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Observer is implemented by policies that learn while nobody asks them. Its
// methods are called in the policy's turn, as Choose is: never two at once. Recordings
// hold decisions, not these calls: in a replay a policy learns only at decisions.
type Observer interface {
	// Measured tells of new measurements, some ten times a second while something
	// changes. The prefixes are those managed, usable or not; the slice is the
	// manager's, the prefixes are immutable and may be kept.
	Measured(prefixes []*Prefix, now time.Time)
	// Ended tells how a transfer went that is over. It is valid during the call only.
	Ended(*Transfer)
}

// LeaseObserver is implemented by policies that count what is under way. Its method is
// called in the policy's turn.
type LeaseObserver interface {
	// Leased tells that so many further connections were made by the lease of the
	// decision with this Token, in the second or so before now. Candidates, or what is
	// known of them, may have changed since that decision.
	Leased(token uint64, uses uint32, now time.Time)
}

// Revoker is implemented by policies that may find, while nobody asks them, that they
// would decide otherwise than a lease says. Its method is called in the policy's turn,
// after each other call but that of Choose and ChooseResolver.
type Revoker interface {
	// Revoke tells whether the leases granted so far with Lease.Measured are to be
	// void, once for each reason to.
	Revoke() bool
}

// Transfer is what a connection brought from the moment it was asked for, or used
// again, until its last byte.
type Transfer struct {
	// Token is that of the Decision it followed; 0: another policy decided.
	Token  uint64
	Prefix *Prefix // it went over; nil if that is gone
	// App asked for it, and tells all that follows: it may tell anything, so that what
	// is learnt of it should count for that user only.
	App App
	// What it was for, as in the request.
	Kind    Kind
	Intents intent.Set
	Host    string // "" if unknown
	Remote  netip.Addr
	Port    uint16

	Reused   bool          // the connection was open before
	Partial  bool          // it was given up before its end
	Bytes    uint64        // received; 0: unknown
	Duration time.Duration // until the last byte
	Connect  time.Duration // until the connection was there; 0: unknown, or Reused
	RTT      time.Duration // smoothed, as it ended; 0: unknown
	MinRTT   time.Duration // the least of the connection; 0: unknown
	// Predicted is the time that the policy predicted for Prefix; 0: none.
	Predicted time.Duration
	End       time.Time // when the last byte came
}
