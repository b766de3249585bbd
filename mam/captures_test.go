package mam

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

const capturesDir = "../internal/wire/testdata/captures/"

// rawTLV is one TLV of a message, as it was sent.
type rawTLV struct {
	tag   uint32
	value []byte
}

// readRaw reads a message without interpreting it.
func readRaw(r io.Reader) (list []rawTLV, err error) {
	for {
		var head [12]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		one := rawTLV{binary.LittleEndian.Uint32(head[:]), make([]byte, binary.LittleEndian.Uint64(head[4:]))}
		if _, err := io.ReadFull(r, one.value); err != nil {
			return nil, err
		}
		if list = append(list, one); one.tag == 0 {
			return list, nil
		}
	}
}

// unify clears what differs from run to run, as the README of the captures says, and
// the mark of the original's library in results. The rest must be equal to the byte.
func unify(list []rawTLV) {
	flag := func(b []byte) { // a pointer tells only whether something follows
		if binary.LittleEndian.Uint64(b) != 0 {
			binary.LittleEndian.PutUint64(b, 1)
		}
	}
	for _, one := range list {
		b := one.value
		switch one.tag {
		case 0x08: // ctxid
			clear(b)
		case 0x23, 0x24: // addresses
			for len(b) >= 48 {
				b[3] &^= 0x80
				n := addrinfoLen(b)
				flag(b[24:])
				flag(b[32:])
				flag(b[40:])
				b = b[n:]
			}
		case 0x26, 0x27: // options
			for len(b) >= 40 {
				n := 40
				if flag(b[8:]); b[8] != 0 {
					n += int(binary.LittleEndian.Uint32(b[16:]))
				}
				flag(b[32:])
				b = b[n:]
			}
		}
	}
}

// addrinfoLen returns the length of the first entry of a list, with its address and its
// name.
func addrinfoLen(b []byte) int {
	n := 48
	if binary.LittleEndian.Uint64(b[24:]) != 0 {
		n += int(binary.LittleEndian.Uint32(b[16:]))
	}
	if binary.LittleEndian.Uint64(b[32:]) != 0 {
		n += 8 + int(binary.LittleEndian.Uint64(b[n:]))
	}
	return n
}

// asListed changes an answer of the original as MAPPING.md says. An error has no
// suggestion and no results, and MPTCP is a protocol, not an option.
func asListed(asked, want []rawTLV) []rawTLV {
	multipath := find(want, 0x27) != nil
	if action := find(want, 1).value[0]; action == 10 || action == 11 {
		want = slices.DeleteFunc(want, func(one rawTLV) bool {
			return one.tag == 0x14 || one.tag >= 0x23 && find(asked, one.tag) == nil
		})
		if action == 10 { // the answer repeats the request
			for _, tag := range []uint32{0x0b, 0x0d} {
				if one := find(asked, tag); one != nil {
					find(want, tag).value = one.value
				} else {
					clear(find(want, tag).value)
				}
			}
		}
	}
	if multipath {
		binary.LittleEndian.PutUint32(find(want, 0x0d).value, wire.ProtoMPTCP)
		binary.LittleEndian.PutUint32(find(want, 0x24).value[12:], wire.ProtoMPTCP)
		want = slices.DeleteFunc(want, func(one rawTLV) bool { return one.tag == 0x27 })
	}
	return want
}

func rawText(list []rawTLV) string {
	var b strings.Builder
	for _, one := range list {
		fmt.Fprintf(&b, "%#02x %s\n", one.tag, hex.EncodeToString(one.value))
	}
	return b.String()
}

func find(list []rawTLV, tag uint32) *rawTLV {
	for i := range list {
		if list[i].tag == tag {
			return &list[i]
		}
	}
	return nil
}

