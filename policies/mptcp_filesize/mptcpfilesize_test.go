package mptcpfilesize

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoose(t *testing.T) {
	small := Prefix("small", "10.0.1.2/24", Option("maxfilesize", "1000"))
	other := Prefix("other", "10.0.2.2/24", Option("minfilesize", "5000"), Default)
	const inRange = "file size in the prefix's range"
	Run(t, Make(New), []Case{
		{"range", Size(Request(policy.Connect, other, small), 10), Answer{Prefix: "small", Alternates: "other", Reason: inRange}, ""},
		{"default", Size(Request(policy.Connect, other, small), 2000), Answer{Prefix: "other", Alternates: "small", Reason: "no prefix for this file size: default"}, ""},
		{"no size", Request(policy.SocketConnect, small, other), Answer{Prefix: "other", Alternates: "small", Reason: "no file size given: default"}, ""},
		{"idle sockets are left alone", Size(Offer(Request(policy.SocketChoose, other, small), other), 10),
			Answer{Prefix: "small", Alternates: "other", Reason: inRange}, ""},
		{"bound", Bind(Request(policy.Connect, small, other), small), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, ""},
		{"single", Size(Request(policy.Connect, small), 10), Answer{Prefix: "small", Reason: inRange}, ""},
		{"no prefix", Request(policy.Connect), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"both families", Size(Request(policy.SocketConnect, small, Prefix("six", "2001:db8::2/64", Option("minfilesize", "1001"))), 2000),
			Answer{Prefix: "six", Alternates: "small", Reason: inRange}, ""},
	})
	if d := Make(New)(t).(policy.ResolveChooser).ChooseResolver(Request(policy.Resolve, small)); d.Resolution != policy.ResolveNever {
		t.Errorf("ChooseResolver: %+v", d)
	}
}

// The original prints this setting, which has no other use.
func TestAnnouncement(t *testing.T) {
	for value, want := range map[string]string{"": "", "7": "foo: 7", "0": "foo: 0"} {
		var settings []policy.Setting
		if value != "" {
			settings = []policy.Setting{{Name: "foo", Value: value, Constant: true}}
		}
		p, err := New(policy.Config{Settings: settings})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.(policy.Announcer).Announcement(), "\n"); got != want {
			t.Errorf("foo %q: announces %q, want %q", value, got, want)
		}
	}
}

func TestNew(t *testing.T) {
	p := Make(New, "foo=42")(t)
	if got, want := p.(policy.Annotator).Annotate(Prefix("a", "10.0.1.2/24", Default, Option("id", "7"))), " (from 0 bytes) (id 7) (default)"; got != want {
		t.Errorf("Annotate = %q, want %q", got, want)
	}
	_, err := New(policy.Config{Settings: Settings(`policy "mptcp_filesize"`, "foo=bar")})
	Refused(t, err, "foo", "must be an integer")
	if _, err := New(policy.Config{Settings: Settings(`policy "mptcp_filesize"`, "foo=bar"), Lenient: true}); err != nil {
		t.Errorf("the original takes any text: %v", err)
	}
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "id=x")})
	Refused(t, err, "id", "must be an integer")
}
