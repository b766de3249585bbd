// Package generation is a page of memory that the daemon shares with its clients. The
// page is a list of numbers, each of which rises when something changes. A client that
// keeps a decision keeps the numbers that the decision depends on. With one load each
// it sees whether the decision still holds, without a message and without waiting.
//
// The page is a sealed memory file (memfd_create(2)). Clients get it read-only over the
// request socket (SCM_RIGHTS). They can neither write to it, nor map it writable, nor
// change its size. The daemon cannot change its size either. That protects clients:
// reading mapped memory beyond the end of a file kills the process.
//
// # Layout
//
// The page has Size bytes, in the byte order of the host:
//
//	0   8 bytes  "mammagen"
//	8   uint32   version, 1
//	12  uint32   number of generations
//	16  16 bytes of the daemon's run: another one has another page
//	32  32 bytes reserved, 0
//	64  uint64 each: the generations, from 1; 0 is of nothing
//
// The first generation covers everything that a decision may depend on, apart from
// measurements. The second covers measurements. Each further one belongs to a network.
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
	// Words is the number of generations in a page.
	Words = (Size - headerSize) / 8
)

// Indices of generations. From FirstNetwork on they belong to networks.
const (
	View         = 0
	Measurements = 1
	FirstNetwork = 2
)

// Errors of Open. ErrUnsupported means that the system has no sealed memory files. Make
// returns it, too.
var (
	ErrUnsupported = errors.New("no sealed memory on this system")
	errSize        = errors.New("a page of another size")
	errSeals       = errors.New("a page that its owner may still change the size of")
	errHeader      = errors.New("a page of another kind")
)

func number(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// Page is a mapped page. It is safe for concurrent use. The memory is unmapped when
// nothing refers to the Page any more.
type Page struct {
	words []uint64 // memory that another process may write
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

// Load returns a generation, or 0 if the page has no such index.
func (p *Page) Load(index uint32) uint64 {
	if index >= Words {
		return 0
	}
	n := atomic.LoadUint64(&p.words[index])
	runtime.KeepAlive(p) // keeps the memory of words mapped until here
	return n
}

// Same tells whether both pages belong to the same run of a daemon.
func (p *Page) Same(q *Page) bool { return p != nil && q != nil && p.run == q.run }

// Own is a page that this process writes and passes on.
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

// Raise increases a generation and returns the new value.
func (o *Own) Raise(index uint32) uint64 {
	if index >= Words {
		return 0
	}
	return atomic.AddUint64(&o.words[index], 1)
}
