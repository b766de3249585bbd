package proxy

import (
	"context"
	_ "embed"
	"fmt"
)

// Reference is a configuration file that explains every setting.
//
//go:embed reference.hcl
var Reference string

// Options are the settings of the command line. An option overrides the same setting
// of the configuration file, at start and at every reload. A zero option leaves the
// setting to the file.
type Options struct {
	Config    string   // path of the configuration file; "": the defaults
	Listen    []string // addresses with ports to serve
	Socket    string   // path of the manager's request socket
	Metrics   string   // address with port that serves metrics
	LogLevel  string   // debug, info, warn or error
	LogFormat string   // text or json
	// OnLog is called with the level and the format of the log before settings
	// take effect; may be nil.
	OnLog func(level, format string)
}

// Validate says what is wrong with the addresses, naming their flags.
func (o *Options) Validate() error {
	for i, l := range o.Listen {
		addr, err := parseListen(l)
		if err != nil {
			return fmt.Errorf("--listen %w", err)
		}
		o.Listen[i] = addr
	}
	if o.Metrics != "" {
		if _, err := parseListen(o.Metrics); err != nil {
			return fmt.Errorf("--metrics %w", err)
		}
	}
	return nil
}

// load reads the configuration file and puts the options over it.
func (o *Options) load(ctx context.Context) (*settings, error) {
	c, err := loadConfig(ctx, o.Config)
	if err != nil {
		return nil, err
	}
	for _, over := range []struct {
		option string
		to     *string
	}{{o.Socket, &c.socket}, {o.Metrics, &c.metrics}, {o.LogLevel, &c.logLevel}, {o.LogFormat, &c.logFormat}} {
		if over.option != "" {
			*over.to = over.option
		}
	}
	if len(o.Listen) > 0 {
		c.listen = o.Listen
	}
	return c, nil
}

// Check says what is wrong with the configuration file at path, and with the
// users file that it names. If nothing is, it returns what New would warn of.
func Check(ctx context.Context, path string) (warnings []string, err error) {
	c, err := loadConfig(ctx, path)
	if err != nil {
		return nil, err
	}
	return c.warnings(), nil
}

// HashPassword makes the text that stands for a password in the users file.
func HashPassword(password string) (string, error) { return hashPassword(password, hashIterations) }
