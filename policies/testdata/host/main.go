// Command host is a program that knows the contract policy and no policy,
// as a daemon would be that has them all from plugins. For each line of its
// input, a question, it answers one line.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/internal/plugin"
	"github.com/socket-intents/mamma/policy"
)

// question asks to make a policy of the plugin at Path, and to put to it the
// requests of Log (in the format of package decisionlog), one after the other.
type question struct {
	Path   string
	Config policy.Config
	Log    string
}

// answer holds the log with the plugin's decisions, and the lines of its own
// log.
type answer struct {
	Log   string
	Lines []string
	Err   string
}

func main() {
	var loader plugin.Loader
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		err := in.Decode(&q)
		if errors.Is(err, io.EOF) {
			return
		}
		var a answer
		if err == nil {
			a, err = ask(&loader, &q)
		}
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			fmt.Fprintln(os.Stderr, "host:", err)
			os.Exit(1)
		}
		if a.Err != "" {
			return // what follows in the input may make no sense
		}
	}
}

func ask(loader *plugin.Loader, q *question) (answer, error) {
	newPolicy, err := loader.Open(q.Path)
	if err != nil {
		return answer{}, err
	}
	p, err := newPolicy(q.Config)
	if err != nil {
		return answer{}, err
	}
	var a answer
	var log []byte
	var encoder decisionlog.Encoder
	for in := decisionlog.NewReader(strings.NewReader(q.Log)); ; {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			a.Log = string(log)
			return a, nil
		}
		if err != nil {
			return answer{}, err
		}
		if e.Request == nil {
			continue
		}
		d := policy.Decision{}
		if c, ok := p.(policy.ResolveChooser); ok && e.Request.Kind == policy.Resolve {
			d = c.ChooseResolver(e.Request)
		} else if e.Request.Kind != policy.Resolve {
			d = p.Choose(e.Request)
			if l, ok := p.(policy.LineLogger); ok {
				a.Lines = append(a.Lines, l.LogLine(e.Request, d))
			}
		}
		if log, err = encoder.Append(log, e.Policy, e.Request, d); err != nil {
			return answer{}, err
		}
	}
}
