package doc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tlv has the tag's number and name from the page's dumps.
var tlv = regexp.MustCompile(`tag (0x[0-9a-f]+) (\w+), ([0-9]+) bytes`)

// dumps are the blocks of the page that show bytes: a name, then lines.
func dumps(t *testing.T) (names []string, bytesOf map[string][]byte) {
	t.Helper()
	bytesOf = map[string][]byte{}
	for _, block := range regexp.MustCompile("(?s)```\n([a-z0-9.-]+)\n(0000.*?)```").FindAllStringSubmatch(protocol(t), -1) {
		names = append(names, block[1])
		bytesOf[block[1]] = undump(t, block[1], block[2])
	}
	return names, bytesOf
}

// undump reads the bytes of a block. Its remarks on tags and lengths must be true.
func undump(t *testing.T, name, text string) (got []byte) {
	t.Helper()
	for l := range strings.Lines(text) {
		var offset int
		if _, err := fmt.Sscanf(l, "%x", &offset); err != nil || offset != len(got) {
			t.Errorf("%s: %q begins at %#x", name, l, len(got))
		}
		text, remark := l[6:53], l[53:]
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if m := tlv.FindStringSubmatch(remark); m != nil {
			tag, _ := strconv.ParseUint(m[1], 0, 32)
			if b[0] != byte(tag) || strconv.Itoa(int(b[4])) != m[3] {
				t.Errorf("%s: %q is not what it says", name, l)
			}
			if name := wire.Tag(tag).String(); m[2] != name && (name != "eof" || m[2] != "end") {
				t.Errorf("%s: %q is %s", name, l, name)
			}
		}
		got = append(got, b...)
	}
	return got
}

// The exchange in the page is the recorded one byte by byte, and decodes.
func TestProtocolExchange(t *testing.T) {
	names, shown := dumps(t)
	recorded := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".bin") {
			continue
		}
		recorded++
		want, err := os.ReadFile("../internal/wire/testdata/captures/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(shown[name], want) {
			t.Errorf("%s is another message", name)
		}
		var m wire.Message
		if err := wire.Decode(shown[name], &m); err != nil {
			t.Error(err)
		}
	}
	if recorded != 2 {
		t.Errorf("%d recorded messages are shown", recorded)
	}
}

// extended are the messages whose extensions the page shows.
var extended = map[string]wire.Message{
	"request": {
		Action: wire.ActionSocketConnectRequest, HasAction: true,
		Features: wire.FeatureAlternates | wire.FeatureReason | wire.FeatureReports | wire.FeatureWideIntents | wire.FeatureNoResolve |
			wire.FeaturePaths | wire.FeatureOrigin | wire.FeaturePlainDials | wire.FeatureOnly | wire.FeatureSelection | wire.FeatureCosts | wire.FeatureLeases | wire.FeatureNetworks | wire.FeatureFlows,
		WideIntents: []wire.WideIntent{{Option: 2, Value: 5_000_000_000}},
		NoResolve:   true,
		Origin:      &wire.Origin{UID: 1000, PID: 4711, Command: "curl", Source: "rule web"},
		PlainDials:  &wire.PlainDials{Late: 2, LeftAlone: 1, Absent: 3},
		Selection: []wire.Preference{
			{Kind: wire.ByNetwork, Want: wire.WantRequire, Name: "home"}, {Kind: wire.ByCost, Want: wire.WantAvoid, Name: "metered"},
		},
		Leased: []wire.LeaseUse{{ID: uuid.MustParse("5f2a91c3-7be4-408d-0000-000000000029"), Uses: 12, Connected: 11, Milliseconds: 31}},
	},
	"answer": {
		Action: wire.ActionSocketConnectResponse, HasAction: true,
		Features:   wire.FeatureAlternates,
		Alternates: []wire.Alternate{{Local: sockAddr("10.64.3.9:0"), Device: "wwan0", Remotes: []wire.SockAddr{sockAddr("192.0.2.1:80")}}},
		Reason:     "lowest RTT",
		DecisionID: uuid.MustParse("5f2a91c3-7be4-408d-0000-00000000002a"),
		Paths:      []wire.Path{{Microseconds: 12_000}, {Microseconds: 48_000, Health: 1}},
		Costs:      []wire.Cost{{Left: wire.NoBudget}, {Cost: wire.CostMetered, Left: 3_000_000_000}},
		Race:       true,
		Only:       1,
		Lease: &wire.Lease{
			Milliseconds: 10_000, Uses: 16, Flags: wire.LeaseAnyName, Ignored: 0xf8, SizeTo: 100_000, View: 7, Measurements: 4711,
			Networks: []wire.Generation{{Index: 2, Value: 1}, {Index: 3, Value: 5}},
		},
	},
	"report": {
		Action: wire.ActionReportRequest, HasAction: true,
		Features:   wire.FeatureReports,
		DecisionID: uuid.MustParse("5f2a91c3-7be4-408d-0000-00000000002a"),
		Outcome:    &wire.Outcome{Candidate: 1, Milliseconds: 308, LocalPort: 47874, Flags: wire.OutcomePlainTCP},
		Transfer: &wire.Transfer{
			Candidate: 1, Flags: wire.TransferReused, Bytes: 300_000_000, Microseconds: 61_200_000, RTT: 48_000, MinRTT: 45_000,
		},
	},
	"flow": {
		Action: wire.ActionReportRequest, HasAction: true,
		Features: wire.FeatureFlows,
		Flow: &wire.Flow{
			Flags: wire.FlowOver, Index: 3, RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Sent: 240, Lost: 3,
			Local: sockAddr("10.64.3.9:47874"), Remote: sockAddr("192.0.2.1:443"),
		},
	},
	"watching": {
		Action: wire.ActionNetworksRequest, HasAction: true,
		Features: wire.FeatureNetworks,
		Watch:    &wire.Watch{Generation: 0x29a3_77b0_51e6_4c11, Milliseconds: 1000},
	},
	"networks": {
		Action: wire.ActionNetworksResponse, HasAction: true,
		Features: wire.FeatureNetworks,
		Watch:    &wire.Watch{Generation: 0x8c01_92fe_33d4_7a05, Total: 2},
		Networks: []wire.Network{
			{
				Index: 3, Health: wire.PathSuspect, Cost: wire.Cost{Left: wire.NoBudget}, Flags: wire.NetworkDefault | wire.NetworkOffered | wire.NetworkRadio, Since: 1_800_000_000_000,
				RTT: 12_000, MinRTT: 9_000, RTTVar: 700, Loss: 1500, Down: 1_250_000, Up: 40_000, DownMax: 6_000_000, UpMax: 900_000, Signal: -61, Utilization: 404,
				Prefix: netip.MustParsePrefix("192.0.2.0/24"), Interface: "wlan0", Name: "home", Device: "wlan0", Reason: "no answer", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
			},
			{
				Index: 4, Cost: wire.Cost{Cost: wire.CostMetered, Left: 3_000_000_000}, Utilization: wire.UnknownUtilization,
				Prefix: netip.MustParsePrefix("2001:db8::/64"), Interface: "wwan0", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::7")},
			},
		},
	},
}

