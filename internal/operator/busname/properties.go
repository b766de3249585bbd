package busname

import (
	"reflect"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// props are the properties of the object, or the fields of one network.
type props = map[string]dbus.Variant

// properties returns the properties of the object for a View. A nil View has no
// networks.
func (s *Server) properties(v *mam.View) props {
	if v == nil {
		v = &mam.View{}
	}
	networks := []props{}
	list := control.Networks(v, time.Now())
	for i := range list {
		networks = append(networks, network(&list[i]))
	}
	return values(map[string]any{
		"Version": s.opts.Version, "Networks": networks, "Cost": cost(v), "AvoidMetered": v.AvoidMetered,
	})
}

// changes returns the properties that differ between two Views.
func (s *Server) changes(before, now *mam.View) props {
	old, out := s.properties(before), props{}
	for name, v := range s.properties(now) {
		if !reflect.DeepEqual(v, old[name]) {
			out[name] = v
		}
	}
	return out
}

// cost returns the lowest cost of the networks that are up, "" if none is up.
func cost(v *mam.View) string {
	least, found := policy.Expensive, false
	for _, p := range v.Prefixes {
		if p.Health.State == policy.Up && !p.Addr().IsLoopback() {
			least, found = min(least, p.Cost), true
		}
	}
	if !found {
		return ""
	}
	return least.String()
}

// network returns a network in types of the bus. Unknown texts are empty.
func network(p *control.Prefix) props {
	facts := [][]string{}
	for _, f := range p.Facts {
		facts = append(facts, []string{f.Name, f.Value, f.Source})
	}
	return values(map[string]any{
		"Interface": p.Interface, "Index": uint32(max(p.Index, 0)), "Prefix": p.Prefix, "Family": p.Family, "Name": orEmpty(p.Name),
		"Addresses": p.Addresses, "Default": p.Default, "Device": orEmpty(p.Device),
		"Health": p.Health.State, "HealthReason": orEmpty(p.Health.Reason),
		"Cost": p.Cost, "CostSource": orEmpty(p.CostSource), "OverBudget": p.Budget != nil && p.Budget.Exceeded,
		"Resolvers": append([]string{}, p.Resolvers...), "ResolversSource": orEmpty(p.ResolversSource), "Facts": facts,
	})
}

func values(m map[string]any) props {
	out := make(props, len(m))
	for name, v := range m {
		out[name] = dbus.MakeVariant(valid(v))
	}
	return out
}

// valid replaces what is not allowed in a string of the bus, which is UTF-8 without NUL
// (D-Bus Specification, "Valid UTF-8"). Others choose the names of interfaces, and a
// message with one invalid string would end the connection.
func valid(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(strings.ToValidUTF8(v, "\ufffd"), "\x00", "\ufffd")
	case []string:
		out := make([]string, len(v))
		for i, text := range v {
			out[i], _ = valid(text).(string)
		}
		return out
	case [][]string:
		out := make([][]string, len(v))
		for i, list := range v {
			out[i], _ = valid(list).([]string)
		}
		return out
	}
	return v
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
