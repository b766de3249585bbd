package control

import "time"

// SchemaVersion is the version in the paths.
const SchemaVersion = 1

// Status tells how the daemon is.
type Status struct {
	Schema     int            `json:"schema"` // SchemaVersion
	Now        time.Time      `json:"now"`    // the daemon's clock
	Version    string         `json:"version"`
	Build      Build          `json:"build"`
	PID        int            `json:"pid"`
	Started    time.Time      `json:"started"`
	UptimeMS   float64        `json:"uptime_ms"`
	Policy     PolicyState    `json:"policy"`
	Config     ConfigState    `json:"config"`
	Prefixes   PrefixCounts   `json:"prefixes"`
	Interfaces int            `json:"interfaces"` // that have a managed prefix
	Clients    *int           `json:"clients"`    // connections of the request sockets
	Decisions  DecisionCounts `json:"decisions"`
	PlainDials PlainDials     `json:"plain_dials"`
	Rights     Rights         `json:"rights"` // of the one who asks
	// AvoidMetered tells that policies are offered what costs more only where
	// nothing cheaper is left.
	AvoidMetered bool `json:"avoid_metered"`
}

// Build tells what the daemon was built from.
type Build struct {
	Go       string  `json:"go"` // version of the toolchain
	Revision *string `json:"revision"`
	Modified *bool   `json:"modified"` // the sources differed from the revision
}

// PolicyState tells whether the policy works.
type PolicyState struct {
	Name      *string    `json:"name"` // null: no policy is loaded
	Since     *time.Time `json:"since"`
	InService bool       `json:"in_service"`
	WhyNot    *string    `json:"why_not"` // null while in service
	Panics    uint64     `json:"panics"`  // calls that panicked
}

// ConfigState tells which configuration is in use.
type ConfigState struct {
	File   *string    `json:"file"`   // null: none, every network is managed
	Loaded *time.Time `json:"loaded"` // when the one in use was read
	// Error is why the latest reload failed, null if it did not; then the
	// configuration of before is still in use.
	Error     *string    `json:"error"`
	ErrorTime *time.Time `json:"error_time"`
}

// PrefixCounts counts the managed prefixes by health, and by cost.
type PrefixCounts struct {
	Total   int `json:"total"`
	Up      int `json:"up"`
	Suspect int `json:"suspect"`
	Down    int `json:"down"`

	Metered   int `json:"metered"`
	Expensive int `json:"expensive"` // those beyond their budget among them
	// OverBudget counts those that have used up their budget.
	OverBudget int `json:"over_budget"`
}

// DecisionCounts tells about decisions. All but Total are about those still
// remembered.
type DecisionCounts struct {
	Total      uint64 `json:"total"` // since the start
	Remembered int    `json:"remembered"`
	// PerMinute counts the last minute, or as much of it as is remembered,
	// scaled to a minute.
	PerMinute float64  `json:"per_minute"`
	TookP50MS *float64 `json:"took_p50_ms"` // half took at most this long, from request to policy's answer
	TookP99MS *float64 `json:"took_p99_ms"`
	Fallbacks int      `json:"fallbacks"` // made without the policy
}

// PlainDials counts the dials that programs made without mamma since it started.
// All but Unread are what clients of package client tell as soon as they are in
// touch again.
type PlainDials struct {
	Late      uint64 `json:"late"`       // mamma's answer did not come in time
	LeftAlone uint64 `json:"left_alone"` // mamma was not asked, because an answer had been late a moment before
	Absent    uint64 `json:"absent"`     // mamma was not there
	Failed    uint64 `json:"failed"`     // other reasons, such as a socket of a user who is not trusted
	// Unread counts decisions that their client had left before it read them,
	// because it had waited for long enough or did not want to connect any more.
	Unread uint64 `json:"unread"`
}

// Rights tell what the peer may do beyond looking at the networks.
type Rights struct {
	ReadAll bool `json:"read_all"` // see decisions on the requests of others
	Change  bool `json:"change"`   // set and reload
}

// Interfaces is the answer to /v1/interfaces.
type Interfaces struct {
	Now        time.Time   `json:"now"`
	Interfaces []Interface `json:"interfaces"` // that have a managed prefix, in prefix-list order
}

// Interface is a network interface.
type Interface struct {
	Name     string   `json:"name"`
	Index    int      `json:"index"`    // in the kernel
	Prefixes []string `json:"prefixes"` // that are managed
	Link     Link     `json:"link"`
	Wifi     *Wifi    `json:"wifi"` // null: not wireless, or nothing known
}

