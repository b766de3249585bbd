package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/operator/doctor"
	"github.com/socket-intents/mamma/internal/placement"
)

const doctorHelp = `Look for what would defeat a choice between networks: routes that lead
elsewhere, strict reverse path filters, gateways and name servers that do not
answer, missing default routes, the same network twice, Multipath TCP switched
off, missing capabilities, blocks of the configuration that match nothing, scopes
and on_down that have no effect, and whether "mammactl run" can place the
connections of programs here and move those whose network is silent.
Each finding comes with its evidence and the command that mends it. Doctor changes
nothing.

The configuration is the file given with --config, or else the one of the running
mamma, or else the automatic one. mamma need not run. Doctor sends packets to the
gateways and name servers of this host's networks, and to nobody else.

Exit status: 0 if nothing but notes was found, 1 for warnings, 2 for problems, 3 if
the checks could not be made.`

// exitNoChecks is the exit code if doctor could make no checks. The codes below it tell
// how severe the findings are.
const exitNoChecks = 3

// foundError makes the program end with the exit code of the findings, without a
// message.
type foundError struct{ code int }

func (e foundError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func (a *app) doctorCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Find what would defeat a choice of networks, and how to mend it", Long: doctorHelp,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.examine(cmd.Context(), file)
			if err == nil {
				err = a.showReport(r)
			}
			if err != nil {
				a.complain(err)
				return foundError{exitNoChecks}
			}
			if code := r.ExitCode(); code != 0 {
				return foundError{code}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration to go by")
	return cmd
}

func (a *app) examine(ctx context.Context, file string) (doctor.Report, error) {
	running, pid := a.running(ctx)
	o := doctor.Options{PID: pid}
	if file == "" {
		file = running
	}
	cfg := config.Auto()
	if file != "" {
		var err error
		if cfg, err = config.Load(ctx, file); err != nil {
			return doctor.Report{}, err
		}
	}
	o.Asked = new(doctor.Asked)
	s := a.status(func(time.Duration) string {
		if o.Asked.All.Load() == 0 {
			return "looking at the host's networks"
		}
		return fmt.Sprintf("asking gateways and name servers: %d of %d have answered or given up", o.Asked.Done.Load(), o.Asked.All.Load())
	})
	defer s.Stop()
	f, err := doctor.Collect(ctx, cfg, o)
	if err != nil {
		return doctor.Report{}, err
	}
	if a.self != "" {
		f.Run = &doctor.Run{}
		place, move := placement.Probe(a.self)
		if place != nil {
			f.Run.Error, f.Run.Remedy = place.Err.Error(), place.Remedy
		}
		if move != nil {
			f.Run.Unmoved, f.Run.UnmovedRemedy = move.Err.Error(), move.Remedy
		}
	}
	a.askScopes(ctx, &f, cfg.Placing.Pins != config.Off)
	return doctor.Examine(f), nil
}

// askScopes adds what the running mamma says about its scopes, if it has the ones of the
// configuration.
func (a *app) askScopes(ctx context.Context, f *doctor.Facts, keep bool) {
	if f.Scopes == nil {
		return
	}
	c := a.client()
	defer c.Close()
	var s control.Scopes
	if _, err := c.Get(ctx, "/v1/scopes", &s); err != nil || len(s.Scopes) == 0 {
		return // doctor then says what it sees by itself
	}
	to := f.Scopes
	to.Known, to.Attached, to.Detached, to.Missing = true, len(s.Hooks) > 0, s.Detached, s.MissingHooks
	to.Unkept, to.Failed = keep && !s.Kept, map[string]uint64{}
	if s.Error != nil {
		to.Error = *s.Error
	}
	if s.MPTCPError != nil {
		to.Single = *s.MPTCPError
	}
	for i := range s.Scopes {
		x := &s.Scopes[i]
		if len(x.Groups) == 0 {
			to.Unmatched = append(to.Unmatched, x.Name)
		}
		if x.Failed > 0 {
			to.Failed[x.Name] = x.Failed
		}
	}
}

// running asks the daemon, if there is one, for its configuration and process.
func (a *app) running(ctx context.Context) (file string, pid int) {
	c := a.client()
	defer c.Close()
	var s control.Status
	if _, err := c.Get(ctx, "/v1/status", &s); err != nil {
		return "", 0 // without an answer, the automatic configuration is a good guess
	}
	if s.Config.File != nil {
		file = *s.Config.File
	}
	return file, s.PID
}

func (a *app) showReport(r doctor.Report) error {
	if !a.json {
		return r.Write(a.out, a.columns())
	}
	e := json.NewEncoder(display.JSONWriter(a.out))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
