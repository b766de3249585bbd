package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/policy"
)

// parseHCL reads a file in HCL. It accepts only HCL's native syntax, and evaluates only
// constants.
func parseHCL(c *Config, r *report) {
	h := &hclFile{c: c, report: r}
	if body, ok := h.parse(); ok {
		h.body(body, "", h.fileSettings(), h.fileBlocks())
		h.unread()
		c.places = places(body)
		if body.Attributes["avoid_metered"] == nil {
			c.AvoidMetered = c.Auto
		}
	}
	c.told = r.told
}

// places returns where the values of the settings of a body stand.
func places(body *hclsyntax.Body) map[string]Pos {
	at := make(map[string]Pos, len(body.Attributes))
	for name, a := range body.Attributes {
		at[name] = position(a.Expr.Range())
	}
	return at
}

// hclFile reads one file into c.
type hclFile struct {
	*report
	c *Config // nil: the file belongs to another program
	// mended is the text that was parsed instead of the source, nil if the source was
	// right. words are the texts that lack quotes there, by their first byte.
	mended []byte
	words  map[int]word
	order  []int // their first bytes, sorted
	// hint returns a remark about settings that the present body does not know. It may
	// be nil.
	hint func(name, value string) string
}

// A setter takes the value of a setting. where is the name of the block, "" outside of
// blocks.
type setter func(a *hclsyntax.Attribute, where string)

// A blockReader reads a nested block.
type blockReader struct {
	label string // what its label means; "" if it has none
	many  bool   // the block may be repeated
	read  func(b *hclsyntax.Block)
}

// To add a setting, add it to one of these tables, to Config, to convert.go and to
// reference.hcl. Tests find what is missing.

func (h *hclFile) fileSettings() map[string]setter {
	c := h.c
	return map[string]setter{
		"auto":           h.boolean(&c.Auto),
		"socket":         into(h, &c.Socket, parseSocketPath),
		"control_socket": into(h, &c.ControlSocket, parseSocketPath),
		"control_group":  h.numbered(&c.ControlGroup, parseName),
		"compat_socket":  into(h, &c.CompatSocket, orOff(parseSocketPath)),
		"compat_fifo":    h.path(&c.CompatFIFO, orOff(parsePath)),
		"policy_path":    h.paths(&c.PolicyPath),
		"bind_device":    into(h, &c.BindDevice, oneOf(bindDevices)),
		"routing":        into(h, &c.Routing, oneOf(routings)),
		"far_away":       listInto(h, &c.FarAway, parseFarAway, false),
		"state_dir":      h.path(&c.StateDirectory, parsePath),
		"avoid_metered":  h.boolean(&c.AvoidMetered),
		"system_bus":     into(h, &c.SystemBus, parseSystemBus),
	}
}

func (h *hclFile) fileBlocks() map[string]blockReader {
	blocks := map[string]blockReader{
		"policy":    {label: "name", read: h.policy},
		"prefix":    {label: "network", many: true, read: h.prefix},
		"interface": {label: "name or pattern", many: true, read: h.iface},
		"scope":     {label: "name", many: true, read: h.scope},
	}
	for name, settings := range h.groups() {
		blocks[name] = blockReader{read: func(b *hclsyntax.Block) { h.body(b.Body, name, settings, nil) }}
	}
	return blocks
}

// groups are the blocks that only group settings.
func (h *hclFile) groups() map[string]map[string]setter {
	c := h.c
	return map[string]map[string]setter{
		"log": {
			"level":  into(h, &c.Log.Level, oneOf(logLevels)),
			"format": into(h, &c.Log.Format, oneOf(logFormats)),
		},
		"sampling": {
			"interval": quantity(h, &c.Sampling.Interval, duration(MinInterval, MaxInterval, DefaultInterval.String())),
			"cpu":      into(h, &c.Sampling.CPU, parseCPU),
		},
		"logs": {
			"prefixes":   h.path(&c.Logs.Prefixes, orOff(parsePath)),
			"interfaces": h.path(&c.Logs.Interfaces, orOff(parsePath)),
		},
		"metrics": {
			"listen": into(h, &c.Metrics.Listen, parseListen),
		},
		"probe": {
			"when":     into(h, &c.Probe.When, oneOf(probeWhens)),
			"target":   into(h, &c.Probe.Target, parseProbeTarget),
			"interval": quantity(h, &c.Probe.Interval, duration(MinProbeInterval, MaxProbeInterval, DefaultProbeInterval.String())),
		},
		"decisions": {
			"keep":       h.integer(&c.Decisions.Keep, 0, MaxKeep),
			"record":     h.path(&c.Decisions.Record, parsePath),
			"record_max": quantity(h, &c.Decisions.RecordMax, amount(MinRecordMax, "100MB")),
		},
		"mptcp": {
			"path_manager": into(h, &c.MPTCP.PathManager, oneOf(pathManagers)),
		},
		"scopes": {
			"cgroup_root": into(h, &c.Placing.Root, parseAbsolute),
			"pin_dir":     into(h, &c.Placing.Pins, parsePinDir),
			"keep":        h.boolean(&c.Placing.Keep),
			"measure":     h.boolean(&c.Placing.Measure),
		},
	}
}

