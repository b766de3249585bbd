package wire

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// logged returns the message as the text handler of log/slog shows it.
func logged(m *Message) string {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key != "m" {
			return slog.Attr{}
		}
		return a
	}})).Info("", "m", m)
	return strings.TrimSuffix(b.String(), "\n")
}

func TestLogValue(t *testing.T) {
	b, err := os.ReadFile("testdata/captures/socketconnect-v4-intents-resp.bin")
	if err != nil {
		t.Fatal(err)
	}
	var recorded Message
	if err := Decode(b, &recorded); err != nil {
		t.Fatal(err)
	}
	recorded.Context.ID = uuid.Nil
	all := Message{
		Action: ActionSocketChooseExisting, Features: FeatureReason | FeaturePaths, NoResolve: true, Reason: "a\nb",
		DecisionID: uuid.UUID{15: 9}, WideIntents: []WideIntent{{2, 5e9}}, Outcome: &Outcome{Candidate: 1, Milliseconds: 20, LocalPort: 4711},
		Paths:      []Path{{9800, PathUp}, {0, PathDown}},
		Costs:      []Cost{{CostFree, NoBudget}, {CostMetered, 5}},
		Origin:     &Origin{UID: UnknownUID, PID: 7, Command: "curl", Source: "rule web"},
		PlainDials: &PlainDials{Late: 3, LeftAlone: 2, Absent: 1, Failed: 4},
		Race:       true,
		Transfer: &Transfer{
			Candidate: 2, Flags: TransferReused | TransferPartial, Bytes: 1 << 40, Microseconds: 7, Connect: 8, RTT: 9, MinRTT: 10,
		},
		Only:      OnlyThese | OnlyNone | OnlySelected,
		Selection: []Preference{{ByNetwork, WantRequire, "home"}, {ByInterface, WantAvoid, "a b"}, {9, 3, ""}},
		Lease:     &Lease{Milliseconds: 10, Uses: 2, Bytes: 3, Flags: LeaseAnyName, Ignored: 8, SizeTo: 9, View: 4, Measurements: 5, Networks: []Generation{{2, 6}}},
		Leased:    []LeaseUse{{uuid.UUID{15: 1}, 3, 2, 20}},
		Watch:     &Watch{Generation: 255, Milliseconds: 1000, Total: 2},
		Flow:      &Flow{Flags: FlowOver, Index: 3, RTT: 9, MinRTT: 8, RTTVar: 7, Sent: 6, Lost: 5, Local: SockAddr{AddrPort: netip.MustParseAddrPort("10.64.3.9:40000")}, Remote: SockAddr{AddrPort: netip.MustParseAddrPort("192.0.2.1:443")}},
		Networks: []Network{{
			Index: 3, Health: PathDown, Cost: Cost{Cost: CostMetered}, Flags: NetworkDefault, RTT: 7, Loss: 8, Down: 9, Up: 10, Prefix: netip.MustParsePrefix("192.0.2.0/24"),
			Interface: "wlan0", Name: "home", Device: "wlan0", Reason: "a\nb", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		}},
		Alternates: []Alternate{{Local: SockAddr{AddrPort: netip.MustParseAddrPort("10.64.3.9:0")}, Device: "wwan0", Protocol: ProtoTCP, Remotes: []SockAddr{{AddrPort: netip.MustParseAddrPort("192.0.2.1:443")}}}},
		Sockets:    []SetMember{{FD: 7, Context: Context{Type: SockStream}}},
	}
	for _, tt := range []struct {
		name string
		m    *Message
		want string
	}{
		{"empty", &Message{}, "m.action=connect_req"},
		{
			"recorded", &recorded, `m.action=socketconnect_resp m.domain=2 m.type=1 m.protocol=6 m.bind_sa_res=10.77.1.1:0 m.remote_sa=10.77.1.2:8080 ` +
				`m.remote_hostname=10.77.1.2 m.remote_service=8080 m.remote_addrinfo_hint="family 2 type 1 protocol 0" ` +
				`m.remote_addrinfo_res="family 2 type 1 protocol 6 flags 0x80000000 10.77.1.2:8080" m.sockopts_current="intent category 0; intent filesize 1024"`,
		},
		{
			"extensions", &all, `m.action=socketchoose_resp_existing m.socketset_file_0.fd=7 m.socketset_file_0.type=1 m.features=reason+paths m.wide_intents="intent filesize 5000000000" ` +
				`m.no_resolve=true m.alternate_0="protocol 6 from 10.64.3.9:0 device \"wwan0\" to 192.0.2.1:443" m.reason="a\nb" m.decision_id=00000000-0000-0000-0000-000000000009 ` +
				`m.outcome="candidate 1, 20 ms, errno 0, port 4711, flags 0x0" m.paths="9800 us, health 0; 0 us, health 2" m.costs="cost 0; cost 1, 5 bytes left" m.origin="user -1, process 7, command \"curl\", source \"rule web\"" m.plain_dials="3 late, 2 left alone, 1 absent, 4 failed" ` +
				`m.race=true m.transfer="candidate 2, 1099511627776 bytes in 7 us, connect 8 us, rtt 9 us, least 10 us, flags 0x3" m.only=these+none+selected m.selection="require network \"home\"; avoid interface \"a b\"; want(3) kind(9) \"\"" ` +
				`m.lease="10 ms, 2 uses, 3 bytes, flags 0x1, ignored intents 0x8, sizes 0 to 9, view 4, measurements 5, network 2 at 6" ` +
				`m.leased_0="00000000-0000-0000-0000-000000000001: 3 uses, 2 connected, latest in 20 ms" ` +
				`m.watch="generation ff, 1000 ms, 2 in all" ` +
				`m.flow="10.64.3.9:40000 to 192.0.2.1:443 on interface 3, rtt 9 us, least 8 us, variation 7 us, 6 sent, 5 lost, flags 0x1" ` +
				`m.network_0="192.0.2.0/24 on \"wlan0\", index 3, health 2, cost 1, flags 0x1, rtt 7 us, loss 8, down 9, up 10, name \"home\", device \"wlan0\", because \"a\\nb\" 192.0.2.7"`,
		},
	} {
		if got := logged(tt.m); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// Every recorded message that decodes becomes one line, which begins with its action.
func TestLogValueOfCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/captures/*.bin")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if Decode(b, &m) != nil {
			continue
		}
		if got := logged(&m); !strings.HasPrefix(got, "m.action="+m.Action.String()) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q", file, got)
		}
	}
}
