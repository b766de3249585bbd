// Command loader lets the tests of internal/plugin open plugins in a program
// that was built as the daemon is; a test binary is not. For each line of its
// input it answers one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policy"
)

// question asks to open the plugin at Path, and then to make a policy of it with
// the settings and let it decide about a connection to Port.
type question struct {
	Path     string
	Settings []policy.Setting
	Port     uint16
}

type answer struct {
	Kind, Error, Hint string // of the failure to open, if any
	Reason            string // of the decision
	Err               string // of anything else
}

func main() {
	var loader plugin.Loader
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var q question
		err := json.Unmarshal(in.Bytes(), &q)
		var a answer
		if err == nil {
			a, err = ask(&loader, q)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			fmt.Fprintln(os.Stderr, "loader:", err)
			os.Exit(1)
		}
	}
}

func ask(loader *plugin.Loader, q question) (answer, error) {
	newPolicy, err := loader.Open(q.Path)
	if e, ok := errors.AsType[*plugin.Error](err); ok {
		return answer{Kind: e.Kind.String(), Error: e.Error(), Hint: e.Hint}, nil
	}
	if err != nil {
		return answer{}, err
	}
	prefix := &policy.Prefix{
		Interface: "lo", Default: true,
		CIDR:  netip.MustParsePrefix("127.0.0.0/8"),
		Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	}
	prefixes := []*policy.Prefix{prefix}
	p, err := newPolicy(policy.Config{Name: "test", Prefixes: prefixes, Settings: q.Settings})
	if err != nil {
		return answer{}, err
	}
	d := p.Choose(&policy.Request{Kind: policy.SocketConnect, Port: q.Port, Prefixes: prefixes})
	return answer{Reason: d.Reason}, nil
}
