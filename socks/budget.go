package socks

import "sync/atomic"

// budget is an amount that all connections share. The zero value has nothing taken.
type budget struct{ taken atomic.Int64 }

// take takes n if no more than most are taken then.
func (b *budget) take(n, most int64) bool {
	if b.taken.Add(n) > most {
		b.taken.Add(-n)
		return false
	}
	return true
}

// give gives n back.
func (b *budget) give(n int64) { b.taken.Add(-n) }

const (
	// freeHead is what a header may take, in bytes, with all that is made of it; nearly
	// all take less. More is taken from what all connections share: headOfConn for each
	// that there may be, and leastHeads at least.
	freeHead   = 8 << 10
	headOfConn = 4 << 10
	leastHeads = 8 << 20
	// fieldCost is what a line of a header takes beyond its bytes.
	fieldCost = 128
	// maxFields bounds the lines of a header. Servers take a hundred to a thousand.
	maxFields = 1000
)

// mostHeads is how much all headers together may take.
func (c *Config) mostHeads() int64 {
	return max(leastHeads, headOfConn*min(int64(c.MaxConns), 1<<20))
}

// takeFiles takes n descriptors beyond the two of each connection, if c allows as many.
func (s *Server) takeFiles(n int, c *Config) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.haveFilesLocked(0, n, c) {
		return false
	}
	s.extra += n
	return true
}

// haveFilesLocked tells whether there may be so many more connections and descriptors
// beyond.
func (s *Server) haveFilesLocked(conns, extra int, c *Config) bool {
	return 2*(len(s.conns)+conns)+s.extra+extra <= c.MaxFiles
}

// giveFiles gives n back.
func (s *Server) giveFiles(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra -= n
}