// networkSettings are the settings of prefix and interface blocks.
func (h *hclFile) networkSettings(to *Block) map[string]setter {
	return map[string]setter{
		"name": func(a *hclsyntax.Attribute, where string) {
			into(h, &to.Name, parseNetworkName)(a, where)
			h.named(to, position(a.Expr.Range()))
		},
		"enabled": func(a *hclsyntax.Attribute, where string) { to.Enabled = new(bool); h.boolean(to.Enabled)(a, where) },
		"default": func(a *hclsyntax.Attribute, where string) { to.Default = new(bool); h.boolean(to.Default)(a, where) },
		"cost": func(a *hclsyntax.Attribute, where string) {
			to.Cost = new(policy.Cost)
			into(h, to.Cost, oneOf(costs))(a, where)
		},
		"budget": func(a *hclsyntax.Attribute, where string) {
			to.Budget = new(Bytes)
			quantity(h, to.Budget, amount(minBudget, "5GB"))(a, where)
		},
		"budget_reset": func(a *hclsyntax.Attribute, where string) {
			to.BudgetReset = new(int)
			h.integer(to.BudgetReset, 1, 31)(a, where)
		},
		"on_down": func(a *hclsyntax.Attribute, where string) {
			to.OnDown = new(OnDown)
			into(h, to.OnDown, oneOf(onDowns))(a, where)
		},
		"link_dns":   func(a *hclsyntax.Attribute, where string) { to.LinkDNS = new(bool); h.boolean(to.LinkDNS)(a, where) },
		"nameserver": listInto(h, &to.Nameservers, parseNameserver, false),
		"resolvconf": h.path(&to.ResolvConf, parsePath),
		"dnsbindto":  into(h, &to.DNSBindTo, parseAddr),
	}
}

// named reports a name that another block already has. Two prefix blocks of different
// families may share a name, because a network often has a prefix of each family.
func (h *hclFile) named(b *Block, at Pos) {
	for i := range h.c.Blocks {
		other := &h.c.Blocks[i]
		both := b.Prefix.IsValid() && other.Prefix.IsValid()
		if b.Name == "" || other.Name != b.Name || both && b.Prefix.Addr().Is4() != other.Prefix.Addr().Is4() {
			continue
		}
		h.errorf(at, "name %q is that of %q in line %d already: a name stands for one network, which can have one prefix block of IPv4 and one of IPv6", b.Name, other.Written, other.Pos.Line)
		return
	}
}

func (h *hclFile) policy(b *hclsyntax.Block) {
	c := h.c
	c.Policy.Name, c.Policy.Pos = b.Labels[0], position(b.LabelRanges[0])
	c.Policy.Settings = h.policySettings(b.Body, policyBlock(b.Labels[0]), false)
	c.unread = len(c.Policy.Settings) < len(b.Body.Attributes)+len(b.Body.Blocks)
	if strings.ContainsRune(c.Policy.Name, '/') { // else it is looked for in policy_path
		h.warnRelative(c.Policy.Pos, "the policy", c.Policy.Name)
	}
	for i := range c.Policy.Settings {
		if s := &c.Policy.Settings[i]; s.Name == "logfile" && s.Constant {
			h.warnRelative(position(b.Body.Attributes[s.Name].Expr.Range()), s.Name+in(s.Block), s.Value)
		}
	}
}

func (h *hclFile) prefix(b *hclsyntax.Block) {
	p, err := parsePrefix(b.Labels[0])
	h.network(b, Block{Prefix: p}, err)
}

func (h *hclFile) iface(b *hclsyntax.Block) {
	pattern, err := parsePattern(b.Labels[0])
	h.network(b, Block{Interface: pattern}, err)
}

