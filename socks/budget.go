package socks

import "sync/atomic"

// budget is an amount of which all connections take a part. Nothing is taken from the
// zero value.
type budget struct{ taken atomic.Int64 }

// take takes n, unless more than most would be taken then.
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
	// A header takes freeHead bytes at most from nobody, and nearly all headers take
	// less. Memory that a header takes beyond that, with all that is made of the
	// header, comes from a budget that all connections share. The budget has headOfConn
	// bytes for each connection that the Config allows, and leastHeads bytes at least.
	freeHead   = 8 << 10
	headOfConn = 4 << 10
	leastHeads = 8 << 20
	// fieldCost is what a header line takes beyond its bytes.
	fieldCost = 128
	// maxFields limits the lines of a header. Servers accept between a hundred and a
	// thousand.
	maxFields = 1000
)

// mostHeads returns how much all headers together may take, in bytes.
func (c *Config) mostHeads() int64 {
	return max(leastHeads, headOfConn*min(int64(c.MaxConns), 1<<20))
}

// takeFiles takes n descriptors beyond the two that each connection has, if c allows
// them.
func (s *Server) takeFiles(n int, c *Config) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.haveFilesLocked(0, n, c) {
		return false
	}
	s.extra += n
	return true
}

// haveFilesLocked tells whether c allows this many more connections, and this many more
// descriptors beyond the two of each.
func (s *Server) haveFilesLocked(conns, extra int, c *Config) bool {
	return 2*(len(s.conns)+conns)+s.extra+extra <= c.MaxFiles
}

// giveFiles gives n descriptors back.
func (s *Server) giveFiles(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra -= n
}
