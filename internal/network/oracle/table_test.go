package oracle

import (
	"net/netip"
	"testing"
)

// Routes that refuse are to everywhere alone, or with the other half in the same table.
func TestWhole(t *testing.T) {
	route := func(table int, prefix string) Route {
		return Route{Table: table, Prefix: netip.MustParsePrefix(prefix)}
	}
	for _, tt := range []struct {
		name string
		list []Route
		want int
	}{
		{"a default route", []Route{route(1, "0.0.0.0/0")}, 1},
		{"one half", []Route{route(1, "0.0.0.0/1")}, 0},
		{"one half, and a default route", []Route{route(1, "0.0.0.0/0"), route(1, "128.0.0.0/1")}, 1},
		{"both halves", []Route{route(1, "0.0.0.0/1"), route(1, "128.0.0.0/1")}, 2},
		{"halves in two tables", []Route{route(1, "0.0.0.0/1"), route(2, "128.0.0.0/1")}, 0},
		{"one half twice", []Route{route(1, "0.0.0.0/1"), route(1, "0.0.0.0/1")}, 0},
		{"the half of IPv6 that is in use", []Route{route(1, "::/1")}, 1},
		{"the other half of IPv6", []Route{route(1, "8000::/1")}, 0},
		{"all of IPv6 that is in use", []Route{route(1, "2000::/3")}, 1},
	} {
		if got := whole(tt.list); len(got) != tt.want {
			t.Errorf("%s: %v, want %d", tt.name, got, tt.want)
		}
	}
}
