// Package generation is a page of memory that the daemon shares with its clients: a list
// of numbers, each of which rises when something changed. A client that keeps a
// decision keeps the numbers that it depends on, and sees with one load each whether it
// still holds: no message, and no wait.
//
// The page is a sealed memory file (memfd_create(2)). Clients get it over the request
// socket (SCM_RIGHTS), read-only: they can neither write it, nor map it writable, nor
// change its size. Nor can the daemon change its size, which matters to them: what is
// mapped beyond the end of a file kills a process that reads it.
//
// # Layout
//
// The page has Size bytes, in the order of the host:
//
//	0   8 bytes  "mammagen"
//	8   uint32   version, 1
//	12  uint32   number of generations
//	16  16 bytes of the daemon's run: another one has another page
//	32  32 bytes reserved, 0
//	64  uint64 each: the generations, from 1; 0 is of nothing
//
// The first is that of everything a decision may depend on but measurements, the second
// that of measurements, each other one that of a network.
package generation

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Size is the size of a page in bytes, on every machine.
const Size = 4096

const (
	magic      = "mammagen"
	version    = 1
	headerSize = 64
	// Words is how many generations a page has.
	Words = (Size - headerSize) / 8
)

// Indices of generations. Those from FirstNetwork on are of networks.
const (
	View         = 0
	Measurements = 1
	FirstNetwork = 2
)

// Errors of Open. ErrUnsupported is that of a system without sealed memory files, and
// of Make there.
var (
	ErrUnsupported = errors.New("no sealed memory on this system")
	errSize        = errors.New("a page of another size")
	errSeals       = errors.New("a page that its owner may still change the size of")
	errHeader      = errors.New("a page of another kind")
)

func number(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// Page is a page that is mapped. It is safe for concurrent use, and goes when nothing
// refers to it any more.
type Page struct {
	words []uint64 // of memory that somebody else may write
	run   [16]byte
}

// pageOf reads the header of mapped memory.
func pageOf(b []byte) (*Page, error) {
	switch {
	case len(b) != Size:
		return nil, errSize
	case string(b[:8]) != magic, number(b[8:]) != version, number(b[12:]) != Words:
		return nil, errHeader
	}
	p := &Page{words: unsafe.Slice((*uint64)(unsafe.Pointer(&b[headerSize])), Words)}
	copy(p.run[:], b[16:])
	return p, nil
}

// Load returns a generation, 0 for an index that there is none of.
func (p *Page) Load(index uint32) uint64 {
	if index >= Words {
		return 0
	}
	n := atomic.LoadUint64(&p.words[index])
	runtime.KeepAlive(p) // and with it what words are in
	return n
}

// Same tells whether both are of the same run of a daemon.
func (p *Page) Same(q *Page) bool { return p != nil && q != nil && p.run == q.run }

// Own is a page to write and to hand over.
type Own struct {
	Page

	file file
}

// Store sets a generation.
func (o *Own) Store(index uint32, n uint64) {
	if index < Words {
		atomic.StoreUint64(&o.words[index], n)
	}
}

// Raise makes a generation another one, and returns it.
func (o *Own) Raise(index uint32) uint64 {
	if index >= Words {
		return 0
	}
	return atomic.AddUint64(&o.words[index], 1)
}
