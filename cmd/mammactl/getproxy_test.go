package main

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

// A variable that names no proxy does not make requests go past the proxy, but ends those
// that would have used it.
func TestProxies(t *testing.T) {
	const good, bad = "http://192.0.2.1:3128", "http://u:secret@%zz"
	for _, tt := range []struct {
		name   string
		config httpproxy.Config
		url    string
		want   string // "": none; "error": a proxyError
	}{
		{"none", httpproxy.Config{}, "http://example.net/", ""},
		{"one", httpproxy.Config{HTTPProxy: good}, "http://example.net/", good},
		{"without a scheme", httpproxy.Config{HTTPProxy: "192.0.2.1:3128"}, "http://example.net/", good},
		{"of the other scheme", httpproxy.Config{HTTPProxy: bad}, "https://example.net/", ""},
		{"malformed", httpproxy.Config{HTTPProxy: bad}, "http://example.net/", "error"},
		{"malformed, of https", httpproxy.Config{HTTPProxy: good, HTTPSProxy: bad}, "https://example.net/", "error"},
		{"malformed, not to be used", httpproxy.Config{HTTPProxy: bad, NoProxy: "example.net"}, "http://example.net/", ""},
		{"malformed, to this host", httpproxy.Config{HTTPProxy: bad}, "http://127.0.0.1/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			proxy, err := proxies(&tt.config)(&http.Request{URL: u})
			var broken *proxyError
			got := ""
			switch {
			case errors.As(err, &broken):
				got = "error"
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the password is shown: %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case proxy != nil:
				got = proxy.String()
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestGetBrokenProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	t.Setenv("http_proxy", "http://%zz")
	dir := t.TempDir()
	code, _, errs := mammactl(t.Context(), "", "get", "-q", "--socket", dir+"/none", "-o", dir+"/file", "http://192.0.2.1:1/file")
	if code != exitProxy || !strings.Contains(errs, "$http_proxy is not a URL of a proxy") {
		t.Errorf("ends with %d, says %q", code, errs)
	}
}
