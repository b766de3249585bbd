package control

import "time"

// SchemaVersion is the version in the paths and in [Status]. It rises only when a field
// is removed or changes its meaning.
const SchemaVersion = 1

// Status is the answer to /v1/status: the state of the daemon.
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
	Interfaces int            `json:"interfaces"` // number of interfaces that have a managed prefix
	Clients    *int           `json:"clients"`    // number of connections to the request sockets
	Decisions  DecisionCounts `json:"decisions"`
	PlainDials PlainDials     `json:"plain_dials"`
	Rights     Rights         `json:"rights"` // of the peer that asks
	// AvoidMetered is true if policies are offered a costlier prefix only where
	// no cheaper one is left.
	AvoidMetered bool         `json:"avoid_metered"`
	Routing      RoutingState `json:"routing"`
}

// RoutingState says how routing = "manage" works.
type RoutingState struct {
	Managed bool `json:"managed"` // it is configured
	// Error says why routes and rules are not as they should be; null while they are.
	Error *string `json:"error"`
	// Others are rules of other programs that have precedence over mamma's for a
	// network, or over which mamma's have precedence.
	Others []OtherRule `json:"others"`
}

// OtherRule is a rule of another program (ip-rule(8)).
type OtherRule struct {
	Rule string `json:"rule"` // the network and the rule, for people
	Text string `json:"text"` // what happens to them
}

// Build tells what the daemon was built from.
type Build struct {
	Go       string  `json:"go"` // version of the toolchain
	Revision *string `json:"revision"`
	Modified *bool   `json:"modified"` // the sources differed from the revision
}

// PolicyState says which policy is loaded and whether it answers.
type PolicyState struct {
	Name      *string    `json:"name"` // null: no policy is loaded
	Since     *time.Time `json:"since"`
	InService bool       `json:"in_service"` // false: requests are answered without the policy
	WhyNot    *string    `json:"why_not"`    // null while in service
	Panics    uint64     `json:"panics"`     // calls that panicked
}

// ConfigState says which configuration is in use, and how the latest reload went.
type ConfigState struct {
	File   *string    `json:"file"`   // null: none, every network is managed
	Loaded *time.Time `json:"loaded"` // when the one in use was read
	// Error says why the latest reload failed; null if it succeeded. After a failed
	// reload the previous configuration stays in use.
	Error     *string    `json:"error"`
	ErrorTime *time.Time `json:"error_time"`
}

// PrefixCounts counts the managed prefixes: once by health (Up, Suspect, Down) and
// once by cost.
type PrefixCounts struct {
	Total   int `json:"total"`
	Up      int `json:"up"`
	Suspect int `json:"suspect"`
	Down    int `json:"down"`

	Metered   int `json:"metered"`
	Expensive int `json:"expensive"` // including those counted in OverBudget
	// OverBudget counts the prefixes that have used up their budget.
	OverBudget int `json:"over_budget"`
}

// DecisionCounts sums up the decisions. All fields but Total and Leased cover only the
// decisions that the daemon still remembers.
type DecisionCounts struct {
	Total      uint64 `json:"total"` // since the start
	Remembered int    `json:"remembered"`
	// PerMinute is the rate of the last minute. Where less than a minute is
	// remembered, the count is scaled up to a minute.
	PerMinute float64  `json:"per_minute"`
	TookP50MS *float64 `json:"took_p50_ms"` // median time from the request to the policy's answer
	TookP99MS *float64 `json:"took_p99_ms"` // 99th percentile of the same
	Fallbacks int      `json:"fallbacks"`   // decisions made without the policy
	// Leased is how many further connections programs have made since the start by
	// decisions that hold for more than one, without asking. They report it.
	Leased uint64 `json:"leased"`
}

