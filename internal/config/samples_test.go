package config

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReference(t *testing.T) {
	c := mustParse(t, Reference)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if diff := cmp.Diff(defaults().Sampling, c.Sampling); diff != "" {
		t.Errorf("the interval shown is not the default\n%s", diff)
	}
	shown := c.Decisions
	shown.Record = "" // an example
	if diff := cmp.Diff(defaults().Decisions, shown); diff != "" {
		t.Errorf("what is shown about decisions is not the default\n%s", diff)
	}
}

// TestReferenceComplete looks for every known setting and block in the
// reference file, and in what Convert writes of it where the value is not the
// default.
func TestReferenceComplete(t *testing.T) {
	h := &hclFile{c: defaults(), report: &report{}}
	var names []string
	for name := range h.fileSettings() {
		names = append(names, name)
	}
	for name := range h.fileBlocks() {
		names = append(names, name)
	}
	for _, group := range h.groups() {
		for name := range group {
			names = append(names, name)
		}
	}
	for name := range h.networkSettings(&Block{}) {
		names = append(names, name)
	}
	_, scope, _ := strings.Cut(Reference, "\nscope \"")
	scope, _, _ = strings.Cut(scope, "\n}\n")
	for name := range h.scopeSettings(&Scope{}) {
		names = append(names, name)
		if !strings.Contains(scope, "\n  "+name+" ") { // elsewhere, another block may have the name
			t.Errorf("scope of the reference file lacks %s", name)
		}
	}
	for name := range h.ruleSettings(&Rule{}) {
		names = append(names, name)
	}
	changed := *mustParse(t, Reference)
	changed.Auto, changed.AvoidMetered = true, false
	changed.SystemBus = Off
	changed.BindDevice = BindNever
	changed.Routing = RoutingManage
	changed.Probe.When = ProbeAlways
	changed.Log.Format = LogJSON
	changed.Sampling.Interval *= 2
	changed.Decisions.Keep *= 2
	changed.Placing.Measure = false
	for file, text := range map[string]string{"reference": Reference, "converted": Convert(&changed)} {
		for _, name := range append(names, "options") {
			if !regexp.MustCompile(`(?m)^\s*` + name + `\s*(=|\{|")`).MatchString(text) {
				t.Errorf("%s file lacks %s", file, name)
			}
		}
	}
}

func TestMinimal(t *testing.T) {
	if diff := cmp.Diff(Auto(), mustParse(t, Minimal), comparer); diff != "" {
		t.Errorf("not like Auto (-want +got)\n%s", diff)
	}
	if got := Init(nil); got != Minimal {
		t.Errorf("Init without networks gives %q", got)
	}
}

func TestInit(t *testing.T) {
	text := Init([]Network{
		{Interface: "wlan0", Prefix: netip.MustParsePrefix("192.168.0.23/24"), Default: true},
		{Interface: "wlan0", Prefix: netip.MustParsePrefix("2001:db8:1::1/64")},
		{Interface: "a\"{*${", Prefix: netip.MustParsePrefix("2001:db8::1/64"), Default: true},
	})
	c := mustParse(t, text)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	want := "policy adaptive\nwlan0 default=true\na\"{\\*${\n"
	if diff := cmp.Diff(want, summary(c)); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, text)
	}
	// The settings in the comments can be switched on.
	uncommented := regexp.MustCompile(`(?m)^  # `).ReplaceAllString(text, "  ")
	mustParse(t, uncommented)
}
