package wire

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

// same compares messages. A nil slice and an empty one count as equal.
var same = cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}, netip.Prefix{})}

func readCapture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "captures", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// normalise replaces what the original leaves undefined: pointers become 0 or 1, and the
// padding of list entries becomes zero. It walks the bytes by itself, so that it does not
// hide a mistake of the decoder.
func normalise(b []byte) []byte {
	b = bytes.Clone(b)
	pointer := func(p []byte) bool {
		present := le.Uint64(p) != 0
		clear(p[:8])
		if present {
			p[0] = 1
		}
		return present
	}
	for at := 0; at < len(b); {
		tag, n := Tag(le.Uint32(b[at:])), int(le.Uint64(b[at+4:]))
		v := b[at+12 : at+12+n]
		at += 12 + n
		for next := true; next; {
			switch tag {
			case TagHint, TagResult:
				clear(v[20:24])
				addr, name := pointer(v[24:]), pointer(v[32:])
				next = pointer(v[40:])
				size := 48
				if addr {
					size += int(le.Uint32(v[16:]))
				}
				if name {
					size += 8 + int(le.Uint64(v[size:]))
				}
				v = v[size:]
			case TagOptionsCurrent, TagOptionsSuggested:
				value := pointer(v[8:])
				clear(v[28:32])
				next = pointer(v[32:])
				size := 40
				if value {
					size += int(le.Uint32(v[16:]))
				}
				v = v[size:]
			default:
				next = false
			}
		}
	}
	return b
}

