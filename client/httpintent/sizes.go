package httpintent

import (
	"container/list"
	"math/bits"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/client/internal/lateness"
)

const (
	defaultMaxPatterns = 1024
	maxPattern         = 512 // bytes; sizes for longer ones are not learnt
	minHexadecimal     = 16  // names by hash and by UUID are no shorter
)

// sizes are the expected sizes of responses, by URL pattern, and for Hedge the times until
// they begin. The zero value knows none.
type sizes struct {
	mu   sync.Mutex
	max  int
	all  map[string]*list.Element
	used list.List // of *size, most recently used first
}

type size struct {
	pattern string
	sized   bool // bytes is known
	bytes   float64
	answers lateness.Answers // the time until the response began
}

// pattern returns the URL pattern of req, or "" if its size should not be learnt; most
// is Transport.MaxPatterns.
func (s *sizes) pattern(req *http.Request, most int) string {
	if most < 0 || len(req.URL.Host)+len(req.URL.Path) > maxPattern {
		return ""
	}
	if most == 0 {
		most = defaultMaxPatterns
	}
	s.mu.Lock()
	s.max = most
	s.mu.Unlock()
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	return method + " " + strings.ToLower(req.URL.Host) + pathPattern(req.URL.Path)
}

func pathPattern(path string) string {
	var b strings.Builder
	for i, element := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if len(element) >= minHexadecimal && strings.Trim(element, "0123456789abcdefABCDEF-") == "" {
			b.WriteByte('#')
			continue
		}
		digits := false
		for _, r := range element {
			if '0' <= r && r <= '9' {
				if !digits {
					b.WriteByte('#')
				}
				digits = true
				continue
			}
			digits = false
			b.WriteRune(r)
		}
	}
	return b.String()
}

// learn notes the size of one response.
func (s *sizes) learn(pattern string, bytes int64) {
	if pattern == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.entryLocked(pattern)
	if !z.sized {
		z.sized, z.bytes = true, float64(bytes)
		return
	}
	z.bytes += (float64(bytes) - z.bytes) / 4
}

// entryLocked returns what is known of a pattern. If nothing is, it makes an entry, and
// forgets the least recently used ones.
func (s *sizes) entryLocked(pattern string) *size {
	if e, ok := s.all[pattern]; ok {
		s.used.MoveToFront(e)
		return e.Value.(*size)
	}
	for len(s.all) > 0 && len(s.all) >= s.max {
		last := s.used.Back()
		delete(s.all, s.used.Remove(last).(*size).pattern)
	}
	if s.all == nil {
		s.all = make(map[string]*list.Element)
	}
	z := &size{pattern: pattern}
	s.all[pattern] = s.used.PushFront(z)
	return z
}

// took notes how long a request took until its response began. A request that has failed
// tells nothing.
func (s *sizes) took(pattern string, d time.Duration, err error) {
	if pattern == "" || err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entryLocked(pattern).answers.Took(d)
}

// patience returns the time after which a response is far behind the earlier ones.
func (s *sizes) patience(pattern string) (d time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.all[pattern]
	if !ok {
		return 0, false
	}
	return e.Value.(*size).answers.Patience()
}

// expected returns the power of two that is nearest to the learnt size.
func (s *sizes) expected(pattern string) (bytes int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.all[pattern]
	if !ok || !e.Value.(*size).sized {
		return 0, false
	}
	s.used.MoveToFront(e)
	return nearestPower(int64(e.Value.(*size).bytes)), true
}

// nearestPower rounds to a power of two, and 0 to 0.
func nearestPower(n int64) int64 {
	if n <= 0 {
		return 0
	}
	low := int64(1) << (bits.Len64(uint64(n)) - 1)
	if n-low > 2*low-n && low < 1<<61 {
		return 2 * low
	}
	return low
}
