package wire

import (
	"math"
	"net/netip"

	"github.com/google/uuid"
)

// MaxMessage is the size of the largest message that a peer of the original can read,
// in bytes and with the EOF TLV (doc/original/wire-protocol.md section 2).
const MaxMessage = 16383

// Tag is the tag of a TLV.
type Tag uint32

// The tags of the original protocol (section 3). Those from 0x40 on are extensions,
// which are sent only to peers that announced them.
const (
	TagEOF              Tag = 0x00
	TagAction           Tag = 0x01
	TagSocketFile       Tag = 0x02 // socketset_file
	TagCalls            Tag = 0x03
	TagContextID        Tag = 0x08
	TagInode            Tag = 0x09
	TagFD               Tag = 0x0a
	TagDomain           Tag = 0x0b
	TagType             Tag = 0x0c
	TagProtocol         Tag = 0x0d
	TagBindRequested    Tag = 0x13
	TagBindSuggested    Tag = 0x14
	TagHostname         Tag = 0x21
	TagService          Tag = 0x22
	TagHint             Tag = 0x23
	TagResult           Tag = 0x24
	TagRemote           Tag = 0x25
	TagOptionsCurrent   Tag = 0x26
	TagOptionsSuggested Tag = 0x27
	TagFeatures         Tag = 0x40
	TagWideIntents      Tag = 0x41
	TagNoResolve        Tag = 0x42
	TagAlternate        Tag = 0x43
	TagReason           Tag = 0x44
	TagDecisionID       Tag = 0x45
	TagOutcome          Tag = 0x46
	TagPaths            Tag = 0x47
	TagOrigin           Tag = 0x48
	TagPlainDials       Tag = 0x49
	TagOnly             Tag = 0x4a
	TagSelection        Tag = 0x4b
	TagTransfer         Tag = 0x4c
	TagRace             Tag = 0x4d
	TagCosts            Tag = 0x4e
	TagLease            Tag = 0x4f
	TagLeased           Tag = 0x50
	TagWatch            Tag = 0x51
	TagNetwork          Tag = 0x52
	TagFlow             Tag = 0x53
)

// Action is the code of a request or an answer (section 6).
type Action int32

// The actions. SocketConnectFallback is never sent; a request with it counts as
// unknown.
const (
	ActionConnectRequest        Action = 0
	ActionConnectResponse       Action = 1
	ActionResolveRequest        Action = 2
	ActionResolveResponse       Action = 3
	ActionSocketConnectRequest  Action = 4
	ActionSocketConnectResponse Action = 5
	ActionSocketConnectFallback Action = 6
	ActionSocketChooseRequest   Action = 7
	ActionSocketChooseExisting  Action = 8
	ActionSocketChooseNew       Action = 9
	ActionErrorUnknownRequest   Action = 10
	ActionErrorResolve          Action = 11
	ActionReportRequest         Action = 0x40 // extension
	ActionReportResponse        Action = 0x41 // extension
	ActionNetworksRequest       Action = 0x42 // extension
	ActionNetworksResponse      Action = 0x43 // extension
)

// Calls is the bit mask of wrapped calls made on a context (calls_performed).
type Calls uint32

// The bits of Calls.
const (
	CallSocket      Calls = 0x01
	CallGetaddrinfo Calls = 0x04
	CallBind        Calls = 0x08
	CallConnect     Calls = 0x10
	CallClose       Calls = 0x20
)

// Features is the bit mask of extensions that a peer understands.
type Features uint32

// The extensions (tag 0x40).
const (
	FeatureAlternates  Features = 1
	FeatureReason      Features = 2
	FeatureReports     Features = 4
	FeatureWideIntents Features = 8
	FeatureNoResolve   Features = 16
	FeaturePaths       Features = 32
	FeatureOrigin      Features = 64
	FeaturePlainDials  Features = 128
	FeatureOnly        Features = 256
	FeatureSelection   Features = 512
	FeatureCosts       Features = 1024
	FeatureLeases      Features = 2048
	FeatureNetworks    Features = 4096
	FeatureFlows       Features = 8192
	FeatureTransfers   Features = 16384
)

// Address families, socket types and protocols in messages. They are the numbers of
// Linux on every host.
const (
	AFUnspec = 0
	AFInet   = 2
	AFInet6  = 10

	SockStream = 1
	SockDgram  = 2

	ProtoTCP   = 6
	ProtoUDP   = 17
	ProtoMPTCP = 262
)

