package intent

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		text string
		want Set
		err  string // part of the error; "" if none
	}{
		{text: ""},
		{text: "  "},
		{text: "category=bulktransfer,filesize=300M", want: Set{}.WithCategory(CategoryBulkTransfer).WithFileSize(300e6)},
		{text: " Category = QUERY , FileSize = 1Ki ", want: Set{}.WithCategory(CategoryQuery).WithFileSize(1024)},
		{text: "category=77,duration=-1,bitrate=2k", want: Set{}.With(OptCategory, 77).With(OptDuration, -1).With(OptBitrate, 2000)},
		{
			text: "burstiness=bulk,timeliness=interactive,resilience=tolerant",
			want: Set{}.WithBurstiness(BurstsBulk).WithTimeliness(TimelinessInteractive).WithResilience(ResilienceTolerant),
		},
		{text: "filesize=9223372036854775807", want: Set{}.WithFileSize(math.MaxInt64)},
		{text: "colour=red", err: `unknown intent "colour"; known are category, filesize`},
		{text: "category", err: "no value"},
		{text: "category=bulk", err: "neither a number nor one of query, bulktransfer"},
		{text: "category=category(77),burstiness=burstiness(-1)", want: Set{}.With(OptCategory, 77).With(OptBurstiness, -1)},
		{text: "filesize=300MB,duration=5m,bitrate=1.5G", want: Set{}.WithFileSize(300e6).WithDuration(5*time.Minute).With(OptBitrate, 1.5e9)},
		{text: "filesize=-3Ki,duration=-0.5d", want: Set{}.WithFileSize(-3072).With(OptDuration, -43200)},
		{text: "duration=1600ms", err: "write a number of them, or one of milliseconds without unit, such as 1600"},
		{text: "duration=2000ms", err: "such as 2000"},
		{text: "duration=1.5", err: "not in full seconds"},
		{text: "bitrate=10Mbit/s", err: "write a number, such as 10M if it is read in bits per second"},
		{text: "bitrate=1.25MB/s", err: "such as 10M"},
		{text: "bitrate=fast", err: "not a number such as 10000000 or 10M"},
		{text: "filesize=", err: "not a number"},
		{text: "filesize=--3k", err: "not a number"},
		{text: "filesize=3x", err: "not a number"},
		{text: "duration=3k", err: "not a number"},
		{text: "filesize=9223372036854775807k", err: "too large"},
		{text: "filesize=-9223372036854775807Ki", err: "too large"},
		{text: "filesize=1,filesize=2", err: "twice"},
		{text: "filesize=1,", err: "unknown intent"},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := Parse(test.text)
			switch {
			case test.err == "" && err != nil:
				t.Fatal(err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Fatalf("error %v, want one with %q", err, test.err)
			case got != test.want:
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("category=bulktransfer,filesize=300M")
	f.Add("category=-1,resilience=2,bitrate=1Gi")
	f.Add("duration=1d12h,timeliness=timeliness(9)")
	f.Add("duration=-0.5d,filesize=1.000000000000000000000000000000001TiB,bitrate=9223372036854775807")
	f.Add("filesize=.,duration=d")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again != s {
			t.Errorf("%q became %q (%v)", s.String(), again.String(), err)
		}
	})
}

func TestSetAsFlagAndText(t *testing.T) {
	want := Set{}.WithCategory(CategoryQuery).WithFileSize(5000)

	var v Set
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&v, "intent", "")
	if err := fs.Parse([]string{"-intent", "category=stream,filesize=5k", "-intent", "category=query"}); err != nil || v != want {
		t.Errorf("flag: %v (%v)", v, err)
	}
	if err := fs.Parse([]string{"-intent", "x=1"}); err == nil {
		t.Error("flag: accepted nonsense")
	}

	v = Set{}
	pfs := pflag.NewFlagSet("", pflag.ContinueOnError)
	pfs.Var(&v, "intent", "")
	if err := pfs.Parse([]string{"--intent", "category=query,filesize=5k"}); err != nil || v != want {
		t.Errorf("pflag: %v (%v)", v, err)
	}

	b, err := json.Marshal(v)
	if err != nil || string(b) != `"category=query,filesize=5kB"` {
		t.Errorf("JSON %s (%v)", b, err)
	}
	v = (want.WithResilience(ResilienceResilient))
	if err := json.Unmarshal(b, &v); err != nil || v != want {
		t.Errorf("read back %v (%v)", v, err)
	}
	if err := v.UnmarshalText([]byte("x")); err == nil || v != want {
		t.Error("nonsense changed the value")
	}
}

func TestContext(t *testing.T) {
	ctx := context.Background()
	if s := FromContext(ctx); !s.IsZero() {
		t.Errorf("intents %v out of nothing", s)
	}
	want := Set{}.WithCategory(CategoryStream)
	ctx = NewContext(ctx, Set{}.WithFileSize(1))
	if got := FromContext(NewContext(ctx, want)); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