// PlainDials counts the dials since the daemon's start that programs made without
// an answer of the daemon. All fields but Unread are reported by programs that use
// package client, when they next reach the daemon.
type PlainDials struct {
	Late      uint64 `json:"late"`       // the daemon's answer did not come in time
	LeftAlone uint64 `json:"left_alone"` // the daemon was not asked, because its previous answer had been late
	Absent    uint64 `json:"absent"`     // nothing listened at the request socket
	Failed    uint64 `json:"failed"`     // other reasons, such as a request socket of a user who is not trusted
	// Unread counts the decisions that no client read: the client had closed its
	// connection, because it waited no longer or did not want to dial any more.
	Unread uint64 `json:"unread"`
}

// Rights say what the peer may do besides looking at the networks, which everybody
// may who can connect.
type Rights struct {
	ReadAll bool `json:"read_all"` // may see the decisions on requests of other users
	Change  bool `json:"change"`   // may set and reload
}

// Interfaces is the answer to /v1/interfaces.
type Interfaces struct {
	Now        time.Time   `json:"now"`
	Interfaces []Interface `json:"interfaces"` // those that have a managed prefix, in the order of the prefix list
}

// Interface is a network interface.
type Interface struct {
	Name     string   `json:"name"`
	Index    int      `json:"index"`    // the kernel's number of the interface
	Prefixes []string `json:"prefixes"` // the managed ones
	Link     Link     `json:"link"`
	Wifi     *Wifi    `json:"wifi"` // null: not wireless, or nothing known
}

// Prefixes is the answer to /v1/prefixes.
type Prefixes struct {
	Now      time.Time `json:"now"`
	Prefixes []Prefix  `json:"prefixes"` // the managed ones, in the order of the prefix list
}

// Prefix is a managed prefix.
type Prefix struct {
	Prefix    string   `json:"prefix"`
	Name      *string  `json:"name"` // what the configuration calls the network; null: it has no name
	Interface string   `json:"interface"`
	AltNames  []string `json:"altnames"`  // further names of the interface (ip-link(8))
	Index     int      `json:"index"`     // the kernel's number of the interface
	Family    string   `json:"family"`    // IPv4 or IPv6
	Addresses []string `json:"addresses"` // the host's own in the prefix; sockets are bound to the first one
	Default   bool     `json:"default"`   // the configuration marks the prefix as default
	Health    Health   `json:"health"`
	// Cost is free, metered or expensive. It is the configured cost, but expensive
	// once the budget is used up.
	Cost string `json:"cost"`
	// CostSource is who says what Cost is: configuration, budget, or a service of the
	// host such as NetworkManager. null: nobody, and the cost is free.
	CostSource *string `json:"cost_source"`
	Budget     *Budget `json:"budget"` // null: no limit
	// Options are the settings that the configuration gives the policy for this
	// prefix, by name, as text.
	Options map[string]string `json:"options"`
	// Device is the interface that sockets are bound to in addition to the address.
	// It is null where the address alone leads traffic over this prefix.
	Device *string `json:"device"`
	// Resolvers are the name servers asked for connections over this prefix,
	// each with its port; null if unknown.
	Resolvers []string `json:"resolvers"`
	// OwnResolvers is false if the prefix has no resolvers of its own, and Resolvers
	// are therefore the host's.
	OwnResolvers bool `json:"own_resolvers"`
	// ResolversSource is who names the resolvers: configuration, systemd-resolved,
	// systemd-networkd, or files of the network manager. null: the prefix has none of its own.
	ResolversSource *string `json:"resolvers_source"`
	// Facts are what services of the host, and the kernel, say about the network.
	Facts []Fact `json:"facts"`
	Path  Path   `json:"path"`
	Link  Link   `json:"link"` // of the interface
	Wifi  *Wifi  `json:"wifi"` // null: not wireless, or nothing known
}

// Fact is one statement of a service of the host about a network.
type Fact struct {
	Name   string `json:"name"`   // such as metered, connectivity, signal, roaming
	Value  string `json:"value"`  // for people
	Source string `json:"source"` // NetworkManager, ModemManager, systemd-resolved or systemd-networkd
	// Overruled is true if the configuration decides in place of this fact.
	Overruled bool `json:"overruled"`
}