// Message is one request or answer. The zero value is an empty connect request.
// Decoding into a Message overwrites all of it and reuses the memory of its slices.
// Clone what must live longer.
type Message struct {
	Action Action
	// HasAction tells whether the decoded message had an action TLV. Encoding always
	// writes one.
	HasAction bool

	Context Context
	// Sockets are the socketset_file TLVs. In a socketchoose request they are the idle
	// sockets, each with its stored context. In an answer 8 there is one, whose Context
	// is empty and not encoded.
	Sockets []SetMember

	// The fields below are extensions. They are encoded only if they are set.
	Features    Features
	WideIntents []WideIntent
	NoResolve   bool
	Alternates  []Alternate // best first
	Reason      string
	DecisionID  uuid.UUID // zero: absent
	Outcome     *Outcome
	Paths       []Path // of the chosen prefix, then of each alternate
	Costs       []Cost // in the order of Paths
	Origin      *Origin
	PlainDials  *PlainDials
	Transfer    *Transfer
	Race        bool // try the first two candidates at once
	Only        Only
	Selection   []Preference
	Lease       *Lease
	Leased      []LeaseUse
	Watch       *Watch
	Networks    []Network // best first
	Flow        *Flow
}

// SetMember is an idle socket of a socket set.
type SetMember struct {
	FD      int32
	Context Context
}

// Context is the state of one socket. It has the same encoding in both directions
// (section 5). The first seven fields are always sent, the others only if they are set.
type Context struct {
	ID       uuid.UUID // the connection's to the daemon, not the socket's (section 7)
	Inode    uint64
	FD       int32
	Calls    Calls
	Domain   int32
	Type     int32
	Protocol int32

	BindRequested SockAddr
	BindSuggested SockAddr
	Remote        SockAddr

	// The empty string means that the string is absent. A string that is present but
	// empty, which getaddrinfo(3) refuses, has EmptyHostname or EmptyService set.
	Hostname      string
	Service       string
	EmptyHostname bool
	EmptyService  bool

	Hint             []AddrInfo
	Result           []AddrInfo
	OptionsCurrent   []SockOpt
	OptionsSuggested []SockOpt
}

// SockAddr is a socket address (section 4.3). The zero value means that the address is
// absent. Families other than IPv4 and IPv6 are not supported and are refused.
type SockAddr struct {
	AddrPort netip.AddrPort // the zone, if any, is the decimal scope id
	FlowInfo uint32         // IPv6 only, network order as on the wire
}

// IsValid tells whether the address is present.
func (a SockAddr) IsValid() bool { return a.AddrPort.IsValid() }

// AddrInfo is one entry of an addrinfo list (section 4.4).
type AddrInfo struct {
	Flags     int32
	Family    int32
	Type      int32
	Protocol  int32
	Addr      SockAddr // zero: absent
	CanonName string   // "": absent
}

// SockOpt is one entry of a socket option list (section 4.5).
type SockOpt struct {
	Level       int32
	Name        int32
	Value       []byte // empty: absent
	ReturnValue int32
	Flags       SockOptFlags
}

// SockOptFlags are the flags of a SockOpt.
type SockOptFlags int32

// The flags of a socket option.
const (
	SockOptSet      SockOptFlags = 1 // the client has set it on the socket
	SockOptOptional SockOptFlags = 2 // failure is not fatal
)

// WideIntent carries an intent whose value does not fit 31 bits.
type WideIntent struct {
	Option uint32
	Value  int64
}

// Alternate is a further candidate in an answer.
type Alternate struct {
	Local    SockAddr
	Device   string // to bind to with SO_BINDTODEVICE; "": none
	Protocol int32
	Remotes  []SockAddr // only if they are already known
}

// Outcome reports the result of a decision. Candidate 0 is the decision's first
// suggestion, n its n-th alternate, and -1 a plain dial without a suggestion.
type Outcome struct {
	Candidate    int32
	Milliseconds uint32
	Errno        int32 // 0: connected
	LocalPort    uint16
	Flags        OutcomeFlags
}

// Transfer reports one use of a connection: from the decision that led to it, or to its
// reuse, until its last byte. Times of 0 are unknown.
type Transfer struct {
	Candidate    int32 // as in Outcome
	Flags        TransferFlags
	Bytes        uint64 // received
	Microseconds uint32 // until the last byte
	Connect      uint32 // until the connection stood, in microseconds
	RTT          uint32 // smoothed round-trip time at the end, in microseconds
	MinRTT       uint32 // least round-trip time of the connection, in microseconds
}

// TransferFlags are the flags of a Transfer.
type TransferFlags uint32

