package oracle_test

import (
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// BenchmarkReach asks the host's own kernel, with its own routes.
func BenchmarkReach(b *testing.B) {
	k, err := oracle.Open(0)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	f := oracle.Flow{Dst: netip.MustParseAddr("198.18.0.1")}
	b.Run("warm", func(b *testing.B) {
		r := oracle.NewReacher(k, oracle.Scope{})
		b.ReportAllocs()
		for b.Loop() {
			r.Reach(f)
		}
	})
	b.Run("warm/parallel", func(b *testing.B) {
		r := oracle.NewReacher(k, oracle.Scope{})
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r.Reach(f)
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		r := oracle.NewReacher(k, oracle.Scope{})
		b.ReportAllocs()
		a := [4]byte{198, 18, 0, 1}
		for b.Loop() {
			a[3]++
			if a[3] == 0 {
				a[2]++
			}
			r.Reach(oracle.Flow{Dst: netip.AddrFrom4(a)})
		}
	})
	b.Run("miss/parallel", func(b *testing.B) {
		r := oracle.NewReacher(k, oracle.Scope{})
		b.RunParallel(func(pb *testing.PB) {
			a := [4]byte{198, 18, 0, 1}
			for pb.Next() {
				a[3]++
				if a[3] == 0 {
					a[2]++
				}
				r.Reach(oracle.Flow{Dst: netip.AddrFrom4(a)})
			}
		})
	})
	b.Run("void", func(b *testing.B) { // after each change of the routes
		r := oracle.NewReacher(k, oracle.Scope{})
		for b.Loop() {
			k.Void()
			r.Reach(f)
		}
	})
}
