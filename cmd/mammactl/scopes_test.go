package main

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// scopes returns an answer with scopes in every state.
func scopes() control.Scopes {
	answer := func(family, transport, kind string, chosen *control.PrefixRef) control.ScopeAnswer {
		return control.ScopeAnswer{Family: family, Transport: transport, Kind: kind, Chosen: chosen, Reason: "lowest cost"}
	}
	home := &control.PrefixRef{Prefix: "192.168.0.0/24", Name: known("home"), Interface: "wlan0", Address: "192.168.0.23"}
	mobile := &control.PrefixRef{Prefix: "10.64.0.0/16", Interface: "wwan0", Address: "10.64.3.9"}
	return control.Scopes{
		Now: now, Root: known("/sys/fs/cgroup"), Hooks: []string{"connect4", "connect6"}, MissingHooks: []string{"sendmsg4", "sendmsg6"}, Groups: 87, Unseen: 3,
		Scopes: []control.Scope{
			{
				Name: "backup", Line: 7, Units: []string{"backup.service"}, Selection: known("require network home"), Groups: []string{"/system.slice/backup.service"},
				Usual: []control.ScopeAnswer{answer("IPv4", "stream", "place", home), answer("IPv6", "stream", "refuse", nil), answer("IPv4", "datagram", "place", mobile)},
				Variants: []control.ScopeVariant{
					{Source: "rule mail, rule bulk", Usual: []control.ScopeAnswer{answer("IPv4", "stream", "place", mobile), answer("IPv6", "stream", "leave", nil)}},
					{Source: "port 22", Usual: []control.ScopeAnswer{answer("IPv4", "stream", "place", home)}},
				},
				Placed: 12, Refused: 2, Failed: 1,
			},
			{
				Name: "desktop", Line: 12, Slices: []string{"user.slice"}, Groups: []string{"/user.slice", "/user.slice/user-1000.slice", "/user.slice/user-1000.slice/session-2.scope"},
				Usual: []control.ScopeAnswer{answer("IPv4", "stream", "place", mobile), answer("IPv6", "stream", "leave", nil)}, Placed: 4711, Left: 5, Learning: true, Learnt: 3,
			},
			{Name: "rest", Line: 20},
		},
	}
}

func TestScopesOfNobody(t *testing.T) {
	f := newFake()
	f.answers["GET /v1/scopes"] = control.Scopes{Now: now}
	if code, out, errs := mammactl(t.Context(), serve(t, f), "scopes"); code != exitOK || errs != "" || out != "The configuration has no scopes.\n" {
		t.Errorf("exit code %d, %q, %s", code, out, errs)
	}
	single := scopes()
	single.MPTCPError = known("the kernel forbids it")
	f.answers["GET /v1/scopes"] = single
	if _, out, _ := mammactl(t.Context(), serve(t, f), "scopes"); !strings.Contains(out, "Scopes with \"mptcp\" use TCP: the kernel forbids it\n") {
		t.Errorf("without Multipath TCP:\n%s", out)
	}
	detached := scopes()
	detached.Detached, detached.Hooks, detached.Error = true, nil, known("no room")
	f.answers["GET /v1/scopes"] = detached
	if _, out, _ := mammactl(t.Context(), serve(t, f), "scopes"); !strings.Contains(out, "Nothing is placed, as was asked for") {
		t.Errorf("detached:\n%s", out)
	}
}

func TestDetachScopes(t *testing.T) {
	f := newFake()
	delete(f.answers, "GET /v1/scopes") // nothing asks for it
	if code, out, errs := mammactl(t.Context(), serve(t, f), "scopes", "--detach"); code != exitOK || !strings.Contains(out, "not placed until") {
		t.Errorf("exit code %d, %q, %s", code, out, errs)
	}
	code, out, errs := mammactl(t.Context(), t.TempDir()+"/none.sock", "scopes", "--detach", "--pin-dir", t.TempDir()+"/none")
	if code != exitOK || !strings.Contains(out, "nothing is attached") {
		t.Errorf("without a daemon: exit code %d, %q, %s", code, out, errs)
	}
}