// Prefixes is the answer to /v1/prefixes.
type Prefixes struct {
	Now      time.Time `json:"now"`
	Prefixes []Prefix  `json:"prefixes"` // managed, in prefix-list order
}

// Prefix is a managed prefix.
type Prefix struct {
	Prefix    string   `json:"prefix"`
	Interface string   `json:"interface"`
	AltNames  []string `json:"altnames"`  // further names of the interface (ip-link(8))
	Index     int      `json:"index"`     // of the interface in the kernel
	Family    string   `json:"family"`    // IPv4 or IPv6
	Addresses []string `json:"addresses"` // sockets are bound to the first one
	Default   bool     `json:"default"`
	Health    Health   `json:"health"`
	// Cost is free, metered or expensive, as configured; a prefix beyond its
	// budget is expensive.
	Cost   string  `json:"cost"`
	Budget *Budget `json:"budget"` // null: no limit
	// Options are the policy's settings of this prefix, as text.
	Options map[string]string `json:"options"`
	// Device is the interface that sockets are bound to besides the address;
	// null where the address is enough.
	Device *string `json:"device"`
	// Resolvers are the name servers asked for connections over this prefix,
	// each with its port; null if unknown.
	Resolvers []string `json:"resolvers"`
	// OwnResolvers is false where Resolvers are those of the host.
	OwnResolvers bool  `json:"own_resolvers"`
	Path         Path  `json:"path"`
	Link         Link  `json:"link"` // of the interface
	Wifi         *Wifi `json:"wifi"` // null: not wireless, or nothing known
}

// Budget is how much may be transferred over an interface in a month, both
// directions together and whoever transfers it, and how much was. Prefixes of
// one interface share what was used.
type Budget struct {
	Limit uint64    `json:"limit_bytes"`
	Used  uint64    `json:"used_bytes"`
	Reset time.Time `json:"reset"` // when Used begins anew
	// Exceeded tells that all of it is used: then the prefix is expensive.
	Exceeded bool `json:"exceeded"`
}

// Health tells whether a prefix can be expected to work.
type Health struct {
	State  string     `json:"state"` // up, suspect or down
	Reason *string    `json:"reason"`
	Since  *time.Time `json:"since"`
}

// Path is what the TCP connections over a prefix tell.
type Path struct {
	AgeMS       *float64 `json:"age_ms"`        // since the latest look at the connections; null: there was none, and all is unknown
	SampleAgeMS *float64 `json:"sample_age_ms"` // since there was a connection to learn from: the age of what follows
	Connections *int     `json:"connections"`   // with a round-trip time, in the latest pass

	SRTTMeanMS    *float64 `json:"srtt_mean_ms"`
	SRTTMedianMS  *float64 `json:"srtt_median_ms"`
	SRTTMinMS     *float64 `json:"srtt_min_ms"`       // of the last 10 minutes
	SRTTCurrentMS *float64 `json:"srtt_current_ms"`   // minimum of the latest pass
	SRTTVariance  *float64 `json:"srtt_variance_ms2"` // across the connections, squared milliseconds
	RTTVarMedian  *float64 `json:"rttvar_median_ms"`  // of the variation within the connections
	RTTVarMean    *float64 `json:"rttvar_mean_ms"`
	LossUp        *float64 `json:"loss_up_ratio"`        // median of lost to sent segments
	RetransUp     *float64 `json:"retransmits_up_ratio"` // median of retransmitted to sent segments
}

// Link is what the counters of an interface tell. Rates are bytes per second.
type Link struct {
	AgeMS *float64 `json:"age_ms"` // since the counters were read; null: never, and all is unknown

	Down         *float64 `json:"down_bytes_per_second"`
	Up           *float64 `json:"up_bytes_per_second"`
	DownMax      *float64 `json:"down_max_bytes_per_second"` // of the last 10 minutes
	DownMaxAgeMS *float64 `json:"down_max_age_ms"`           // since it was seen
	UpMax        *float64 `json:"up_max_bytes_per_second"`
	UpMaxAgeMS   *float64 `json:"up_max_age_ms"`

	DownAverage         *float64 `json:"down_average_bytes_per_second"` // moving average over 1 s
	DownAverageMax      Windowed `json:"down_average_max_bytes_per_second"`
	DownAverageMin      Windowed `json:"down_average_min_bytes_per_second"`
	DownAverageQuantile Windowed `json:"down_average_quantile_bytes_per_second"` // 10th percentile of those above 0

	DownBytes *uint64 `json:"down_bytes"` // received so far
	UpBytes   *uint64 `json:"up_bytes"`   // sent so far
	RxErrors  *uint64 `json:"rx_errors"`
	TxErrors  *uint64 `json:"tx_errors"`
}

