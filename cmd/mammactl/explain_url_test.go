package main

import "testing"

func TestExplainURL(t *testing.T) {
	for _, tt := range []struct{ target, host, service, wrong string }{
		{"http://www.example.net/a?b", "www.example.net", "http", ""},
		{"HTTPS://user:secret@www.example.net:8443/", "www.example.net", "8443", ""},
		{"https://[2001:db8::1]/", "2001:db8::1", "https", ""},
		{"wss://chat.example.net", "chat.example.net", "https", ""},
		{"ssh://host.example.net", "host.example.net", "ssh", ""},
		{"www.example.net:443", "www.example.net", "443", ""},
		{"nosuch://www.example.net/", "", "", `"nosuch://www.example.net/" names no port, and there is no service "nosuch"`},
		{"http:///path", "", "", `"http:///path" names no host`},
	} {
		var q question
		b, err := q.body(tt.target)
		switch {
		case tt.wrong != "":
			if err == nil || err.Error() != tt.wrong {
				t.Errorf("%s: %v", tt.target, err)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.target, err)
		case b.Host != tt.host || b.Service != tt.service:
			t.Errorf("%s: host %q, service %q", tt.target, b.Host, b.Service)
		}
	}
}
