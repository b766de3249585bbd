package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// constants makes settings of "name value" pairs, one a line of file f.
func constants(pairs ...string) []Setting {
	var list []Setting
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, Setting{
			Name: pairs[i], Value: pairs[i+1], Expr: pairs[i+1], Constant: true,
			Block: `policy "p"`, File: "f", Line: i/2 + 1, Column: 3,
		})
	}
	return list
}

type testOptions struct {
	Text     string        `mam:"text"`
	Flag     bool          `mam:"flag"`
	Int      int           `mam:"int"`
	Small    int8          `mam:"small"`
	Percent  float64       `mam:"percent" min:"0" max:"100"`
	Positive int           `mam:"positive" min:"1"`
	AtMost   float32       `mam:"at_most" max:"2.5"`
	Port     uint16        `mam:"port" min:"1"`
	Wait     time.Duration `mam:"wait" min:"1ms" max:"1h"`
	List     []string      `mam:"list"`
	Maybe    *float64      `mam:"maybe" min:"0"`
	MaybeNot *string       `mam:"maybe_not"`
	Size     int64         `mam:"size" unit:"B"`
	Latency  float64       `mam:"latency" unit:"ms" min:"0"`
	Rate     float64       `mam:"rate" unit:"B/s"`
	Untagged string
}