// Windowed is one figure over several windows.
type Windowed struct {
	Short    *float64 `json:"1s"`
	Mid      *float64 `json:"10s"`
	Long     *float64 `json:"1min"`
	VeryLong *float64 `json:"10min"` // only for maxima
}

// Wifi is what is known of a wireless link.
type Wifi struct {
	AgeMS     *float64 `json:"age_ms"`
	Signal    *int     `json:"signal_dbm"`
	SignalAvg *int     `json:"signal_average_dbm"`
	Tx        *float64 `json:"tx_bytes_per_second"` // of the link layer
	Rx        *float64 `json:"rx_bytes_per_second"`

	// From the access point's BSS Load element.
	Stations           *int     `json:"stations"`
	ChannelUtilization *float64 `json:"channel_utilization_ratio"`
	AdmissionCapacity  *int     `json:"admission_capacity"` // units of 32 us/s
}

// Policy is the answer to /v1/policy, and to what changes it.
type Policy struct {
	Now      time.Time       `json:"now"`
	State    PolicyState     `json:"state"`
	File     *string         `json:"file"`     // the plugin; null: compiled in
	Settings []PolicySetting `json:"settings"` // in the order written
	Config   ConfigState     `json:"config"`
}

// PolicySetting is one of the policy's settings as configured.
type PolicySetting struct {
	Name  string   `json:"name"`
	Value *string  `json:"value"` // null for lists and expressions
	List  []string `json:"list"`  // null for what is no list
	Text  string   `json:"text"`  // the value as written
	Block string   `json:"block"` // that holds it
	File  string   `json:"file"`
	Line  int      `json:"line"`
}

// Decisions is the answer to /v1/decisions.
type Decisions struct {
	Now       time.Time  `json:"now"`
	Last      uint64     `json:"last"`     // number of the latest decision, also if it is not shown
	Complete  bool       `json:"complete"` // false: only the asker's own are shown
	Decisions []Decision `json:"decisions"`
}

// Decision is one decision of the policy.
type Decision struct {
	Seq       uint64    `json:"seq"` // from 1 in order of time; 0 for a hypothetical one
	ID        string    `json:"id"`  // "" for a hypothetical one
	Time      time.Time `json:"time"`
	TookMS    float64   `json:"took_ms"` // from the request to the policy's answer
	Kind      string    `json:"kind"`    // connect, socketconnect or socketchoose
	App       App       `json:"app"`
	Origin    *Origin   `json:"origin"`    // null: the client does not say
	Transport string    `json:"transport"` // stream or datagram
	Family    string    `json:"family"`    // IPv4, IPv6 or unspecified
	Host      *string   `json:"host"`
	Service   *string   `json:"service"`
	Remote    *string   `json:"remote"` // address and port, with kind connect
	Bound     *string   `json:"bound"`  // address that the application bound itself
	Intents   Intents   `json:"intents"`
	Policy    *string   `json:"policy"`

	Chosen     *PrefixRef  `json:"chosen"` // null: no preference
	Alternates []PrefixRef `json:"alternates"`
	Only       bool        `json:"only"`    // nothing but chosen and alternates may be used
	Refused    bool        `json:"refused"` // the policy permits no connection
	Reused     bool        `json:"reused"`  // an idle connection is used again
	Multipath  bool        `json:"multipath"`
	Resolution string      `json:"resolution"` // whose resolver is asked: prefix, default or never
	Reason     string      `json:"reason"`
	Scores     []Score     `json:"scores"`
	Fallback   *string     `json:"fallback"` // why the policy was not followed; null: it was
	Outcome    *Outcome    `json:"outcome"`  // null: not reported (yet)
}

// App is who asked.
type App struct {
	UID        uint32  `json:"uid"`
	PID        *uint32 `json:"pid"`
	Command    *string `json:"command"`
	Executable *string `json:"executable"`
}

// Origin is on whose behalf a proxy or a library asked and where the intents come
// from. It is what the client claims: who may see the decision goes by App.
type Origin struct {
	UID     *uint32 `json:"uid"`
	PID     *uint32 `json:"pid"`
	Command *string `json:"command"`
	// Source is where the intents are from: client, rule NAME, learnt or port N,
	// or what else a client says.
	Source *string `json:"source"`
}

