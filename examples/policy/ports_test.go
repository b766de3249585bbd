package main

import (
	"testing"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

func TestNew(t *testing.T) {
	for _, settings := range [][]string{
		{"ports=22", "interface=wwan0"},
		{"ports=[22, 5060]", "interface=wwan0"},
	} {
		if _, err := New(policytest.Config(settings...)); err != nil {
			t.Errorf("%q: %v", settings, err)
		}
	}
	for _, tt := range []struct {
		name     string
		settings []string
		want     string
	}{
		{"nothing", nil, "both settings are needed"},
		{"no interface", []string{"ports=22"}, "both settings are needed"},
		{"not a number", []string{"ports=ssh", "interface=wwan0"}, `"ssh" is not a port number`},
		{"too large", []string{"ports=65536", "interface=wwan0"}, "is not a port number"},
		{"unknown", []string{"port=22"}, "known: interface, ports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(policytest.Config(tt.settings...))
			policytest.Refused(t, err, tt.want)
		})
	}
}

func TestChoose(t *testing.T) {
	wlan := policytest.Prefix("wlan0", "192.0.2.7/24", policytest.Default)
	wwan := policytest.Prefix("wwan0", "198.51.100.7/24")
	dead := policytest.Prefix("wwan0", "198.51.100.7/24", policytest.Health(policy.Down))
	request := func(kind policy.Kind, port uint16, prefixes ...*policy.Prefix) *policy.Request {
		r := policytest.Request(kind, prefixes...)
		r.Port = port
		return r
	}
	policytest.Run(t, policytest.Make(New, "ports=22", "interface=wwan0"), []policytest.Case{
		{Name: "listed", Request: request(policy.SocketConnect, 22, wlan, wwan),
			Want: policytest.Answer{Prefix: "wwan0", Alternates: "wlan0", Reason: "port 22 goes by wwan0"}},
		{Name: "an address", Request: request(policy.Connect, 22, wlan, wwan),
			Want: policytest.Answer{Prefix: "wwan0", Alternates: "wlan0", Reason: "port 22 goes by wwan0"}},
		{Name: "not listed", Request: request(policy.SocketConnect, 80, wlan, wwan),
			Want: policytest.Answer{Prefix: "wlan0", Reason: "port 80 is not listed"}},
		{Name: "down", Request: request(policy.SocketConnect, 22, wlan, dead),
			Want: policytest.Answer{Prefix: "wlan0", Reason: "port 22 belongs to wwan0, which is not usable"}},
		{Name: "no candidates", Request: request(policy.SocketConnect, 22),
			Want: policytest.Answer{Reason: "port 22 belongs to wwan0, which is not usable"}},
	})
}