func (h *hclFile) network(b *hclsyntax.Block, to Block, err error) {
	to.Written, to.Pos = b.Labels[0], position(b.LabelRanges[0])
	if err != nil {
		h.errorf(to.Pos, "%v", err)
	}
	where := fmt.Sprintf("%s %q", b.Type, b.Labels[0])
	h.body(b.Body, where, h.networkSettings(&to), map[string]blockReader{
		"options": {read: func(o *hclsyntax.Block) { to.Options = h.options(o.Body, where) }},
	})
	h.c.Blocks = append(h.c.Blocks, to)
}

// options reads the settings of a prefix block that belong to the policy.
func (h *hclFile) options(body *hclsyntax.Body, where string) []policy.Setting {
	var good []policy.Setting
	for _, s := range h.policySettings(body, where, true) {
		at := Pos{Line: s.Line, Column: s.Column, EndColumn: s.Column + utf8.RuneCountInString(s.Name)}
		switch {
		case s.Name == "default":
			h.errorf(at, "default belongs into %s itself, not into its options", where)
		case !s.Constant:
			se := (*policy.SettingError)(nil)
			errors.As(s.NotConstant(), &se)
			h.errorf(at, "%v", se.Err)
		case s.List != nil:
			h.errorf(at, "%s in %s must be a single value, not a list", s.Name, where)
		default:
			good = append(good, s)
		}
	}
	return good // wrong ones were reported, and need not be found again by the policy
}

// body reads the settings and blocks of a body. where is the name of the block for
// error messages, "" outside of blocks.
func (h *hclFile) body(body *hclsyntax.Body, where string, settings map[string]setter, blocks map[string]blockReader) {
	for _, a := range sorted(body.Attributes) {
		switch set, ok := settings[a.Name]; {
		case ok:
			set(a, where)
		case blocks[a.Name].read != nil:
			form := a.Name
			if blocks[a.Name].label != "" {
				form += ` "` + strings.ToUpper(blocks[a.Name].label) + `"`
			}
			h.errorf(position(a.NameRange), "%s is a block: %s { ... }, without =", a.Name, form)
		default:
			h.unknown("setting", a.Name, a.NameRange, where, settings, blocks, h.quotesToo(a))
		}
	}
	first := map[string]*hclsyntax.Block{}
	for _, b := range body.Blocks {
		reader, ok := blocks[b.Type]
		h.labels(b)
		switch {
		case settings[b.Type] != nil && !ok: // intents of a scope is a setting and a block
			h.errorf(position(b.TypeRange), "%s is a setting: %s = ...", b.Type, b.Type)
			continue
		case !ok:
			h.unknown("block", b.Type, b.TypeRange, where, settings, blocks, "")
			continue
		case reader.label == "" && len(b.Labels) > 0:
			h.errorf(position(b.LabelRanges[0]), "%s takes no name: %s { ... }", b.Type, b.Type)
			continue
		case reader.label != "" && (len(b.Labels) != 1 || b.Labels[0] == ""):
			h.errorf(position(b.TypeRange), "%s needs one %s in quotes: %s \"...\" { ... }", b.Type, reader.label, b.Type)
			continue
		}
		key := b.Type
		if reader.many {
			key += " " + b.Labels[0]
		}
		if other := first[key]; other != nil {
			h.errorf(position(b.DefRange()), "a second %s block; the first one is in line %d", key, other.TypeRange.Start.Line)
			continue
		}
		first[key] = b
		reader.read(b)
	}
}

// labels restores the labels of blocks that lack quotes. If such a label is wrong
// otherwise, the reader of the block reports it, with quotes.
func (h *hclFile) labels(b *hclsyntax.Block) {
	for i, r := range b.LabelRanges {
		w, ok := h.words[r.Start.Byte]
		if !ok {
			continue
		}
		b.Labels[i] = w.text
		var err error
		switch b.Type {
		case "prefix":
			_, err = parsePrefix(w.text)
		case "interface":
			_, err = parsePattern(w.text)
		case "scope":
			_, err = parseNetworkName(w.text)
		}
		if err == nil {
			h.errorf(w.pos, "put it in quotes: %s %q { ... }", b.Type, w.text)
		}
	}
}

