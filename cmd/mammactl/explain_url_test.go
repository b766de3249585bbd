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
		{"http://a b/", "", "", `"http://a b/" is not a URL: invalid character " " in host name`},
		{"www.example.net", "www.example.net", "", ""},
		{"www.example.net:https", "www.example.net", "https", ""},
		{"münchen.example:80", "münchen.example", "80", ""},
		{"_srv.example.net", "_srv.example.net", "", ""},
		{"192.0.2.1", "192.0.2.1", "", ""},
		{"192.0.2.1:80", "192.0.2.1", "80", ""},
		{"2001:db8::1", "2001:db8::1", "", ""},
		{"[2001:db8::1]", "2001:db8::1", "", ""},
		{"[2001:db8::1]:80", "2001:db8::1", "80", ""},
		{"fe80::1%eth0", "fe80::1%eth0", "", ""},
		{"[fe80::1%eth0]:80", "fe80::1%eth0", "80", ""},
		{"www.example.net/path", "", "", `"www.example.net/path" is neither HOST[:PORT] nor a URL, which begins with a scheme: https://www.example.net/path`},
		{"www.example.net:443/path", "", "", `"www.example.net:443/path" is neither HOST[:PORT] nor a URL, which begins with a scheme: https://www.example.net:443/path`},
		{"//www.example.net/x", "", "", `"//www.example.net/x" is neither HOST[:PORT] nor a URL, which begins with a scheme: https://www.example.net/x`},
		{"user@www.example.net", "", "", `"user@www.example.net" is neither HOST[:PORT] nor a URL, which begins with a scheme: https://user@www.example.net`},
		{"www.example.net?q", "", "", `"www.example.net?q" is neither HOST[:PORT] nor a URL, which begins with a scheme: https://www.example.net?q`},
		{"", "", "", `"" names no host`},
		{":443", "", "", `":443" names no host`},
		{"www.example.net:", "", "", `"www.example.net:" has no port after the colon`},
		{"a:b:c", "", "", `"a:b:c" is not HOST[:PORT]: too many colons in address`},
		{"[2001:db8::1", "", "", `"[2001:db8::1" is not HOST[:PORT]: missing ']' in address`},
		{"[www.example.net]:80", "", "", `"www.example.net" is not a host: neither a name nor an address`},
		{"two words", "", "", `"two words" is not a host: neither a name nor an address`},
		{"www.example.net:99999", "", "", `"www.example.net:99999" names no port: "99999" is neither a number up to 65535 nor a service`},
		{"mailto:somebody", "", "", `"mailto:somebody" names no port: "somebody" is neither a number up to 65535 nor a service`},
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
