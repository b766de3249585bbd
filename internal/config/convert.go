package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/socket-intents/mamma/policy"
)

// Convert writes c in HCL, without settings that have their default value. Comments in
// the file are lost. If an original file has a setting with a name that HCL cannot
// write, it becomes a comment. A policy ignores unknown settings in the original
// grammar, but will refuse them in the converted file.
func Convert(c *Config) string {
	w := &writer{}
	w.file(c)
	return string(hclwrite.Format([]byte(w.String())))
}

type writer struct{ strings.Builder }

// open begins a block of the file, with an empty line before it.
func (w *writer) open(format string, args ...any) {
	if w.Len() > 0 {
		w.line("")
	}
	w.line(format, args...)
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.Builder, format+"\n", args...) }

// text writes a setting unless it is empty.
func (w *writer) text(name, value string) {
	if value != "" {
		w.line("%s = %s", name, quote(value))
	}
}

func (w *writer) list(name string, values []string) {
	if len(values) > 0 {
		w.line("%s = %s", name, quoteList(values))
	}
}

// quote writes a string with HCL's escapes.
func quote(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}

func quoteList(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (w *writer) file(c *Config) {
	standard := defaults()
	if c.Auto {
		w.line("auto = true")
	}
	w.text("socket", c.Socket)
	w.text("control_socket", c.ControlSocket)
	w.text("control_group", c.ControlGroup)
	w.text("compat_socket", c.CompatSocket)
	w.text("compat_fifo", c.CompatFIFO)
	w.list("policy_path", c.PolicyPath)
	if c.BindDevice != standard.BindDevice {
		w.text("bind_device", c.BindDevice.String())
	}
	if c.Routing != standard.Routing {
		w.text("routing", c.Routing.String())
	}
	far := make([]string, len(c.FarAway))
	for i, a := range c.FarAway {
		far[i] = a.String()
	}
	w.list("far_away", far)
	w.text("state_dir", c.StateDirectory)
	if c.AvoidMetered != c.Auto {
		w.line("avoid_metered = %t", c.AvoidMetered)
	}
	w.text("system_bus", c.SystemBus)
	if c.Probe != standard.Probe {
		w.open("probe {")
		w.text("when", c.Probe.When.String())
		w.text("target", c.Probe.Target.String())
		w.text("interval", c.Probe.Interval.String())
		w.line("}")
	}
	if c.Log != standard.Log {
		w.open("log {")
		w.text("level", nameOf(logLevels, c.Log.Level))
		w.text("format", c.Log.Format.String())
		w.line("}")
	}
	if c.Sampling != standard.Sampling {
		w.open("sampling {")
		w.text("interval", c.Sampling.Interval.String())
		w.text("cpu", c.Sampling.CPU.String())
		w.line("}")
	}
	if c.Logs != standard.Logs {
		w.open("logs {")
		w.text("prefixes", c.Logs.Prefixes)
		w.text("interfaces", c.Logs.Interfaces)
		w.line("}")
	}
	if c.Metrics != standard.Metrics {
		w.open("metrics {")
		w.text("listen", c.Metrics.Listen.String())
		w.line("}")
	}
	if c.Decisions != standard.Decisions {
		w.open("decisions {")
		w.line("keep = %d", c.Decisions.Keep)
		w.text("record", c.Decisions.Record)
		w.text("record_max", c.Decisions.RecordMax.String())
		w.line("}")
	}
	if c.MPTCP != standard.MPTCP {
		w.open("mptcp {")
		w.text("path_manager", c.MPTCP.PathManager.String())
		w.line("}")
	}
	w.scopes(c)
	if c.Policy.Name != "" {
		w.open("policy %s {", quote(c.Policy.Name))
		w.settings(c.Policy.Settings)
		w.line("}")
	}
	for _, b := range c.Blocks {
		w.block(b, c.Original)
	}
}

func (w *writer) block(b Block, original bool) {
	switch {
	case !b.Prefix.IsValid():
		w.open("interface %s {", quote(b.Interface))
	case b.Prefix.IsSingleIP(): // the block is about the network that contains this address
		w.open("prefix %s {", quote(b.Prefix.Addr().String()))
	default:
		w.open("prefix %s {", quote(b.Prefix.String()))
	}
	w.text("name", b.Name)
	switch {
	case b.Enabled != nil && *b.Enabled && original:
		// In HCL a named network is enabled.
	case b.Enabled != nil:
		w.line("enabled = %t", *b.Enabled)
	case original:
		w.line("enabled = false")
	}
	if b.Default != nil {
		w.line("default = %t", *b.Default)
	}
	if b.Cost != nil {
		w.text("cost", b.Cost.String())
	}
	if b.Budget != nil {
		w.text("budget", b.Budget.String())
	}
	if b.BudgetReset != nil {
		w.line("budget_reset = %d", *b.BudgetReset)
	}
	if b.OnDown != nil {
		w.text("on_down", b.OnDown.String())
	}
	if b.LinkDNS != nil {
		w.line("link_dns = %t", *b.LinkDNS)
	}
	servers := make([]string, len(b.Nameservers))
	for i, s := range b.Nameservers {
		servers[i] = s.String()
		if s.Port() == 53 {
			servers[i] = s.Addr().String()
		}
	}
	w.list("nameserver", servers)
	w.text("resolvconf", b.ResolvConf)
	if b.DNSBindTo.IsValid() {
		w.text("dnsbindto", b.DNSBindTo.String())
	}
	if len(b.Options) > 0 {
		w.line("options {")
		w.settings(b.Options)
		w.line("}")
	}
	w.line("}")
}

func (w *writer) settings(settings []policy.Setting) {
	for _, s := range settings {
		value := quote(s.Value)
		switch {
		case !s.Constant:
			value = s.Expr
		case s.List != nil:
			value = quoteList(s.List)
		case isPlain(s.Value):
			value = s.Value
		}
		if !hclsyntax.ValidIdentifier(s.Name) {
			w.line("# HCL cannot write this name: %s = %s", quote(s.Name), value)
			continue
		}
		w.line("%s = %s", s.Name, value)
	}
}

// isPlain tells whether a value means the same without quotes: true, false, and
// integers in Go's notation.
func isPlain(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == value || value == "true" || value == "false"
}
