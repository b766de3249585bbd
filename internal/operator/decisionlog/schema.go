package decisionlog

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/socket-intents/mamma/policy"
)

// version is that of the schema.
const version = 1

// MaxLine bounds the length of a line in bytes. A request comes in at most 16
// kB (internal/wire), and a prefix with its scores takes some 2 kB.
const MaxLine = 1 << 20

// maxPrefixes bounds the numbers of prefixes and maxPrefixLine the length of
// their lines, and so what a reader remembers.
const (
	maxPrefixes   = 1024
	maxPrefixLine = 64 << 10
)

// line is a line; one of the members is set.
type line struct {
	Log      *header   `json:"log,omitempty"`
	Prefix   *prefix   `json:"prefix,omitempty"`
	Decision *decision `json:"decision,omitempty"`
	Transfer *transfer `json:"transfer,omitempty"`
}

type header struct {
	Version int `json:"version"`
}

type prefix struct {
	N         int          `json:"n"`
	ID        *prefixID    `json:"id,omitempty"` // only if it differs from interface and prefix
	Interface text         `json:"interface,omitempty"`
	Index     int          `json:"index,omitempty"`
	Prefix    netip.Prefix `json:"prefix,omitzero"`
	Name      text         `json:"name,omitempty"`
	Addrs     []netip.Addr `json:"addrs,omitempty"`
	Default   bool         `json:"default,omitempty"`
	Health    *health      `json:"health,omitempty"`
	Cost      string       `json:"cost,omitempty"`
	Budget    budget       `json:"budget,omitzero"`
	Options   []option     `json:"options,omitempty"`
	Stats     pathStats    `json:"stats,omitzero"`
	Link      linkStats    `json:"link,omitzero"`
	Wifi      *wifiStats   `json:"wifi,omitempty"`
}

