package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
)

// digest is the digest that a file must have.
type digest struct {
	algorithm string // of RFC 9530
	want      []byte
	source    string // where the digest comes from
	hash      hash.Hash
}

// digestError says that the file has another digest.
type digestError struct {
	d   *digest
	got []byte
}

func (e *digestError) Error() string {
	return fmt.Sprintf("the %s digest is %x, but %s says %x", e.d.algorithm, e.got, e.d.source, e.d.want)
}

// algorithms are the known ones, the strongest first.
var algorithms = []struct {
	name string
	new  func() hash.Hash
}{{"sha-512", sha512.New}, {"sha-256", sha256.New}}

func newDigest(name, source string, want []byte) (*digest, error) {
	for _, a := range algorithms {
		if a.name != name {
			continue
		}
		d := &digest{algorithm: name, want: want, source: source, hash: a.new()}
		if len(want) != d.hash.Size() {
			return nil, fmt.Errorf("a %s digest has %d bytes, not %d", name, d.hash.Size(), len(want))
		}
		return d, nil
	}
	return nil, fmt.Errorf("unknown digest %q; known are sha-256 and sha-512", name)
}

// parseDigest reads the value of --digest: "sha-256:" with hexadecimal digits, or a
// member of a Repr-Digest field.
func parseDigest(text string) (*digest, error) {
	const source = "--digest"
	if name, value, ok := member(text); ok {
		return newDigest(name, source, value)
	}
	name, digits, ok := strings.Cut(text, ":")
	if !ok || strings.HasSuffix(name, "=") {
		return nil, fmt.Errorf("--digest takes sha-256:HEX, not %q", text)
	}
	value, err := hex.DecodeString(strings.TrimSpace(digits))
	if err != nil {
		return nil, fmt.Errorf("--digest takes sha-256:HEX, not %q", text)
	}
	name = strings.ToLower(name)
	if name == "sha256" || name == "sha512" {
		name = name[:3] + "-" + name[3:]
	}
	return newDigest(name, source, value)
}

// member reads "sha-256=:BASE64:", a byte sequence with its key (RFC 9651).
func member(text string) (name string, value []byte, ok bool) {
	name, rest, ok := strings.Cut(strings.TrimSpace(text), "=")
	rest, _, _ = strings.Cut(rest, ";") // parameters are ignored
	if !ok || len(rest) < 2 || rest[0] != ':' || rest[len(rest)-1] != ':' {
		return "", nil, false
	}
	value, err := base64.StdEncoding.DecodeString(rest[1 : len(rest)-1])
	return strings.TrimSpace(name), value, err == nil
}

// reprDigest returns the strongest known digest of the representation that a response
// states (RFC 9530 section 3); nil if it states none.
func reprDigest(h http.Header) *digest {
	said := map[string][]byte{}
	for _, field := range h.Values("Repr-Digest") {
		for part := range strings.SplitSeq(field, ",") {
			if name, value, ok := member(part); ok {
				said[name] = value
			}
		}
	}
	for _, a := range algorithms {
		if value, ok := said[a.name]; ok {
			if d, err := newDigest(a.name, "the server", value); err == nil {
				return d
			}
		}
	}
	return nil
}

// digestOf returns the digest to verify; nil if neither user nor server gives one.
func (g *getting) digestOf(resp *http.Response) *digest {
	if g.check == nil {
		g.check = reprDigest(resp.Header)
	}
	return g.check
}

// writer takes the file's bytes.
func (d *digest) writer() io.Writer {
	if d == nil {
		return io.Discard
	}
	d.hash.Reset()
	return d.hash
}

// verify compares the digest of the written bytes.
func (d *digest) verify() error {
	if d == nil {
		return nil
	}
	if got := d.hash.Sum(nil); !bytes.Equal(got, d.want) {
		return &digestError{d, got}
	}
	return nil
}
