package mam

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDump(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	v := host(takeFirst)
	p := v.Prefixes[0]
	p.Cost, p.Options = policy.Metered, policy.Options{"capacity": policy.NewOption("12"), "a": policy.NewOption("b")}
	p.Health = policy.Health{State: policy.Suspect, Reason: "2 of the last 5 connects failed"}
	p.Stats = policy.PathStats{
		Time: now, Conns: 3, SampleTime: now.Add(-100 * time.Millisecond),
		SRTTMean: 12100 * time.Microsecond, SRTTMedian: 11 * time.Millisecond, SRTTMin: 9800 * time.Microsecond,
		SRTTVariance: 2.25, RTTVarMedian: 3 * time.Millisecond, RTTVarMean: 4 * time.Millisecond, LossUp: 0.0125,
	}
	p.Link = policy.LinkStats{
		DownSMAMax: policy.Windowed{Short: 4, Mid: 5, Long: 6, VeryLong: 7}, DownSMAMin: policy.Windowed{Short: 1, Mid: 2, Long: 3}, DownSMAQuantile: policy.Windowed{Short: 8, Mid: 9, Long: 10},
		Time: now, DownRate: 125000, UpRateMax: 1e9, DownBytes: 1 << 40, RxErrors: 2}
	p.Wifi = &policy.WifiStats{Signal: -61, TxRate: 30e6, BSSLoad: true, Stations: 7, ChannelUtilization: 40.4, AvailableAdmissionCapacity: 31250}
	v.Devices = map[policy.PrefixID]string{v.Prefixes[1].ID: "wwan0"}
	// An interface whose name begins with "lo" is not always the loopback interface.
	v.Prefixes = append(v.Prefixes, prefix("lo", 1, "127.0.0.1/8"), prefix("lo", 1, "::1/128"), prefix("lowpan0", 4, "fd77:4::1/64"))
	v.PolicyFile = "/usr/lib/mam-policies/test.so"
	v.PolicySettings = []policy.Setting{
		{Name: "logfile", Value: "a.log", Constant: true}, {Name: "order", List: []string{"a", "b"}, Constant: true}, {Name: "minimize", Expr: "rtt * 2"},
	}

	var b bytes.Buffer
	// A prefix that is not managed may have been measured for the logs.
	other, quiet := prefix("wlan0", 2, "fd77:5::1/64"), prefix("docker0", 9, "172.17.0.1/16")
	other.Link, other.Wifi = p.Link, p.Wifi
	quiet.Stats = policy.PathStats{Time: now, Conns: 1, SampleTime: now, SRTTMean: time.Millisecond}
	if err := v.WriteDump(&b, now, other, quiet); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/dump.golden"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}

	if err := (&View{}).WriteDump(&b, now); err != nil {
		t.Error(err)
	}
}