func (h *hclFile) unknown(what, name string, at hcl.Range, where string, settings map[string]setter, blocks map[string]blockReader, more string) {
	var known []string
	for k := range settings {
		known = append(known, k)
	}
	for k := range blocks {
		known = append(known, k)
	}
	hint, sure := h.home(name, where)
	if near := Suggest(name, known); hint == "" || !sure && strings.HasSuffix(near, "?") {
		hint = near
	}
	h.errorf(position(at), "unknown %s %q%s%s%s", what, name, in(where), hint, more)
}

// home says where a name belongs that is unknown at its place; "" if it is known
// nowhere. sure tells that just this name is known there.
func (h *hclFile) home(name, where string) (hint string, sure bool) {
	if h.c == nil { // the file belongs to another program
		return "", false
	}
	network, scope, rule := h.networkSettings(&Block{}), h.scopeSettings(&Scope{}), h.ruleSettings(&Rule{})
	inScope, inRule := strings.HasPrefix(where, "scope "), strings.HasPrefix(where, "intents ")
	switch {
	case where != "" && (h.fileSettings()[name] != nil || h.fileBlocks()[name].read != nil):
		return "; it belongs outside of the block", true
	case inScope && rule[name] != nil:
		return `; it belongs into a block intents "..." { } of the scope`, true
	case inScope:
		return "; one of " + listed(scope), false
	case inRule && scope[name] != nil:
		return "; it belongs into the scope itself, outside of the block", true
	case inRule:
		return "; one of " + listed(rule), false
	case strings.HasPrefix(where, "prefix ") || strings.HasPrefix(where, "interface "):
		return "; what the policy reads belongs into options { }, all else is one of " + listed(network), false
	case network[name] != nil:
		return `; it belongs into prefix "..." { } or interface "..." { }`, true
	case scope[name] != nil:
		return `; it belongs into scope "..." { }`, true
	}
	var homes []string
	for block, settings := range h.groups() {
		if settings[name] != nil {
			homes = append(homes, block+" { }")
		}
	}
	if len(homes) == 0 {
		return "", false
	}
	slices.Sort(homes)
	return "; it belongs into " + strings.Join(homes, " or "), true
}

// listed names settings, for people.
func listed(settings map[string]setter) string {
	return strings.Join(slices.Sorted(maps.Keys(settings)), ", ")
}

func in(where string) string {
	if where == "" {
		return ""
	}
	return " in " + where
}

// sorted returns the settings in the order in which they were written.
func sorted(attributes hclsyntax.Attributes) []*hclsyntax.Attribute {
	list := make([]*hclsyntax.Attribute, 0, len(attributes))
	for _, a := range attributes {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return list
}

// position returns the part of a range on its first line.
func position(r hcl.Range) Pos {
	p := Pos{Line: r.Start.Line, Column: r.Start.Column, EndColumn: r.End.Column}
	if r.End.Line != r.Start.Line {
		p.EndColumn = p.Column + 1
	}
	return p
}

// diagnostic reports an error that HCL found, in our form.
func (h *hclFile) diagnostic(d *hcl.Diagnostic) {
	if d.Severity != hcl.DiagError {
		return
	}
	pos := Pos{}
	if d.Subject != nil {
		pos = position(*d.Subject)
	}
	h.errorf(pos, "%s", hclMessage(d))
}

// redefined matches where HCL says that a setting was set before.
var redefined = regexp.MustCompile(`^The argument "([^"]*)" was already set at .*:([0-9]+),[0-9-]+\.`)

// hclMessage says in the words of this format what HCL says in its own.
func hclMessage(d *hcl.Diagnostic) string {
	switch d.Summary {
	case "Argument definition required", "Invalid single-argument block definition":
		return "a block in one line can hold one setting only: put each setting, each block inside it, and its closing brace on a line of its own"
	case "Argument or block definition required":
		return "each line begins with the name of a setting or a block: NAME = VALUE, or NAME { ... }"
	case "Unclosed configuration block":
		return "the brace that closes this block is missing: }"
	case "Attribute redefined":
		if at := redefined.FindStringSubmatch(d.Detail); at != nil {
			return fmt.Sprintf("%s is set a second time; the first time is in line %s", at[1], at[2])
		}
	}
	summary := d.Summary
	if r, size := utf8.DecodeRuneInString(summary); size > 0 {
		summary = string(unicode.ToLower(r)) + summary[size:]
	}
	detail := strings.TrimSuffix(d.Detail, ".")
	if detail == "" {
		return summary
	}
	return summary + ": " + detail
}