// Budget says how much may be transferred over an interface in a month and how
// much was. Traffic of all programs and both directions counts. The prefixes of
// one interface share one Used.
type Budget struct {
	Limit uint64    `json:"limit_bytes"`
	Used  uint64    `json:"used_bytes"`
	Reset time.Time `json:"reset"` // when Used begins again
	// Exceeded is true if the budget is used up. The prefix's Cost is then expensive.
	Exceeded bool `json:"exceeded"`
}

// Health says whether connections over a prefix can be expected to work.
type Health struct {
	State  string     `json:"state"`  // up, suspect or down
	Reason *string    `json:"reason"` // why State is what it is
	Since  *time.Time `json:"since"`  // when State began
}

// Path holds what was measured of the TCP connections over a prefix. The daemon
// looks at all of them in passes (see [Path.AgeMS]). In Path, Link and Wifi, the tag
// metric names the figure of policy's table that the field holds (figures.go).
type Path struct {
	AgeMS       *float64 `json:"age_ms"`                         // age of the latest pass; null: there was none, and every figure is unknown
	SampleAgeMS *float64 `json:"sample_age_ms"`                  // age of the latest pass that found a connection: the age of the figures below
	Connections *int     `json:"connections" metric:"num_conns"` // number with a round-trip time in the latest pass

	SRTTMeanMS    *float64 `json:"srtt_mean_ms" metric:"srtt_mean_recent"`
	SRTTMedianMS  *float64 `json:"srtt_median_ms" metric:"srtt_median_recent"`
	SRTTMinMS     *float64 `json:"srtt_min_ms" metric:"srtt_minimum_recent"`           // minimum of the last 10 minutes
	SRTTCurrentMS *float64 `json:"srtt_current_ms" metric:"srtt_minimum_current"`      // minimum of the latest pass
	SRTTVariance  *float64 `json:"srtt_variance_ms2" metric:"srtt_var_across_current"` // across the connections, in squared milliseconds
	RTTVarMedian  *float64 `json:"rttvar_median_ms" metric:"srtt_var_median_within"`   // of each connection's own variation (RFC 6298)
	RTTVarMean    *float64 `json:"rttvar_mean_ms" metric:"srtt_var_mean_within"`
	LossUp        *float64 `json:"loss_up_ratio" metric:"packet_loss_up_median"` // lost per sent segment, median of the connections
	RetransUp     *float64 `json:"retransmits_up_ratio"`                         // retransmitted per sent segment, median of the connections
}

// Link holds what was measured by the counters of an interface. Rates are in bytes
// per second. Down is what the interface receives, Up what it sends.
type Link struct {
	AgeMS *float64 `json:"age_ms"` // since the counters were read; null: they were not, and every figure is unknown

	Down         *float64 `json:"down_bytes_per_second" metric:"download_rate_current"`
	Up           *float64 `json:"up_bytes_per_second" metric:"upload_rate_current"`
	DownMax      *float64 `json:"down_max_bytes_per_second" metric:"download_rate_max_recent"` // maximum of the last 10 minutes
	DownMaxAgeMS *float64 `json:"down_max_age_ms"`                                             // since the maximum was seen
	UpMax        *float64 `json:"up_max_bytes_per_second" metric:"upload_rate_max_recent"`
	UpMaxAgeMS   *float64 `json:"up_max_age_ms"`

	DownAverage         *float64 `json:"down_average_bytes_per_second" metric:"download_sma_current"` // moving average over 1 s
	DownAverageMax      Windowed `json:"down_average_max_bytes_per_second" metric:"download_sma_max"`
	DownAverageMin      Windowed `json:"down_average_min_bytes_per_second" metric:"download_sma_min"`
	DownAverageQuantile Windowed `json:"down_average_quantile_bytes_per_second" metric:"download_sma_nonzero_10q"` // 10th percentile of the averages above 0

	DownBytes *uint64 `json:"down_bytes" metric:"download_counter"` // the kernel's counter of received bytes
	UpBytes   *uint64 `json:"up_bytes" metric:"upload_counter"`     // the kernel's counter of sent bytes
	RxErrors  *uint64 `json:"rx_errors" metric:"rx_errors"`
	TxErrors  *uint64 `json:"tx_errors" metric:"tx_errors"`
}