// The flags of a Transfer.
const (
	TransferReused  TransferFlags = 1 // the connection was open before
	TransferPartial TransferFlags = 2 // it was closed by the client, perhaps before its end
)

// OutcomeFlags are the flags of an Outcome.
type OutcomeFlags uint16

// OutcomePlainTCP tells that MPTCP was asked for but the connection is plain TCP,
// because the peer or a middlebox does not speak MPTCP.
const OutcomePlainTCP OutcomeFlags = 1

// Path is what the daemon knows about the path of one candidate.
type Path struct {
	Microseconds uint32 // the round-trip time; 0: unknown
	Health       uint32 // 0 up, 1 suspect, 2 down; higher values count as down
}

// The healths of a Path.
const (
	PathUp      = 0
	PathSuspect = 1
	PathDown    = 2
)

// Cost is what traffic over the network of one candidate costs.
type Cost struct {
	Cost uint32 // 0 free, 1 metered, 2 expensive; higher values count as expensive
	// Left is the number of bytes left of the budget; NoBudget: there is no budget.
	Left uint64
}

// The costs of a Cost.
const (
	CostFree      = 0
	CostMetered   = 1
	CostExpensive = 2
)

// NoBudget is the Left of a network without a budget.
const NoBudget = 1<<64 - 1

// Origin says for whom a client asks, for instance a proxy. It is the client's claim.
type Origin struct {
	UID     uint32 // UnknownUID if unknown
	PID     uint32 // 0: unknown
	Command string // name of the process; "": unknown
	Source  string // where the intents come from, for people; "": unknown
}

// Only is the mask in an answer that forbids something. The zero value forbids nothing.
type Only uint32

// The bits of Only.
const (
	OnlyThese    Only = 1 // only the suggestion and the alternates may be used
	OnlyNone     Only = 2 // no connection may be made; the reason says why
	OnlySelected Only = 4 // because of the request's own selection
)

// Preference says how much networks of one kind are wanted for a connection (RFC 9622,
// section 6.2).
type Preference struct {
	Kind PreferenceKind
	Want Want
	Name string // of the interface or the network, or the word for the cost
}

// PreferenceKind is the property that a Preference is about. A peer may send unknown
// kinds.
type PreferenceKind uint8

// The kinds of Preference.
const (
	ByInterface PreferenceKind = 1
	ByNetwork   PreferenceKind = 2 // the name of a network in the daemon's configuration
	ByCost      PreferenceKind = 3 // "free", "metered" or "expensive"
)

// Want says how much something is wanted. A peer may send unknown values.
type Want int8

// The values of Want.
const (
	WantProhibit Want = -2
	WantAvoid    Want = -1
	WantPrefer   Want = 1
	WantRequire  Want = 2
)

// MaxPreferences bounds the Preferences in a message.
const MaxPreferences = 32

// MaxPreferenceName is the length in bytes of the longest name in a Preference.
const MaxPreferenceName = 255

// PlainDials counts the dials that a client made without the manager since it last
// reported them, by reason.
type PlainDials struct {
	Late      uint32 // no answer in time
	LeftAlone uint32 // the manager was not asked, because it had not answered in time a moment before
	Absent    uint32 // no manager was there
	Failed    uint32 // anything else, such as an answer without sense
}

// Lease says for which further requests of the same client an answer holds. The
// generations are those of package generation, as of before the decision.
type Lease struct {
	Milliseconds uint32 // for which it holds at most
	Uses         uint32 // further connections; 0: any number
	Bytes        uint64 // that all of them together may state; 0: any number
	Flags        LeaseFlags
	Ignored      uint32 // intents that may differ, as a mask of 1<<option
	SizeFrom     int64  // file sizes for which it holds, both ends included; both 0: no range
	SizeTo       int64
	View         uint64
	Measurements uint64       // 0: the answer does not depend on measurements
	Networks     []Generation // of the choice, then of each alternate
}

// LeaseFlags are the flags of a Lease.
type LeaseFlags uint32

// LeaseAnyName tells that the lease holds for every name, and not only for the
// request's.
const LeaseAnyName LeaseFlags = 1

// Generation is the generation of one network. Index 0 stands for no network: the
// suggestion is none.
type Generation struct {
	Index uint32
	Value uint64
}

// LeaseUse reports the connections that a client made by a lease since its last report.
type LeaseUse struct {
	ID           uuid.UUID // of the decision
	Uses         uint32    // connections that were begun
	Connected    uint32    // how many of these the first suggestion connected, without those that were reported singly
	Milliseconds uint32    // time that the latest of these took
}

// UnknownUID stands for an Origin's user that is not known.
const UnknownUID = math.MaxUint32
