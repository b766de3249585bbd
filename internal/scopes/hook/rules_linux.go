package hook

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Variant says which of a scope's answers are for a connection. Rules give connections of one
// scope different variants. 0 is the variant of scopes without rules.
type Variant uint8

// Fits is a set of rules, one bit for each.
type Fits uint64

// Rules tell the connections of a scope apart by port, destination and command. An empty list
// excludes no rule. Any other list must have a default entry, because a connection that no entry
// fits has variant 0. The default entries are a [PortFits] with Bits 0, a [NetworkFits] with prefix
// length 0 for each family, and a [CommandFits] with Command "". The zero value has no rules.
type Rules struct {
	Ports    []PortFits    // the longest match counts
	Networks []NetworkFits // the longest match counts
	Commands []CommandFits
	// Variants give a connection its variant, by the set of rules that fit it in all three
	// lists. If the set is not listed, the variant is 0.
	Variants []VariantFits
}

// PortFits says which rules fit the ports that begin with the upper Bits bits of Port.
type PortFits struct {
	Port uint16
	Bits int
	Fits Fits
}

// NetworkFits says which rules fit the destinations in a network.
type NetworkFits struct {
	Network netip.Prefix
	Fits    Fits
}

// CommandFits says which rules fit a command. "" is all commands that are not listed.
type CommandFits struct {
	Command string
	Fits    Fits
}

// VariantFits is the variant of connections that are fitted by exactly the rules in Fits.
type VariantFits struct {
	Fits    Fits
	Variant Variant
}

func (r *Rules) flags() Manner {
	var flags Manner
	if r == nil {
		return 0
	}
	if len(r.Ports) > 0 {
		flags |= flagPorts
	}
	if len(r.Networks) > 0 {
		flags |= flagNetworks
	}
	if len(r.Commands) > 0 {
		flags |= flagCommands
	}
	return flags
}

// others returns the rules that fit commands which no entry names.
func (r *Rules) others() Fits {
	if r == nil {
		return 0
	}
	var fits Fits
	for _, c := range r.Commands {
		if c.Command == "" {
			fits = c.Fits
		}
	}
	return fits
}

// each calls f for each entry of the maps that the rules need, until f fails.
func (r *Rules) each(scope uint32, f func(name string, key, value []byte) error) error {
	fits := func(x Fits) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(x)) }
	for _, p := range r.Ports {
		k := make([]byte, rulePortSize)
		binary.NativeEndian.PutUint32(k[ruleBits:], uint32(8*(rulePort-ruleScope)+p.Bits))
		binary.NativeEndian.PutUint32(k[ruleScope:], scope)
		binary.BigEndian.PutUint16(k[rulePort:], p.Port)
		if err := f("ports", k, fits(p.Fits)); err != nil {
			return err
		}
	}
	for _, n := range r.Networks {
		k := make([]byte, ruleAddrSize)
		binary.NativeEndian.PutUint32(k[ruleBits:], uint32(8*(ruleAddr-ruleScope)+mappedBits(n.Network)))
		binary.NativeEndian.PutUint32(k[ruleScope:], scope)
		putAddr(k[ruleAddr:], n.Network.Masked().Addr())
		if err := f("networks", k, fits(n.Fits)); err != nil {
			return err
		}
	}
	for _, c := range r.Commands {
		m := Member{Command: c.Command}
		if c.Command == "" {
			continue // see others
		}
		name, err := m.encode()
		if err != nil {
			return err
		}
		k := make([]byte, ruleCommandSize)
		binary.NativeEndian.PutUint32(k[ruleCommandScope:], scope)
		copy(k[ruleCommand:], name[memberCommand:])
		if err := f("commands", k, fits(c.Fits)); err != nil {
			return err
		}
	}
	for _, v := range r.Variants {
		k := make([]byte, variantSize)
		binary.NativeEndian.PutUint32(k[variantScope:], scope)
		binary.NativeEndian.PutUint64(k[variantFits:], uint64(v.Fits))
		if err := f("variants", k, []byte{uint8(v.Variant), 0, 0, 0}); err != nil {
			return err
		}
	}
	return nil
}

// SetRules sets the rules of a scope that has none yet. After an error, none are set.
func (t *Table) SetRules(scope uint32, r *Rules) error {
	err := r.each(scope, func(name string, key, value []byte) error { return put(t.maps[name], key, value) })
	if err != nil {
		_ = t.DropRules(scope, r)
	}
	return err
}

// DropRules forgets the rules of a scope.
func (t *Table) DropRules(scope uint32, r *Rules) error {
	var errs error
	err := r.each(scope, func(name string, key, _ []byte) error {
		errs = errors.Join(errs, drop(t.maps[name], key))
		return nil
	})
	return errors.Join(errs, err)
}