// Windowed is one figure over several windows, each of which ends now. The tag window is
// what follows the metric's name for that window.
type Windowed struct {
	Short    *float64 `json:"1s" window:""`
	Mid      *float64 `json:"10s" window:"_mid"`
	Long     *float64 `json:"1min" window:"_long"`
	VeryLong *float64 `json:"10min" window:"_longlong"` // null but for maxima
}

// Wifi holds what the driver and the access point say about a wireless link.
type Wifi struct {
	AgeMS     *float64 `json:"age_ms"` // since the driver was asked
	Signal    *int     `json:"signal_dbm" metric:"signal_strength"`
	SignalAvg *int     `json:"signal_average_dbm" metric:"signal_strength_avg"`
	Tx        *float64 `json:"tx_bytes_per_second" metric:"tx_rate"` // bit rate of the link layer, not what programs send
	Rx        *float64 `json:"rx_bytes_per_second" metric:"rx_rate"`

	// These are from the access point's BSS Load element (IEEE 802.11).
	Stations           *int     `json:"stations" metric:"number_of_stations"`
	ChannelUtilization *float64 `json:"channel_utilization_ratio" metric:"channel_utilization"`
	AdmissionCapacity  *int     `json:"admission_capacity" metric:"available_admission_capacity"` // units of 32 us/s
}

// Policy is the answer to /v1/policy, and to what changes it.
type Policy struct {
	Now      time.Time       `json:"now"`
	State    PolicyState     `json:"state"`
	File     *string         `json:"file"`     // the plugin; null: compiled in
	Settings []PolicySetting `json:"settings"` // in the order of the configuration
	Config   ConfigState     `json:"config"`
}

// PolicySetting is one setting that the configuration gives the policy.
type PolicySetting struct {
	Name  string   `json:"name"`
	Value *string  `json:"value"` // null if the value is a list or an expression
	List  []string `json:"list"`  // null if the value is not a list
	Text  string   `json:"text"`  // the value as the configuration has it
	Block string   `json:"block"` // the block that holds the setting
	File  string   `json:"file"`
	Line  int      `json:"line"`
}

// Decisions is the answer to /v1/decisions.
type Decisions struct {
	Now       time.Time  `json:"now"`
	Last      uint64     `json:"last"`     // Seq of the latest decision, even if that one is not shown
	Complete  bool       `json:"complete"` // false: only decisions on requests of the peer's own user are shown
	Decisions []Decision `json:"decisions"`
}

