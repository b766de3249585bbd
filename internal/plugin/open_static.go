//go:build !cgo

package plugin

import "errors"

// supported tells whether this program can open plugins at all.
const supported = false

func lookup(string, string) (any, error) { return nil, errors.ErrUnsupported }
