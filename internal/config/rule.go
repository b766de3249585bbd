package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/socket-intents/mamma/intent"
)

// MaxRules bounds the rules of a scope. The kernel looks at all of them at each connection.
const MaxRules = 16

// Rule states intents for some of a scope's connections. Of each list that is not empty, one
// element has to fit.
type Rule struct {
	Name string
	Pos  Pos
	Set  intent.Set
	// Destinations are networks. The kernel knows the address of a destination, but no name.
	Destinations []netip.Prefix
	Ports        []PortRange // of the destination
	Commands     []string    // of threads
}

// PortRange is the ports from Low to High, both included.
type PortRange struct{ Low, High uint16 }

func (r PortRange) String() string {
	if r.Low == r.High {
		return strconv.Itoa(int(r.Low))
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// ParsePorts reads a port such as "443" or a range such as "8000-8999".
func ParsePorts(text string) (PortRange, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	l, err1 := strconv.ParseUint(low, 10, 16)
	h, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || l > h {
		return PortRange{}, fmt.Errorf("must be a port such as \"443\" or a range such as \"8000-8999\", not %q", text)
	}
	return PortRange{uint16(l), uint16(h)}, nil
}

// ParseNetwork reads a network such as "192.0.2.0/24", or an address, which is a network of
// one.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("must be an address or a network such as \"192.0.2.0/24\", not %q", text)
	}
	return p.Masked(), nil
}

// parseRuleNetwork is ParseNetwork with a remark for those who know rules that name hosts.
func parseRuleNetwork(text string) (netip.Prefix, error) {
	p, err := ParseNetwork(text)
	if err != nil && !strings.ContainsAny(text, "/:") {
		err = fmt.Errorf("%w: the kernel sees addresses, and no names", err)
	}
	return p, err
}

// parseStated reads the intents of a rule.
func parseStated(text string) (intent.Set, error) {
	s, err := parseIntents(text)
	if err == nil && s.IsZero() {
		err = errors.New("must state an intent such as \"category=bulktransfer\"")
	}
	return s, err
}

func parseIntents(text string) (intent.Set, error) {
	s, err := intent.Parse(text)
	if err != nil {
		return s, fmt.Errorf("is wrong: %w", err)
	}
	return s, nil
}

// ruleSettings are those of intents blocks in scope blocks. They are called as in the
// rules of the proxy and of mammactl run.
func (h *hclFile) ruleSettings(to *Rule) map[string]setter {
	return map[string]setter{
		"set":         into(h, &to.Set, parseStated),
		"destination": bounded(h, &to.Destinations, parseRuleNetwork, false),
		"port":        bounded(h, &to.Ports, ParsePorts, true),
		"command":     bounded(h, &to.Commands, parseCommand, false),
	}
}

// rule reads an intents block of a scope.
func (h *hclFile) rule(to *Scope, b *hclsyntax.Block) {
	r := Rule{Name: b.Labels[0], Pos: position(b.LabelRanges[0])}
	before := len(h.errors)
	h.body(b.Body, fmt.Sprintf("intents %q", r.Name), h.ruleSettings(&r), nil)
	if b.Body.Attributes["set"] == nil && len(h.errors) == before { // else it may be misspelt
		h.errorf(r.Pos, "intents %q sets none: set = \"category=bulktransfer\"", r.Name)
	}
	if len(to.Rules) == MaxRules {
		h.errorf(r.Pos, "scope %q has more than %d rules", to.Name, MaxRules)
	}
	if len(to.Rules) <= MaxRules {
		to.Rules = append(to.Rules, r)
	}
}

func (w *writer) rule(r *Rule) {
	w.open("intents %s {", quote(r.Name))
	w.text("set", r.Set.String())
	w.list("destination", written(r.Destinations))
	w.list("port", written(r.Ports))
	w.list("command", r.Commands)
	w.line("}")
}

// written returns values as they are written in a file.
func written[T fmt.Stringer](list []T) []string {
	var texts []string
	for _, x := range list {
		texts = append(texts, x.String())
	}
	return texts
}