// Decision is one decision of the policy.
type Decision struct {
	Seq       uint64    `json:"seq"` // from 1 in order of time; 0 for the answer to a Question
	ID        string    `json:"id"`  // "" for the answer to a Question
	Time      time.Time `json:"time"`
	TookMS    float64   `json:"took_ms"` // from the request to the policy's answer
	Kind      string    `json:"kind"`    // connect, socketconnect or socketchoose
	App       App       `json:"app"`
	Origin    *Origin   `json:"origin"`    // null: the client claims none
	Transport string    `json:"transport"` // stream or datagram
	Family    string    `json:"family"`    // IPv4, IPv6 or unspecified
	Host      *string   `json:"host"`
	Service   *string   `json:"service"`
	Remote    *string   `json:"remote"` // address and port; only for kind connect
	Bound     *string   `json:"bound"`  // the address that the application itself had bound its socket to
	Intents   Intents   `json:"intents"`
	// Selection is which networks the application itself permits and prefers, as in
	// "require network home, avoid cost metered"; null: it does not say.
	Selection *string `json:"selection"`
	// Selected is true if Only, and perhaps Refused, are true because of Selection and
	// not because of the policy.
	Selected bool    `json:"selected"`
	Policy   *string `json:"policy"` // its name

	Chosen     *PrefixRef  `json:"chosen"`     // null: no preference
	Alternates []PrefixRef `json:"alternates"` // to be tried after Chosen, in this order
	Only       bool        `json:"only"`       // no network but Chosen and Alternates may be used
	Refused    bool        `json:"refused"`    // the policy, or Selection, permits no connection
	Reused     bool        `json:"reused"`     // the client is told to use an idle connection of its own again
	Multipath  bool        `json:"multipath"`  // the client is told to use MPTCP
	Resolution string      `json:"resolution"` // whose resolver is asked: prefix, default or never
	Reason     string      `json:"reason"`     // the policy's, for people
	Scores     []Score     `json:"scores"`     // what the policy compared
	Fallback   *string     `json:"fallback"`   // why the policy was not followed; null: it was
	Outcome    *Outcome    `json:"outcome"`    // null: the client has not reported any
	// Leased is how many further connections the client has made by this decision
	// without asking, as it was permitted to. Outcome is that of the latest reported.
	Leased uint64 `json:"leased"`
}

// App is the process that asked, as the kernel names it.
type App struct {
	UID        uint32  `json:"uid"`
	PID        *uint32 `json:"pid"`
	Command    *string `json:"command"`
	Executable *string `json:"executable"`
}

// Origin says on whose behalf a proxy or a library asked, and where the intents
// come from. The client claims all of it, and nothing is verified: App, not Origin,
// decides who may see the decision.
type Origin struct {
	UID     *uint32 `json:"uid"`
	PID     *uint32 `json:"pid"`
	Command *string `json:"command"`
	// Source says where the intents come from. Programs of this project say client,
	// rule NAME, learnt or port N; other clients may say something else.
	Source *string `json:"source"`
}

// Intents are what an application stated; null is an intent that it did not state.
// Category, burstiness, timeliness and resilience are words, or "category(9)" for a
// number without a name. The others are plain numbers; where no unit stands here,
// the policy decides what the unit is.
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
	Prefix    string  `json:"prefix"`
	Name      *string `json:"name"` // what the configuration calls the network; null: it has no name
	Interface string  `json:"interface"`
	Address   string  `json:"address"` // the one to bind a socket to
}

// Score is what a policy compared for one candidate.
type Score struct {
	Prefix      string   `json:"prefix"`
	Interface   string   `json:"interface"`
	PredictedMS *float64 `json:"predicted_ms"` // predicted time until the transfer is complete
	Terms       []Term   `json:"terms"`
	Note        *string  `json:"note"` // what else the policy says about the candidate
}

// Term is one figure that a Score was made of: a measurement or a step of the
// calculation.
type Term struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"` // ms, bytes_per_second, bytes, count, probability or ""
	Value *float64 `json:"value"`
	AgeMS *float64 `json:"age_ms"` // of a measurement, when the decision was made; null for a step of the calculation
}

// Outcome is what the client reported of the attempt to follow a decision.
type Outcome struct {
	Candidate int     `json:"candidate"` // 0: the chosen prefix, n: the n-th alternate, -1: a plain dial without either
	TookMS    float64 `json:"took_ms"`   // from the client's first attempt until one connected or failed
	Errno     int     `json:"errno"`     // 0: connected
	Error     *string `json:"error"`     // Errno in words
	// PlainTCP is true if MPTCP was asked for and the connection became plain TCP,
	// because the peer or something on the path does not speak MPTCP.
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
	Bound     string  `json:"bound"`     // the address that the application bound its socket to
	Intents   Intents `json:"intents"`
	// Selection is which networks the application itself permits and prefers.
	Selection []Preference `json:"selection"`
}

