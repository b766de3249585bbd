package main

import (
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"
)

// proxyError is an error of the proxy that the environment names.
type proxyError struct{ err error }

func (e *proxyError) Error() string { return e.err.Error() }
func (e *proxyError) Unwrap() error { return e.err }

// proxies returns which proxy a request goes over, if any. Without it, a variable that
// names no proxy would be passed over (http.ProxyFromEnvironment), and the request would
// go past the proxy that the user wants.
func proxies(c *httpproxy.Config) func(*http.Request) (*url.URL, error) {
	use, would := c.ProxyFunc(), *c
	for _, proxy := range []*string{&would.HTTPProxy, &would.HTTPSProxy} {
		if *proxy != "" {
			*proxy = "http://proxy.invalid"
		}
	}
	wanted := would.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		proxy, err := use(r.URL)
		if proxy != nil || err != nil {
			return proxy, err
		}
		if proxy, err = wanted(r.URL); proxy == nil || err != nil {
			return nil, err
		}
		// The variable's value is not shown, because it may hold a password.
		return nil, &proxyError{fmt.Errorf("$%s_proxy is not a URL of a proxy", r.URL.Scheme)}
	}
}