func sockAddr(text string) wire.SockAddr {
	return wire.SockAddr{AddrPort: netip.MustParseAddrPort(text)}
}

// firstExtension is the lowest tag of an extension.
const firstExtension = wire.TagFeatures

// The page shows the bytes of every extension as the encoder writes them, and they
// decode to what was meant.
func TestProtocolExtensions(t *testing.T) {
	_, shown := dumps(t)
	seen := map[wire.Tag]bool{}
	for name, m := range extended {
		whole, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for rest := whole; len(rest) > 0; {
			tag, size := wire.Tag(binary.LittleEndian.Uint32(rest)), 12+int(binary.LittleEndian.Uint64(rest[4:]))
			if tag >= firstExtension {
				seen[tag] = true
				want = append(want, rest[:size]...)
			}
			rest = rest[size:]
		}
		if !bytes.Equal(shown[name], want) {
			t.Errorf("the extensions of the %s are\n%s", name, dump(want))
		}
		var back wire.Message
		if err := wire.Decode(whole, &back); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(m, back, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreUnexported(wire.Message{})); diff != "" {
			t.Errorf("the %s, encoded and decoded (-want +got)\n%s", name, diff)
		}
	}
	for n := firstExtension; n < 256; n++ {
		if !strings.HasPrefix(n.String(), "tag(") && !seen[n] {
			t.Errorf("no message shows the bytes of tag %#x, %v", uint32(n), n)
		}
	}
}

// dump shows TLVs as the page does, without what they mean.
func dump(b []byte) string {
	var out strings.Builder
	for at := 0; at < len(b); {
		tag, end := wire.Tag(binary.LittleEndian.Uint32(b[at:])), at+12+int(binary.LittleEndian.Uint64(b[at+4:]))
		fmt.Fprintf(&out, "%04x  % -47x  tag %#02x %v, %d bytes\n", at, b[at:at+12], uint32(tag), tag, end-at-12)
		for at += 12; at < end; at = min(at+16, end) {
			fmt.Fprintf(&out, "%04x  % -47x  \n", at, b[at:min(at+16, end)])
		}
	}
	return out.String()
}

// The tables name every tag, action and feature by its number.
func TestProtocolTables(t *testing.T) {
	text := protocol(t)
	rows := map[string]bool{}
	for l := range strings.Lines(text) {
		if cells := strings.Split(l, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2])] = true
		}
	}
	for n := range 256 {
		if tag := wire.Tag(n); !strings.HasPrefix(tag.String(), "tag(") && !rows[fmt.Sprintf("%#02x %v", n, tag)] && !rows[fmt.Sprintf("0x%02x %v", n, tag)] {
			t.Errorf("tag %#x, %v, is missing", n, tag)
		}
		action := wire.Action(n)
		if action == wire.ActionSocketConnectFallback { // never travels
			continue
		}
		if !strings.HasPrefix(action.String(), "action(") && !rows[fmt.Sprintf("%d %v", n, action)] && !rows[fmt.Sprintf("%#x %v", n, action)] {
			t.Errorf("action %d, %v, is missing", n, action)
		}
	}
	_, features, _ := strings.Cut(text, "| 0x40 | features |")
	features, _, _ = strings.Cut(features, "\n")
	for bit := range 32 {
		if f := wire.Features(1) << bit; !strings.HasPrefix(f.String(), "0x") && !strings.Contains(features, fmt.Sprintf("%v %d", f, uint32(f))) {
			t.Errorf("feature %v is missing", f)
		}
	}
}