func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/captures/*.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 53 {
		t.Errorf("%d captures, want 53", len(files))
	}
	var got Message // the same for all, so that nothing of one leaks into the next
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bin")
		t.Run(name, func(t *testing.T) {
			b := readCapture(t, name)
			err := Decode(b, &got)
			if strings.HasSuffix(name, "-malformed") {
				if e, ok := errors.AsType[*Error](err); !ok || !e.Fatal {
					t.Fatalf("error %v, want a broken frame", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, ok := captures[name]
			if !ok {
				t.Fatal("no expected value")
			}
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Fatalf("decoded (-want +got):\n%s", diff)
			}
			again, err := got.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if name == "crafted-eof-only-req" {
				return // a message without action and context is never written
			}
			if diff := cmp.Diff(normalise(b), again); diff != "" {
				t.Errorf("encoded again (-want +got):\n%s", diff)
			}
		})
	}
}

// everything returns a message with all that can be sent.
func everything() *Message {
	c := Context{
		ID: id("5dba6f36-5441-44b5-874f-cfc3182a9e88"), Inode: 1 << 40, FD: 7,
		Calls: CallSocket | CallConnect, Domain: AFInet6, Type: SockStream, Protocol: ProtoMPTCP,
		BindRequested: sa("[::ffff:10.0.0.1]:1"),
		BindSuggested: sa("10.77.1.1:0"),
		Remote:        SockAddr{AddrPort: netip.MustParseAddrPort("[fe80::1%3]:443"), FlowInfo: 0x12345},
		Hostname:      "host.test",
		Service:       "443",
		Hint:          []AddrInfo{{Flags: 2, Type: SockDgram}},
		Result: []AddrInfo{
			{Family: AFInet, Type: SockStream, Protocol: ProtoTCP, Addr: sa("10.77.1.2:443"), CanonName: "alias.test"},
			{Family: AFInet6, Type: SockStream, Protocol: ProtoTCP, Addr: sa("[fd77:1::2]:443")},
			{CanonName: "last.test"},
		},
		OptionsCurrent:   []SockOpt{opt(6, 1, 1), {Level: 300, Name: 3}, opt(300, 1, 4)},
		OptionsSuggested: []SockOpt{{Level: SolSocket, Name: SoBindToDevice, Value: []byte("wlan0\x00"), ReturnValue: -1, Flags: SockOptOptional}},
	}
	return &Message{
		Action: ActionSocketChooseRequest, HasAction: true,
		Context: c, Sockets: []SetMember{{FD: 4, Context: c}, {FD: 5}},
		Features:    FeatureAlternates | FeatureNoResolve,
		WideIntents: []WideIntent{{2, 1 << 40}, {4, -1 << 40}},
		NoResolve:   true,
		Alternates: []Alternate{
			{Local: sa("10.64.3.9:0"), Device: "wwan0", Protocol: ProtoTCP, Remotes: []SockAddr{sa("10.77.1.2:443"), sa("[fd77:1::2]:443")}},
			{},
		},
		Reason:     "latency-dominated, lowest RTT",
		DecisionID: uuid.UUID{1, 2, 3},
		Outcome:    &Outcome{Candidate: -1, Milliseconds: 12, Errno: 111, LocalPort: 40000, Flags: OutcomePlainTCP},
		Paths:      []Path{{12_300, PathUp}, {0, PathSuspect}, {math.MaxUint32, PathDown}},
		Costs:      []Cost{{CostFree, NoBudget}, {CostMetered, 1 << 40}, {CostExpensive, 0}},
		Origin:     &Origin{UID: 1000, PID: 4121, Command: "curl", Source: "rule downloads"},
		PlainDials: &PlainDials{Late: 3, LeftAlone: 2, Absent: 1, Failed: 4},
		Race:       true,
		Transfer: &Transfer{
			Candidate: 2, Flags: TransferReused | TransferPartial, Bytes: 1 << 40, Microseconds: 7, Connect: 8, RTT: 9, MinRTT: 10,
		},
		Only: OnlyThese | OnlyNone | OnlySelected,
		Selection: []Preference{
			{ByInterface, WantPrefer, "wlan0"}, {ByNetwork, WantRequire, "home"}, {ByCost, WantProhibit, "expensive"}, {9, 3, ""},
		},
		Lease: &Lease{
			Milliseconds: 10_000, Uses: 16, Bytes: 1 << 40, Flags: LeaseAnyName, Ignored: 0xf0, SizeFrom: -1, SizeTo: 1 << 41, View: 1 << 42, Measurements: 1 << 43,
			Networks: []Generation{{2, 1 << 44}, {}, {503, 1}},
		},
		Leased: []LeaseUse{{uuid.UUID{9}, 5, 4, 30}, {uuid.UUID{8}, 1, 0, 0}},
		Watch:  &Watch{Generation: 1 << 63, Milliseconds: 1000, Total: 300},
		Flow: &Flow{
			Flags: FlowOver | FlowSilent, Index: 3, RTT: 12_000, MinRTT: 9000, RTTVar: 700, Sent: 100, Lost: math.MaxUint32,
			Local: sa("10.64.3.9:40000"), Remote: sa("[fd77:1::2]:443"),
		},
		Networks: []Network{
			{
				Index: 3, Health: PathSuspect, Cost: Cost{CostMetered, 1 << 40}, Flags: NetworkDefault | NetworkOffered | NetworkRadio, Since: 1_800_000_000_000,
				RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Loss: 1500, Down: 1 << 33, Up: 1, DownMax: 1 << 34, UpMax: 2, Signal: -61, Utilization: 404,
				Prefix: netip.MustParsePrefix("192.0.2.0/24"), Interface: "wlan0", Name: "home", Device: "wlan0", Reason: "a connect failed",
				Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")},
			},
			{Cost: Cost{Left: NoBudget}, Utilization: UnknownUtilization, Prefix: netip.MustParsePrefix("2001:db8::/64"), Interface: "eth0"},
		},
	}
}

func TestEverything(t *testing.T) {
	want := everything()
	b, err := want.Append([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	var got Message
	if err := Decode(b[len("before"):], &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Decoding a small message leaves nothing of the large one behind.
	if err := Decode(readCapture(t, "connect-v4-req"), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(captures["connect-v4-req"], got, same); diff != "" {
		t.Errorf("after reuse, -want +got:\n%s", diff)
	}
}

func TestAppendErrors(t *testing.T) {
	long := strings.Repeat("x", MaxMessage)
	for _, test := range []struct {
		name string
		m    Message
		want error
	}{
		{"too long", Message{Reason: long}, ErrTooLong},
		{"NUL in name", Message{Context: Context{Hostname: "a\x00b"}}, errNUL},
		{"NUL in canonical name", Message{Context: Context{Result: []AddrInfo{{CanonName: "a\x00b"}}}}, errNUL},
		{"zone by name", Message{Context: Context{Remote: sa("[fe80::1%eth0]:1")}}, errZone},
		{"device name", Message{Alternates: []Alternate{{Device: "abcdefghijklmnop"}}}, errDevice},
		{"NUL in device name", Message{Alternates: []Alternate{{Device: "a\x00b"}}}, errNUL},
		{"absent remote", Message{Alternates: []Alternate{{Remotes: make([]SockAddr, 1)}}}, errFamily},
		{"long command", Message{Origin: &Origin{Command: strings.Repeat("x", 256)}}, errOrigin},
		{"long name in a preference", Message{Selection: []Preference{{ByNetwork, WantAvoid, strings.Repeat("x", 256)}}}, errSelection},
		{"many preferences", Message{Selection: make([]Preference, MaxPreferences+1)}, errSelection},
		{"long source", Message{Origin: &Origin{Source: strings.Repeat("x", 256)}}, errOrigin},
		{"long reason of a network", Message{Networks: []Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Reason: strings.Repeat("x", 256)}}}, errNetwork},
		{"many addresses of a network", Message{Networks: []Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Addrs: make([]netip.Addr, 17)}}}, errNetwork},
		{"network without a prefix", Message{Networks: make([]Network, 1)}, errFamily},
		{"many remotes", Message{Alternates: []Alternate{{Remotes: make([]SockAddr, MaxMessage)}}}, errRemotes},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := test.m.Append([]byte("kept"))
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if string(b) != "kept" {
				t.Errorf("dst became %d bytes long", len(b))
			}
		})
	}
}

func TestAppendFit(t *testing.T) {
	m := captures["choose2-5-socketchoose-twoidle-req"]
	member := m.Sockets[0]
	m.Sockets = nil
	for fd := range int32(200) {
		member.FD = fd
		m.Sockets = append(m.Sockets, member)
	}
	if _, err := m.Append(nil); !errors.Is(err, ErrTooLong) {
		t.Errorf("Append: error %v, want %v", err, ErrTooLong)
	}
	b, dropped, err := m.AppendFit(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > MaxMessage || len(b) < MaxMessage-500 {
		t.Errorf("%d bytes, want just below %d", len(b), MaxMessage)
	}
	var got Message
	if err := Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	want := m
	want.Sockets = m.Sockets[:len(m.Sockets)-dropped]
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAcceptID(t *testing.T) {
	a, b := uuid.UUID{1}, uuid.UUID{2}
	for _, test := range []struct {
		name             string
		stored, incoming uuid.UUID
		calls            Calls
		want             uuid.UUID
		ok               bool
	}{
		{"none in a fresh context", a, uuid.Nil, 0, a, true},
		{"first", uuid.Nil, a, 0, a, true},
		{"first, with calls", uuid.Nil, a, CallConnect, a, true},
		{"same", a, a, CallConnect, a, true},
		{"foreign", a, b, 0, a, false},
		{"none after calls", a, uuid.Nil, CallConnect, a, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := AcceptID(test.stored, test.calls, test.incoming); got != test.want || ok != test.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{TagHostname.String(), "remote_hostname"},
		{Tag(0x99).String(), "tag(0x99)"},
		{ActionSocketChooseExisting.String(), "socketchoose_resp_existing"},
		{Action(99).String(), "action(99)"},
		{(CallSocket | CallConnect).String(), "socket+connect"},
		{Calls(0).String(), "none"},
		{(FeatureReason | 1<<20).String(), "reason+0x100000"},
		{(FeaturePaths | FeatureOrigin).String(), "paths+origin"},
		{SelectionText([]Preference{{ByNetwork, WantRequire, "home"}, {ByCost, WantProhibit, "expensive"}, {ByInterface, WantPrefer, "wlan0"}}),
			"require network home, prohibit cost expensive, prefer interface wlan0"},
		{Preference{8, -7, "x"}.String(), "want(-7) kind(8) x"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestClone(t *testing.T) {
	c := everything().Context
	d := c.Clone()
	if diff := cmp.Diff(c, d, same); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	c.OptionsCurrent[0].Value[0] = 9
	c.Result[0].CanonName = "changed"
	if d.OptionsCurrent[0].Value[0] == 9 || d.Result[0].CanonName == "changed" {
		t.Error("the clone shares memory")
	}
}
