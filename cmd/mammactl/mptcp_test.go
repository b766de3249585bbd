package main

import (
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
)

// multipath returns an answer with connections in every state.
func multipath() control.Multipath {
	return control.Multipath{
		Now: now, PathManager: known("userspace"), Managed: true, PerConnection: true, Complete: true,
		Connections: []control.MultipathConn{
			{
				Token: "22fb75ab", Local: "192.168.0.23:45343", Remote: "192.0.2.1:443", Sent: 1200, Received: 25e6,
				Decision: known(uint64(3)), Host: known("www.example.net"),
				Subflows: []control.MultipathSubflow{
					{Local: "192.168.0.23:45343", Remote: "192.0.2.1:443", Interface: known("wlan0"), First: true, Established: true, Sent: 900, Received: 15e6, RTTMS: known(12.1)},
					{Local: "10.64.3.9:50001", Remote: "192.0.2.1:443", Interface: known("wwan0"), Backup: true, Established: true, Sent: 300, Received: 10e6, RTTMS: known(55.3)},
					{Local: "172.17.0.1:50002", Remote: "192.0.2.1:443"},
				},
			},
			{
				Token: "1", Local: "192.168.0.23:45344", Remote: "192.0.2.2:80", Fallback: true, Received: 1500,
				Subflows: []control.MultipathSubflow{{Local: "192.168.0.23:45344", Remote: "192.0.2.2:80", Interface: known("wlan0"), First: true, Received: 1500}},
			},
		},
		Endpoints: []control.MultipathEndpoint{{ID: 1, Addr: "192.168.0.23", Flags: []string{"subflow"}}, {ID: 2, Addr: "10.64.3.9", Flags: []string{"subflow", "backup"}}},
		Counters: control.MultipathCounters{
			Opened: 12, Accepted: 1, NoPeer: 4, JoinsSent: 9, JoinsReceived: 2, Fallbacks: map[string]uint64{"MPCapableFallbackSYNACK": 4, "DssFallback": 1},
		},
	}
}

func TestMultipathOfNobody(t *testing.T) {
	f := newFake()
	f.answers["GET /v1/mptcp"] = control.Multipath{Now: now}
	code, out, errs := mammactl(t.Context(), serve(t, f), "mptcp")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	golden(t, "mptcp-none", out)
}

// If the kernel manages paths, a policy's veto against one connection has no effect.
// The output says so.
func TestMultipathOfTheKernel(t *testing.T) {
	f := newFake()
	f.answers["GET /v1/mptcp"] = control.Multipath{
		Now: now, PathManager: known("kernel"), Managed: true, Complete: true,
		Endpoints: []control.MultipathEndpoint{{ID: 1, Addr: "192.168.0.23", Flags: []string{"subflow"}}},
		Without:   []control.PrefixRef{{Prefix: "10.8.0.0/24", Interface: "usb8"}, {Prefix: "10.9.0.0/24", Interface: "usb9"}},
	}
	code, out, errs := mammactl(t.Context(), serve(t, f), "mptcp")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	golden(t, "mptcp-kernel", out)
}
