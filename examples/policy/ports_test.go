package main

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policy"
)

func setting(name, value string, list ...string) policy.Setting {
	return policy.Setting{Name: name, Value: value, List: list, Constant: true, Block: `policy "ports"`}
}

func TestNew(t *testing.T) {
	tests := []struct {
		name     string
		settings []policy.Setting
		wantErr  string
	}{
		{"one port", []policy.Setting{setting("ports", "22"), setting("interface", "wwan0")}, ""},
		{"two ports", []policy.Setting{setting("ports", "", "22", "5060"), setting("interface", "wwan0")}, ""},
		{"nothing", nil, "both settings are needed"},
		{"no interface", []policy.Setting{setting("ports", "22")}, "both settings are needed"},
		{"not a number", []policy.Setting{setting("ports", "ssh"), setting("interface", "wwan0")}, `"ssh" is not a port number`},
		{"too large", []policy.Setting{setting("ports", "65536"), setting("interface", "wwan0")}, "is not a port number"},
		{"unknown", []policy.Setting{setting("port", "22")}, "known: interface, ports"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(policy.Config{Settings: tt.settings})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if (err == nil) != (tt.wantErr == "") || !strings.Contains(got, tt.wantErr) {
				t.Errorf("New: error %q, want %q", got, tt.wantErr)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	wlan := &policy.Prefix{Interface: "wlan0", Default: true}
	wwan := &policy.Prefix{Interface: "wwan0"}
	dead := &policy.Prefix{Interface: "wwan0", Health: policy.Health{State: policy.Down}}
	all := []*policy.Prefix{wlan, wwan}

	tests := []struct {
		name    string
		request policy.Request
		want    policy.Decision
	}{
		{"listed", policy.Request{Kind: policy.SocketConnect, Port: 22, Prefixes: all},
			policy.Decision{Prefix: wwan, Alternates: []*policy.Prefix{wlan}, Reason: "port 22 goes by wwan0"}},
		{"remote address", policy.Request{Kind: policy.Connect, Remote: netip.MustParseAddrPort("192.0.2.1:22"), Prefixes: all},
			policy.Decision{Prefix: wwan, Alternates: []*policy.Prefix{wlan}, Reason: "port 22 goes by wwan0"}},
		{"not listed", policy.Request{Kind: policy.SocketConnect, Port: 80, Prefixes: all},
			policy.Decision{Prefix: wlan, Reason: "port 80 is not listed"}},
		{"down", policy.Request{Kind: policy.SocketConnect, Port: 22, Prefixes: []*policy.Prefix{wlan, dead}},
			policy.Decision{Prefix: wlan, Reason: "port 22 belongs to wwan0, which is not usable"}},
		{"no candidates", policy.Request{Kind: policy.SocketConnect, Port: 22},
			policy.Decision{Reason: "port 22 belongs to wwan0, which is not usable"}},
	}
	p, err := New(policy.Config{Settings: []policy.Setting{setting("ports", "22"), setting("interface", "wwan0")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.Choose(&tt.request); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Choose: got %+v, want %+v", got, tt.want)
			}
		})
	}
}
