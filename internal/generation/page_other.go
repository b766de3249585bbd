//go:build !linux

package generation

type file struct{}

// Make is ErrUnsupported here.
func Make() (*Own, error) { return nil, ErrUnsupported }

// Close does nothing here.
func (o *Own) Close() error { return nil }

// Rights is nothing here.
func (o *Own) Rights() []byte { return nil }

// Open is ErrUnsupported here.
func Open(int) (*Page, error) { return nil, ErrUnsupported }

// Received is nothing here.
func Received([]byte) (*Page, error) { return nil, ErrUnsupported }

// RightsSize is nothing here.
func RightsSize() int { return 0 }