type prefixID struct {
	Interface text         `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

type health struct {
	State  string    `json:"state"`
	Reason text      `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// budget has the fields of policy.Budget.
type budget struct {
	Limit uint64    `json:"limit,omitempty"`
	Used  uint64    `json:"used,omitempty"`
	Reset time.Time `json:"reset,omitzero"`
}

// option is a setting of a prefix. Value is its number, if that differs from the number
// that the text would give.
type option struct {
	Name  text    `json:"name"`
	Text  text    `json:"text"`
	Value *number `json:"value,omitempty"`
}

// pathStats has the fields of policy.PathStats, so that one converts to the other.
type pathStats struct {
	Time         time.Time     `json:"time,omitzero"`
	Conns        int           `json:"conns,omitempty"`
	SampleTime   time.Time     `json:"sample_time,omitzero"`
	SRTTMean     time.Duration `json:"srtt_mean_ns,omitempty"`
	SRTTMedian   time.Duration `json:"srtt_median_ns,omitempty"`
	SRTTMin      time.Duration `json:"srtt_min_ns,omitempty"`
	SRTTCurrent  time.Duration `json:"srtt_current_ns,omitempty"`
	SRTTVariance float64       `json:"srtt_variance_ms2,omitempty"`
	RTTVarMedian time.Duration `json:"rttvar_median_ns,omitempty"`
	RTTVarMean   time.Duration `json:"rttvar_mean_ns,omitempty"`
	LossUp       float64       `json:"loss_up,omitempty"`
	RetransUp    float64       `json:"retrans_up,omitempty"`
}

// windowed has the fields of policy.Windowed.
type windowed struct {
	Short    policy.BytesPerSecond `json:"1s,omitempty"`
	Mid      policy.BytesPerSecond `json:"10s,omitempty"`
	Long     policy.BytesPerSecond `json:"1min,omitempty"`
	VeryLong policy.BytesPerSecond `json:"10min,omitempty"`
}

type linkStats struct {
	Time            time.Time             `json:"time,omitzero"`
	DownRate        policy.BytesPerSecond `json:"down_rate,omitempty"`
	UpRate          policy.BytesPerSecond `json:"up_rate,omitempty"`
	DownRateMax     policy.BytesPerSecond `json:"down_rate_max,omitempty"`
	UpRateMax       policy.BytesPerSecond `json:"up_rate_max,omitempty"`
	DownRateMaxTime time.Time             `json:"down_rate_max_time,omitzero"`
	UpRateMaxTime   time.Time             `json:"up_rate_max_time,omitzero"`
	DownSMA         policy.BytesPerSecond `json:"down_sma,omitempty"`
	DownSMAMax      windowed              `json:"down_sma_max,omitzero"`
	DownSMAMin      windowed              `json:"down_sma_min,omitzero"`
	DownSMAQuantile windowed              `json:"down_sma_quantile,omitzero"`
	DownBytes       uint64                `json:"down_bytes,omitempty"`
	UpBytes         uint64                `json:"up_bytes,omitempty"`
	RxErrors        uint64                `json:"rx_errors,omitempty"`
	TxErrors        uint64                `json:"tx_errors,omitempty"`
}

// wifiStats has the fields of policy.WifiStats.
type wifiStats struct {
	Time                       time.Time             `json:"time,omitzero"`
	Signal                     int8                  `json:"signal_dbm,omitempty"`
	SignalAvg                  int8                  `json:"signal_avg_dbm,omitempty"`
	TxRate                     policy.BytesPerSecond `json:"tx_rate,omitempty"`
	RxRate                     policy.BytesPerSecond `json:"rx_rate,omitempty"`
	BSSLoad                    bool                  `json:"bss_load,omitempty"`
	Stations                   uint16                `json:"stations,omitempty"`
	ChannelUtilization         float64               `json:"channel_utilization_percent,omitempty"`
	AvailableAdmissionCapacity uint16                `json:"available_admission_capacity,omitempty"`
}

type decision struct {
	Policy      text             `json:"policy"`
	Now         time.Time        `json:"now,omitzero"`
	Kind        string           `json:"kind"`
	Transport   string           `json:"transport,omitempty"` // "datagram", else a stream
	Family      string           `json:"family,omitempty"`
	Host        text             `json:"host,omitempty"`
	Service     text             `json:"service,omitempty"`
	Port        uint16           `json:"port,omitempty"`
	Remote      netip.AddrPort   `json:"remote,omitzero"`
	Bound       netip.Addr       `json:"bound,omitzero"`
	BoundPrefix *int             `json:"bound_prefix,omitempty"`
	Intents     map[string]int64 `json:"intents,omitempty"`
	Prefixes    []int            `json:"prefixes,omitempty"`
	StandIn     *int             `json:"stand_in,omitempty"`
	Aside       bool             `json:"aside,omitempty"`
	DestStats   []pathStats      `json:"dest_stats,omitempty"`  // of the prefixes, in their order
	Connections []connections    `json:"connections,omitempty"` // of the prefixes, in their order
	Sockets     []socket         `json:"sockets,omitempty"`
	App         app              `json:"app,omitzero"`
	Answer      answer           `json:"answer"`
}

// connections has the fields of policy.Connections.
type connections struct {
	User    int `json:"user,omitempty"`
	Program int `json:"program,omitempty"`
}

type socket struct {
	FD        int32      `json:"fd"`
	Local     netip.Addr `json:"local,omitzero"`
	Prefix    *int       `json:"prefix,omitempty"`
	Multipath bool       `json:"multipath,omitempty"`
}

type app struct {
	UID        uint32 `json:"uid"`
	PID        uint32 `json:"pid"`
	Command    text   `json:"command,omitempty"`
	Executable text   `json:"executable,omitempty"`
}

type transfer struct {
	Policy    text             `json:"policy"`
	Token     uint64           `json:"token,omitempty"`
	Prefix    *int             `json:"prefix,omitempty"`
	App       app              `json:"app,omitzero"`
	Kind      string           `json:"kind"`
	Intents   map[string]int64 `json:"intents,omitempty"`
	Host      text             `json:"host,omitempty"`
	Remote    netip.Addr       `json:"remote,omitzero"`
	Port      uint16           `json:"port,omitempty"`
	Measured  bool             `json:"measured,omitempty"`
	Reused    bool             `json:"reused,omitempty"`
	Partial   bool             `json:"partial,omitempty"`
	Bytes     uint64           `json:"bytes,omitempty"`
	Duration  time.Duration    `json:"duration_ns,omitempty"`
	Connect   time.Duration    `json:"connect_ns,omitempty"`
	RTT       time.Duration    `json:"rtt_ns,omitempty"`
	MinRTT    time.Duration    `json:"min_rtt_ns,omitempty"`
	Predicted time.Duration    `json:"predicted_ns,omitempty"`
	End       time.Time        `json:"end,omitzero"`
}

type answer struct {
	Prefix     *int           `json:"prefix,omitempty"`
	Socket     *int           `json:"socket,omitempty"`
	Alternates []int          `json:"alternates,omitempty"`
	Only       bool           `json:"only,omitempty"`
	Multipath  bool           `json:"multipath,omitempty"`
	Resolution string         `json:"resolution,omitempty"`
	Options    []socketOption `json:"options,omitempty"`
	Race       bool           `json:"race,omitempty"`
	Token      uint64         `json:"token,omitempty"`
	Lease      *lease         `json:"lease,omitempty"`
	Reason     text           `json:"reason,omitempty"`
	Scores     []score        `json:"scores,omitempty"`
}

type lease struct {
	For      time.Duration `json:"for_ns,omitempty"`
	Uses     uint32        `json:"uses,omitempty"`
	Bytes    uint64        `json:"bytes,omitempty"`
	Measured bool          `json:"measured,omitempty"`
	AnyName  bool          `json:"any_name,omitempty"`
	Ignored  uint32        `json:"ignored,omitempty"` // mask of 1 << intent
	SizeFrom int64         `json:"size_from,omitempty"`
	SizeTo   int64         `json:"size_to,omitempty"`
}

type socketOption struct {
	Level    int32  `json:"level"`
	Name     int32  `json:"name"`
	Value    []byte `json:"value"` // base64
	Optional bool   `json:"optional,omitempty"`
}

type score struct {
	Prefix    *int          `json:"prefix,omitempty"`
	Predicted time.Duration `json:"predicted_ns,omitempty"`
	Terms     []term        `json:"terms,omitempty"`
	Note      text          `json:"note,omitempty"`
}

type term struct {
	Name  text      `json:"name"`
	Unit  string    `json:"unit,omitempty"`
	Value number    `json:"value"`
	Time  time.Time `json:"time,omitzero"`
}

// names are the words for the values of an enumeration. A value whose word is "" is
// left out of the file.
type names []string

var (
	kinds       = names{policy.Connect: "connect", policy.Resolve: "resolve", policy.SocketConnect: "socketconnect", policy.SocketChoose: "socketchoose"}
	transports  = names{policy.Stream: "", policy.Datagram: "datagram"}
	families    = names{policy.Unspecified: "", policy.IPv4: "IPv4", policy.IPv6: "IPv6"}
	states      = names{policy.Up: "up", policy.Suspect: "suspect", policy.Down: "down"}
	costs       = names{policy.Free: "", policy.Metered: "metered", policy.Expensive: "expensive"}
	resolutions = names{policy.ResolveOnPrefix: "", policy.ResolveDefault: "default", policy.ResolveNever: "never"}
	units       = names{policy.None: "", policy.Milliseconds: "ms", policy.ByteRate: "B/s", policy.Bytes: "B", policy.Count: "count", policy.Probability: "probability"}
)

// word returns the word for a value. A value without a word is written as a number,
// which the reader refuses.
func word[T ~uint8](n names, v T) string {
	if int(v) < len(n) {
		return n[v]
	}
	return fmt.Sprint(uint8(v))
}

func value[T ~uint8](n names, what, word string) (T, error) {
	for i, name := range n {
		if name == word {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q", what, word)
}

// text is a string that may not be UTF-8.
type text string

type encodedText struct {
	Base64 string `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(encodedText{base64.StdEncoding.EncodeToString([]byte(t))})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var e encodedText
		if err := json.Unmarshal(b, &e); err != nil {
			return err
		}
		raw, err := base64.StdEncoding.DecodeString(e.Base64)
		*t = text(raw)
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}

// number is a float64 that may not be finite.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	case math.IsInf(f, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	default:
		return json.Marshal(f)
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"+Inf"`:
		*n = number(math.Inf(1))
	case `"-Inf"`:
		*n = number(math.Inf(-1))
	default:
		return json.Unmarshal(b, (*float64)(n))
	}
	return nil
}
