package client

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/spf13/pflag"
)

func TestParseIntents(t *testing.T) {
	for _, test := range []struct {
		text string
		want intent.Set
		err  string // part of the error; "" if none
	}{
		{text: ""},
		{text: "  "},
		{text: "category=bulktransfer,filesize=300M", want: intent.Set{}.WithCategory(intent.BulkTransfer).WithFileSize(300e6)},
		{text: " Category = QUERY , FileSize = 1Ki ", want: intent.Set{}.WithCategory(intent.Query).WithFileSize(1024)},
		{text: "category=77,duration=-1,bitrate=2k", want: intent.Set{}.With(intent.OptCategory, 77).With(intent.OptDuration, -1).With(intent.OptBitrate, 2000)},
		{
			text: "burstiness=bulk,timeliness=interactive,resilience=tolerant",
			want: intent.Set{}.WithBurstiness(intent.Bulk).WithTimeliness(intent.Interactive).WithResilience(intent.Tolerant),
		},
		{text: "filesize=9223372036854775807", want: intent.Set{}.WithFileSize(math.MaxInt64)},
		{text: "colour=red", err: `unknown intent "colour"; known are category, filesize`},
		{text: "category", err: "no value"},
		{text: "category=bulk", err: "neither a number nor one of query, bulktransfer"},
		{text: "filesize=", err: "not a number"},
		{text: "filesize=3x", err: "not a number"},
		{text: "duration=3k", err: "not a number"},
		{text: "filesize=9223372036854775807k", err: "too large"},
		{text: "filesize=-9223372036854775807Ki", err: "too large"},
		{text: "filesize=1,filesize=2", err: "twice"},
		{text: "filesize=1,", err: "unknown intent"},
	} {
		t.Run(test.text, func(t *testing.T) {
			got, err := ParseIntents(test.text)
			switch {
			case test.err == "" && err != nil:
				t.Fatal(err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Fatalf("error %v, want one with %q", err, test.err)
			case got != test.want:
				t.Errorf("got %s, want %s", FormatIntents(got), FormatIntents(test.want))
			}
		})
	}
}

func FuzzParseIntents(f *testing.F) {
	f.Add("category=bulktransfer,filesize=300M")
	f.Add("category=-1,resilience=2,bitrate=1Gi")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseIntents(text)
		if err != nil {
			return
		}
		again, err := ParseIntents(FormatIntents(s))
		if err != nil || again != s {
			t.Errorf("%q became %q (%v)", FormatIntents(s), FormatIntents(again), err)
		}
	})
}

func TestIntentsValue(t *testing.T) {
	want := intent.Set{}.WithCategory(intent.Query).WithFileSize(5000)

	var v IntentsValue
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Var(&v, "intent", "")
	if err := fs.Parse([]string{"-intent", "category=stream,filesize=5k", "-intent", "category=query"}); err != nil || intent.Set(v) != want {
		t.Errorf("flag: %v (%v)", v, err)
	}
	if err := fs.Parse([]string{"-intent", "x=1"}); err == nil {
		t.Error("flag: accepted nonsense")
	}

	v = IntentsValue{}
	pfs := pflag.NewFlagSet("", pflag.ContinueOnError)
	pfs.Var(&v, "intent", "")
	if err := pfs.Parse([]string{"--intent", "category=query,filesize=5k"}); err != nil || intent.Set(v) != want {
		t.Errorf("pflag: %v (%v)", v, err)
	}

	b, err := json.Marshal(v)
	if err != nil || string(b) != `"category=query,filesize=5000"` {
		t.Errorf("JSON %s (%v)", b, err)
	}
	v = IntentsValue(want.WithResilience(intent.Resilient))
	if err := json.Unmarshal(b, &v); err != nil || intent.Set(v) != want {
		t.Errorf("read back %v (%v)", v, err)
	}
	if err := v.UnmarshalText([]byte("x")); err == nil || intent.Set(v) != want {
		t.Error("nonsense changed the value")
	}
}

func TestIntentsInContext(t *testing.T) {
	ctx := context.Background()
	if s := Intents(ctx); !s.IsZero() {
		t.Errorf("intents %v out of nothing", s)
	}
	want := intent.Set{}.WithCategory(intent.Stream)
	ctx = WithIntents(ctx, intent.Set{}.WithFileSize(1))
	if got := Intents(WithIntents(ctx, want)); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
