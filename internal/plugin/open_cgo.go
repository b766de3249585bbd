//go:build cgo

package plugin

import goplugin "plugin"

// supported tells whether this program can open plugins at all.
const supported = true

// lookup opens the file as a plugin and returns its symbol. The error is errNoSymbol if
// only the symbol is missing.
func lookup(file, symbol string) (any, error) {
	p, err := goplugin.Open(file)
	if err != nil {
		return nil, err
	}
	sym, err := p.Lookup(symbol)
	if err != nil {
		return nil, errNoSymbol
	}
	return sym, nil
}