// Intents are what an application said. The first, and the last three, are
// words, or "category(9)" for a number without a name; the others are raw numbers, whose
// unit is a matter of policies.
type Intents struct {
	Category   *string `json:"category"`
	FileSize   *int64  `json:"filesize"` // bytes
	Duration   *int64  `json:"duration"`
	Bitrate    *int64  `json:"bitrate"`
	Burstiness *string `json:"burstiness"`
	Timeliness *string `json:"timeliness"`
	Resilience *string `json:"resilience"`
}

// PrefixRef names a prefix.
type PrefixRef struct {
	Prefix    string `json:"prefix"`
	Interface string `json:"interface"`
	Address   string `json:"address"` // to bind to
}

// Score is what a policy compared for one candidate.
type Score struct {
	Prefix      string   `json:"prefix"`
	Interface   string   `json:"interface"`
	PredictedMS *float64 `json:"predicted_ms"` // until the transfer is complete
	Terms       []Term   `json:"terms"`
	Note        *string  `json:"note"`
}

// Term is one input or part of a Score.
type Term struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"` // ms, bytes_per_second, bytes, count, probability or ""
	Value *float64 `json:"value"`
	AgeMS *float64 `json:"age_ms"` // of an input, when the decision was made; null for what was computed
}

// Outcome is how a decision turned out, as the client reported it.
type Outcome struct {
	Candidate int     `json:"candidate"` // 0 the chosen prefix, n the n-th alternate, -1 neither
	TookMS    float64 `json:"took_ms"`   // until connected, since the client began to try; or until the attempt failed
	Errno     int     `json:"errno"`     // 0: connected
	Error     *string `json:"error"`     // Errno in words
	// PlainTCP tells that MPTCP was asked for and that the connection became plain
	// TCP, as the peer or something on the path does not speak it.
	PlainTCP bool `json:"plain_tcp"`
}

// Question is a hypothetical request, the body of /v1/explain. All fields may
// be left out.
type Question struct {
	Kind      string  `json:"kind"`      // connect, socketconnect (the default) or socketchoose
	Transport string  `json:"transport"` // stream (the default) or datagram
	Family    string  `json:"family"`    // IPv4, IPv6 or unspecified (the default)
	Host      string  `json:"host"`      // name or address; an address with connect
	Service   string  `json:"service"`   // port number or service name; a number with connect
	Bound     string  `json:"bound"`     // address that the application bound
	Intents   Intents `json:"intents"`
}

// Explanation is the answer to a Question.
type Explanation struct {
	Now        time.Time `json:"now"`
	Decision   Decision  `json:"decision"`
	Candidates []Prefix  `json:"candidates"` // that the policy was offered
	Device     *string   `json:"device"`     // that the socket would be bound to
	// Resolver would be asked for the name, null if none.
	Resolver *ResolverRef `json:"resolver"`
}

// ResolverRef says who is asked for a name.
type ResolverRef struct {
	Servers []string   `json:"servers"` // null if unknown
	Prefix  *PrefixRef `json:"prefix"`  // null: the host's default resolver
}

// Setting is the body of /v1/set.
type Setting struct {
	Text string `json:"text"` // in the policy's own language, one line
}

// The types of Event.
const (
	EventDecision = "decision" // a decision was made
	EventOutcome  = "outcome"  // a client reported on one of the latest decisions
	EventPrefix   = "prefix"   // a prefix came, went or changed
	EventReload   = "reload"   // the configuration was read again
	EventDropped  = "dropped"  // the client reads too slowly
)

// Event is one line of the event stream. Decisions come in order; changes of
// prefixes that follow each other within a quarter of a second may be merged.
// Exactly one field besides the first two is set.
type Event struct {
	Type     string        `json:"type"`
	Time     time.Time     `json:"time"` // when it was noticed
	Decision *Decision     `json:"decision,omitempty"`
	Prefix   *PrefixChange `json:"prefix,omitempty"`
	Reload   *Reload       `json:"reload,omitempty"`
	Dropped  *uint64       `json:"dropped,omitempty"` // decisions that were forgotten before they could be sent
}

// PrefixChange tells what became of a prefix.
type PrefixChange struct {
	Change string `json:"change"` // added, removed, health or changed
	Prefix Prefix `json:"prefix"` // as it is now, or was last
}

// Reload tells about a reload.
type Reload struct {
	Policy *string `json:"policy"`
	File   *string `json:"file"`
	Error  *string `json:"error"` // null: it worked
}

// Failure is the answer to what went wrong.
type Failure struct {
	Error string `json:"error"` // for people
	Code  string `json:"code"`  // bad_request, forbidden, not_found, busy, refused, unsupported or internal
}