func capture(t *testing.T, name string) (raw []byte, list []rawTLV) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(capturesDir, name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	if name == "canonname-resp-malformed" { // the result says that it has 149 bytes, but has 158
		before, after, ok := bytes.Cut(raw, []byte{0x24, 0, 0, 0, 149, 0})
		if !ok {
			t.Fatal("the capture has no result of the wrong length")
		}
		raw = slices.Concat(before, []byte{0x24, 0, 0, 0, 158, 0}, after)
	}
	list, err = readRaw(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return raw, list
}

// ofFamily returns the addresses of a list that have this family, or all if family is
// 0.
func ofFamily(list, family []byte) (kept []byte) {
	last := 0
	for len(list) >= 48 {
		n := addrinfoLen(list)
		if family[0] == 0 || bytes.Equal(list[4:8], family) {
			last = len(kept)
			kept = append(kept, list[:n]...)
		}
		list = list[n:]
	}
	clear(kept[last+40 : last+48]) // the last entry has no next one
	return kept
}

// naming is a table that gives each name a canonical name.
type naming struct{ table }

func (n naming) Lookup(ctx context.Context, host string, f policy.Family) (Result, error) {
	a, err := n.table.Lookup(ctx, host, f)
	if host == "alias.test" {
		a.Canonical = "host.test"
	}
	return a, err
}

// sampling decides as policy sample does: it takes the first socket, else the default
// network.
var sampling = chooser(func(r *policy.Request) (d policy.Decision) {
	if len(r.Sockets) > 0 {
		return policy.Decision{Socket: &r.Sockets[0]}
	}
	for _, p := range r.Prefixes {
		if p.Default && d.Prefix == nil && !r.Bound.IsValid() {
			d.Prefix = p
		}
	}
	return d
})

// Requests that were captured from the original library get the answers that were
// captured from the original daemon. They are equal to the byte, except for what
// MAPPING.md lists.
func TestCapturedAnswers(t *testing.T) {
	lab := func(p policy.Policy) *View {
		v := host(p)
		v.Prefixes[2].Default = true
		v.Routes = nil
		v.Resolver = naming{table{
			"alias.test": addrs("10.77.1.2", "fd77:1::2"), "multi.test": addrs("10.77.1.2", "10.77.2.2"), "host.test": addrs("10.77.1.2", "fd77:1::2"), "six.test": addrs("fd77:1::2"),
		}}
		return v
	}
	unresolved := chooser(func(r *policy.Request) policy.Decision {
		return policy.Decision{Prefix: r.Prefixes[0], Resolution: policy.ResolveNever}
	})
	multipath := chooser(func(*policy.Request) policy.Decision { return policy.Decision{Multipath: true} })
	for _, tt := range []struct {
		policy policy.Policy // nil: none
		pairs  string        // names of request and answer, on one connection
		action byte          // replaces the original's action; 0: the same
	}{
		{sampling, "connect-v4-req connect-v4-resp", 0},
		{sampling, "connect-v6-req connect-v6-resp", 0},
		{sampling, "connect-v4-bound-req connect-v4-bound-resp", 0},
		{sampling, "resolve-multi-req resolve-multi-resp", 0},
		{sampling, "resolve-fail-req resolve-fail-resp", 0},
		{sampling, "resolve-connect-v4-1 resolve-connect-v4-2 resolve-connect-v4-3 resolve-connect-v4-4", 0},
		{sampling, "resolve-connect-v6-1 resolve-connect-v6-2 resolve-connect-v6-3 resolve-connect-v6-4", 0},
		{sampling, "socketconnect-v4-intents-req socketconnect-v4-intents-resp", 0},
		{sampling, "socketconnect-v6-req socketconnect-v6-resp", 0},
		{sampling, "choose2-1-socketconnect-req choose2-2-socketconnect-resp", 0},
		{sampling, "choose2-3-socketchoose-noidle-req choose2-4-socketchoose-new-resp", 0},
		{sampling, "choose2-5-socketchoose-twoidle-req choose2-6-socketchoose-existing-resp", 0},
		{sampling, "socketchoose-byfd-req socketchoose-byfd-resp-existing", 0},
		{sampling, "crafted-unknown-action-req crafted-unknown-action-resp", 0},
		{nil, "nopolicy-connect-req nopolicy-connect-resp", 0},
		{nil, "nopolicy-socketconnect-req nopolicy-socketconnect-resp", 0},
		// In a fallback the original answers with the number of its last callback.
		{unresolved, "fallback-noresolve-req fallback-noresolve-resp", 5},
		{sampling, "fallback-resolve-req fallback-resolve-resp", 5},
		{sampling, "socketconnect-fail-req socketconnect-fail-resp", 0},
		{sampling, "crafted-choose-fail-req crafted-choose-fail-resp", 0},
		// An action that no client's request has makes an unknown request.
		{sampling, "crafted-eof-only-req crafted-eof-only-resp", 10},
		{sampling, "crafted-action6-req crafted-action6-resp", 10},
		{multipath, "sockopts-suggested-req sockopts-suggested-resp", 0},
		{sampling, "canonname-req canonname-resp-malformed", 0},
	} {
		names := strings.Fields(tt.pairs)
		t.Run(names[0], func(t *testing.T) {
			c := start(t, lab(tt.policy), Options{}).dial(t)
			for i := 0; i < len(names); i += 2 {
				raw, asked := capture(t, names[i])
				_, want := capture(t, names[i+1])
				if _, err := c.Write(raw); err != nil {
					t.Fatal(err)
				}
				got, err := readRaw(c)
				if err != nil {
					t.Fatal(err)
				}
				if tt.action != 0 {
					find(want, 1).value[0] = tt.action
				}
				want = asListed(asked, want)
				// The hint stays as it was sent, and counts. The original overwrites
				// its family with the domain.
				if hint := find(want, 0x23); hint != nil && find(asked, 0x23) != nil {
					hint.value = find(asked, 0x23).value
					if result := find(want, 0x24); result != nil {
						result.value = ofFamily(result.value, hint.value[4:8])
					}
				}
				if id := find(got, 8); id == nil || bytes.Equal(id.value, make([]byte, 16)) {
					t.Error("the answer has no id")
				}
				unify(got)
				unify(want)
				if diff := cmp.Diff(rawText(want), rawText(got)); diff != "" {
					t.Errorf("%s (-want +got)\n%s", names[i+1], diff)
				}
			}
		})
	}
}