func TestDecode(t *testing.T) {
	half := 0.5
	empty := ""
	for _, tt := range []struct {
		name     string
		settings []Setting
		start    testOptions
		want     testOptions
	}{
		{"nothing keeps defaults", nil, testOptions{Int: 3, Text: "x"}, testOptions{Int: 3, Text: "x"}},
		{"text", constants("text", "a b"), testOptions{Text: "x"}, testOptions{Text: "a b"}},
		{"text that is a number", constants("text", "7"), testOptions{}, testOptions{Text: "7"}},
		{"flag", constants("flag", "true"), testOptions{}, testOptions{Flag: true}},
		{"flag as a number", constants("flag", "1"), testOptions{}, testOptions{Flag: true}},
		{"flag off", constants("flag", "0"), testOptions{Flag: true}, testOptions{}},
		{"integer", constants("int", "-7"), testOptions{}, testOptions{Int: -7}},
		{"small integer", constants("small", "127"), testOptions{}, testOptions{Small: 127}},
		{"float at its lower bound", constants("percent", "0"), testOptions{Percent: 9}, testOptions{}},
		{"float at its upper bound", constants("percent", "1e2"), testOptions{}, testOptions{Percent: 100}},
		{"float of the original grammar", constants("at_most", "0.500000"), testOptions{}, testOptions{AtMost: 0.5}},
		{"duration", constants("wait", "1.5s"), testOptions{}, testOptions{Wait: 1500 * time.Millisecond}},
		{"list", []Setting{{Name: "list", List: []string{"a", "b"}, Constant: true}}, testOptions{}, testOptions{List: []string{"a", "b"}}},
		{"empty list", []Setting{{Name: "list", List: []string{}, Constant: true}}, testOptions{List: []string{"x"}}, testOptions{List: []string{}}},
		{"list of one value", constants("list", "a"), testOptions{}, testOptions{List: []string{"a"}}},
		{"optional values", constants("maybe", "0.5", "maybe_not", ""), testOptions{}, testOptions{Maybe: &half, MaybeNot: &empty}},
		{"integer of the original grammar", constants("int", "-3.000000"), testOptions{}, testOptions{Int: -3}},
		{"unsigned integer", constants("port", "65535"), testOptions{}, testOptions{Port: 65535}},
		{"size", constants("size", "300M"), testOptions{}, testOptions{Size: 300e6}},
		{"size with a fraction", constants("size", "1.5 GiB"), testOptions{}, testOptions{Size: 3 << 29}},
		{"size of the original grammar", constants("size", "3.000000"), testOptions{}, testOptions{Size: 3}},
		{"bare numbers are in the unit", constants("size", "7", "latency", "20.5", "rate", "1250000"), testOptions{}, testOptions{Size: 7, Latency: 20.5, Rate: 1.25e6}},
		{"latency", constants("latency", "1.5s"), testOptions{}, testOptions{Latency: 1500}},
		{"rate in bits", constants("rate", "10Mbit/s"), testOptions{}, testOptions{Rate: 1.25e6}},
		{"rate in bytes", constants("rate", "1.25 MB/s"), testOptions{}, testOptions{Rate: 1.25e6}},
		{"last one counts", constants("int", "1", "int", "2"), testOptions{}, testOptions{Int: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.start
			if err := (Config{Settings: tt.settings}).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	const known = "at_most, flag, int, latency, list, maybe, maybe_not, percent, port, positive, rate, size, small, text, wait"
	for _, tt := range []struct {
		name     string
		settings []Setting
		want     []string
	}{
		{"unknown", constants("colour", "blue"), []string{`f:1,3: unknown setting "colour" in policy "p"; known: ` + known}},
		{"name of an untagged field", constants("Untagged", "x"), []string{`f:1,3: unknown setting "Untagged" in policy "p"; known: ` + known}},
		{"empty name", constants("", "x"), []string{`f:1,3: unknown setting "" in policy "p"; known: ` + known}},
		{"flag", constants("flag", "yes"), []string{`f:1,3: flag in policy "p" must be true or false, not "yes"`}},
		{"integer", constants("int", "1.5"), []string{`f:1,3: int in policy "p" must be an integer, not "1.5"`}},
		{"integer of the field's size", constants("small", "128"), []string{`f:1,3: small in policy "p" must be an integer, not "128"`}},
		{"float", constants("percent", "half"), []string{`f:1,3: percent in policy "p" must be a number, not "half"`}},
		{"not a number", constants("percent", "NaN"), []string{`f:1,3: percent in policy "p" must be a number, not "NaN"`}},
		{"infinite", constants("at_most", "-Inf"), []string{`f:1,3: at_most in policy "p" must be a number, not "-Inf"`}},
		{"range", constants("percent", "100.5"), []string{`f:1,3: percent in policy "p" must be between 0 and 100, not 100.5`}},
		{"minimum", constants("positive", "0"), []string{`f:1,3: positive in policy "p" must be at least 1, not 0`}},
		{"maximum", constants("at_most", "3"), []string{`f:1,3: at_most in policy "p" must be at most 2.5, not 3`}},
		{"bound of an optional value", constants("maybe", "-1"), []string{`f:1,3: maybe in policy "p" must be at least 0, not -1`}},
		{"negative for an unsigned integer", constants("port", "-1"), []string{`f:1,3: port in policy "p" must be an integer of at least 0, not "-1"`}},
		{"minimum of an unsigned integer", constants("port", "0"), []string{`f:1,3: port in policy "p" must be at least 1, not 0`}},
		{"short duration", constants("wait", "1us"), []string{`f:1,3: wait in policy "p" must be at least 1ms, not 1µs`}},
		{"long duration", constants("wait", "2h"), []string{`f:1,3: wait in policy "p" must be at most 1h0m0s, not 2h0m0s`}},
		{"size for a latency", constants("latency", "20MB"), []string{`f:1,3: latency in policy "p" must be a number of milliseconds, or a duration such as "20ms"; "20MB" is an amount of data`}},
		{"duration for a size", constants("size", "20ms"), []string{`f:1,3: size in policy "p" must be a number of bytes, or an amount such as "300M"; "20ms" is a duration`}},
		{"size for a rate", constants("rate", "1MB"), []string{`f:1,3: rate in policy "p" must be a number of bytes per second, or a rate such as "10Mbit/s" or "1.25MB/s"; "1MB" is an amount of data`}},
		{"rate for a size", constants("size", "1MB/s"), []string{`f:1,3: size in policy "p" must be a number of bytes, or an amount such as "300M"; "1MB/s" is a rate`}},
		{"minutes or million bytes", constants("size", "5m"), []string{`f:1,3: size in policy "p" must be a number of bytes, or an amount such as "300M", not "5m"`}},
		{"negative latency", constants("latency", "-5ms"), []string{`f:1,3: latency in policy "p" must be at least 0, not -5`}},
		{"a unit where there is none", constants("percent", "5ms"), []string{`f:1,3: percent in policy "p" must be a number, not "5ms"`}},
		{"a size where an integer is wanted", constants("int", "5M"), []string{`f:1,3: int in policy "p" must be an integer, not "5M"`}},
		{"too large a size", constants("size", "9223372036854775807B", "size", "8388608TiB"), []string{
			`f:1,3: size in policy "p" must be an integer, not "9223372036854775807B"`,
			`f:2,3: size in policy "p" must be a number of bytes, or an amount such as "300M", not "8388608TiB"`,
		}},
		{"duration in words", constants("wait", "soon"), []string{`f:1,3: wait in policy "p" must be a duration such as "250ms", not "soon"`}},
		{
			"list for a value", []Setting{{Name: "int", List: []string{"1"}, Constant: true, Block: `policy "p"`, File: "f", Line: 1, Column: 3}},
			[]string{`f:1,3: int in policy "p" must be a single value, not a list`},
		},
		{
			"text without quotes", []Setting{{Name: "text", Expr: "/var/log/a.csv", Block: `policy "p"`, File: "f", Line: 1, Column: 3}},
			[]string{`f:1,3: text in policy "p" is text: put it in quotes: "/var/log/a.csv"`},
		},
		{
			"expression", []Setting{{Name: "int", Expr: "prefix.rtt", Block: `policy "p"`, File: "f", Line: 1, Column: 3}},
			[]string{`f:1,3: int in policy "p" must be a constant`},
		},
		{
			"all of them, in order", constants("int", "x", "text", "fine", "colour", "blue"),
			[]string{`f:1,3: int in policy "p" must be an integer, not "x"`, `f:3,3: unknown setting "colour" in policy "p"; known: ` + known},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := (Config{Settings: tt.settings}).Decode(&testOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A wrong value leaves the field alone, and the rest is decoded nevertheless.
func TestDecodeKeepsGoing(t *testing.T) {
	got := testOptions{Percent: 7, Maybe: new(float64)}
	err := (Config{Settings: constants("percent", "101", "maybe", "x", "text", "t")}).Decode(&got)
	if err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff(testOptions{Percent: 7, Maybe: new(float64), Text: "t"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecodeLenient(t *testing.T) {
	c := Config{Lenient: true, Settings: constants("colour", "blue", "int", "1")}
	var got testOptions
	if err := c.Decode(&got); err != nil || got.Int != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	c.Settings = constants("int", "x")
	if err := c.Decode(&got); err == nil {
		t.Error("a wrong value of a known setting was accepted")
	}
}

// A decoded value shares no memory with the configuration.
func TestDecodeCopiesLists(t *testing.T) {
	c := Config{Settings: []Setting{{Name: "list", List: []string{"a"}, Constant: true}}}
	var got testOptions
	if err := c.Decode(&got); err != nil {
		t.Fatal(err)
	}
	got.List[0] = "b"
	if c.Settings[0].List[0] != "a" {
		t.Error("the setting changed")
	}
}

// A prefix's option has the number that its policy goes by.
func TestNewOption(t *testing.T) {
	for text, want := range map[string]float64{
		"20": 20, "-1.5": -1.5, "1e3": 1000, "20ms": 20, "1.5s": 1500, "300M": 300e6, "64KiB": 65536, "10Mbit/s": 1.25e6, "1MB/s": 1e6, "0": 0, "1d": 86400e3,
	} {
		if got := NewOption(text); got != (Option{Text: text, Number: want, Numeric: true}) {
			t.Errorf("%s: %+v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "query", "5m", "NaN", "Inf", "10M/s", "srtt_minimum_recent"} {
		if got := NewOption(text); got != (Option{Text: text}) {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestSettingError(t *testing.T) {
	settings := constants("int", "x", "colour", "blue")
	err := (Config{Settings: settings}).Decode(&testOptions{})
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the join itself
	if !ok || len(joined.Unwrap()) != 2 {
		t.Fatalf("got %v, want two joined errors", err)
	}
	for i, e := range joined.Unwrap() {
		var se *SettingError
		if !errors.As(e, &se) {
			t.Fatalf("%v is no *SettingError", e)
		}
		if diff := cmp.Diff(settings[i], se.Setting); diff != "" {
			t.Errorf("setting %d (-want +got)\n%s", i, diff)
		}
	}
	cause := errors.New("cause")
	if err := settings[0].Errorf("int is wrong: %w", cause); !errors.Is(err, cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
}

func TestDecodePanicsOnWrongTypes(t *testing.T) {
	for name, v := range map[string]any{
		"no pointer": testOptions{},
		"no struct":  new(int),
		"unsupported kind": &struct {
			X chan int `mam:"int"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "policy: ") {
					t.Errorf("panic %v", r)
				}
			}()
			_ = (Config{Settings: constants("int", "1")}).Decode(v)
			t.Error("no panic")
		})
	}
}

func TestCheckPrefixes(t *testing.T) {
	type options struct {
		Category string `mam:"category"`
		MinSize  int    `mam:"minfilesize" min:"0"`
	}
	in := func(block string, settings []Setting) []Setting {
		for i := range settings {
			settings[i].Block = block
		}
		return settings
	}
	for _, tt := range []struct {
		name     string
		settings []Setting
		lenient  bool
		want     string
	}{
		{"nothing", nil, false, ""},
		{"known settings of several prefixes", constants("category", "query", "minfilesize", "1", "category", "stream"), false, ""},
		{"metric", constants("min_srtt", "12.5"), false, ""},
		{"metrics with their units", constants("srtt_minimum_recent", "20ms", "download_rate_max_recent", "10Mbit/s", "download_counter", "5GB"), false, ""},
		{"metric with another's unit", in(`prefix "10.0.0.0/8"`, constants("srtt_minimum_recent", "20MB")), false, `f:1,3: srtt_minimum_recent in prefix "10.0.0.0/8" must be a number of milliseconds, or a duration such as "20ms"; "20MB" is an amount of data`},
		{"metric with a unit of its own", in(`prefix "10.0.0.0/8"`, constants("tx_rate", "54Mbit/s")), false, `f:1,3: tx_rate in prefix "10.0.0.0/8" must be a number (Mbit/s), not "54Mbit/s"`},
		{"metric that is not a number", in(`prefix "10.0.0.0/8"`, constants("min_srtt", "fast")), false, `f:1,3: min_srtt in prefix "10.0.0.0/8" must be a number, not "fast"`},
		{"unknown", in(`interface "*"`, constants("categry", "query")), false, `f:1,3: unknown setting "categry" in interface "*"; known: category, min_srtt, minfilesize`},
		{"unknown, lenient", constants("categry", "query"), true, ""},
		{
			"wrong in two blocks, lenient", constants("minfilesize", "-1", "minfilesize", "x"), true,
			"f:1,3: minfilesize in policy \"p\" must be at least 0, not -1\nf:2,3: minfilesize in policy \"p\" must be an integer, not \"x\"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := options{Category: "unchanged"}
			known := []string{"min_srtt"}
			for _, s := range tt.settings {
				if _, ok := ParseMetric(s.Name); ok {
					known = append(known, s.Name)
				}
			}
			err := (Config{PrefixSettings: tt.settings, Lenient: tt.lenient}).CheckPrefixes(&v, known...)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if v.Category != "unchanged" {
				t.Errorf("v became %+v", v)
			}
		})
	}
}