// Preference is how much an application wants the networks of one interface, name or cost.
type Preference struct {
	Want string `json:"want"` // require, prefer, avoid or prohibit
	Kind string `json:"kind"` // interface, network or cost
	Name string `json:"name"` // the interface, the network's name, or free, metered or expensive
}

// Explanation is the answer to a Question.
type Explanation struct {
	Now        time.Time `json:"now"`
	Decision   Decision  `json:"decision"`
	Candidates []Prefix  `json:"candidates"` // the prefixes that the policy was offered
	Device     *string   `json:"device"`     // the interface that the socket would be bound to
	// Resolver is where the name would be resolved; null: nowhere.
	Resolver *ResolverRef `json:"resolver"`
}

// ResolverRef says where a name is resolved.
type ResolverRef struct {
	Servers []string   `json:"servers"` // null if unknown
	Prefix  *PrefixRef `json:"prefix"`  // null: the host's default resolver, or that of Domain
	// Domain is the domain that the name lies below and that has servers of its own,
	// which are asked whatever network is chosen; null: there is none.
	Domain *string `json:"domain"`
}

// Setting is the body of /v1/set.
type Setting struct {
	Text string `json:"text"` // in the policy's own language, one line
}

// Forgetting is the body of /v1/forget. It says whose measurements are to be forgotten.
type Forgetting struct {
	Interface string `json:"interface"` // "": of all
}

// Forgotten is the answer to it.
type Forgotten struct {
	Now time.Time `json:"now"`
	// Attachments is how many places, such as access points, the figures were of that were
	// kept for when they come back. Figures of the present are forgotten as well.
	Attachments int `json:"attachments"`
}

// The types of Event.
const (
	EventDecision = "decision" // a decision was made
	EventOutcome  = "outcome"  // a client reported on one of the latest decisions
	EventPrefix   = "prefix"   // a prefix came, went or changed
	EventReload   = "reload"   // the configuration was read again
	EventDropped  = "dropped"  // the client reads too slowly
)

// Event is one line of the event stream. Besides Type and Time exactly one field is
// set. Decisions come in the order of Seq. Changes of a prefix within a quarter of
// a second may be merged into one event.
type Event struct {
	Type     string        `json:"type"`
	Time     time.Time     `json:"time"` // when the decision was made, or when the daemon noticed anything else
	Decision *Decision     `json:"decision,omitempty"`
	Prefix   *PrefixChange `json:"prefix,omitempty"`
	Reload   *Reload       `json:"reload,omitempty"`
	Dropped  *uint64       `json:"dropped,omitempty"` // decisions that were forgotten before they could be sent
}

// PrefixChange says what changed about a prefix.
type PrefixChange struct {
	Change  string   `json:"change"`            // added, removed, health or changed
	Differs []string `json:"differs,omitempty"` // what is other than before, in the words below, if Change is changed
	Prefix  Prefix   `json:"prefix"`            // the new state; the last one if the prefix was removed
}

// What may differ about a prefix.
const (
	DiffersCost      = "cost"
	DiffersDefault   = "default"
	DiffersName      = "name"
	DiffersAddresses = "addresses"
	DiffersDevice    = "device" // of the sockets that are placed on it
	DiffersOptions   = "options"
	DiffersResolvers = "resolvers"
	DiffersFacts     = "facts" // what is told about it, as Prefix.Facts
)

// Reload says what came of reading the configuration again.
type Reload struct {
	Policy *string `json:"policy"` // the name of the policy that is now in use
	File   *string `json:"file"`   // the configuration file
	Error  *string `json:"error"`  // why the old configuration stays; null: the reload succeeded
}

// Failure is the body of every answer whose status is not 200.
type Failure struct {
	Error string `json:"error"` // for people
	Code  string `json:"code"`  // bad_request, forbidden, not_found, busy, refused, unsupported or internal
}
