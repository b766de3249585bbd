package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/internal/process/ownfile"
	"github.com/socket-intents/mamma/internal/userid"
)

// keepEvery is the time between two writes of the state of an incomplete file. If the
// host crashes, what has come since is fetched again.
const keepEvery = 5 * time.Second

// maxState bounds the size of the state's file.
const maxState = 1 << 20

// errIncomplete is wrapped in the error of a file with a wrong length.
var errIncomplete = errors.New("incomplete")

// partState is the state of an incomplete file.
type partState struct {
	URL       string             `json:"url"`       // without a password
	Final     string             `json:"final"`     // after redirections, without query and password
	Validator string             `json:"validator"` // strong
	Size      int64              `json:"size"`      // length of the complete file
	Ranges    []httpintent.Range `json:"ranges"`    // the ranges that are there
}

// missing returns the offset at which to continue: that of the first missing byte, or
// of the last byte if none is missing.
func (s *partState) missing() int64 {
	if len(s.Ranges) == 0 || s.Ranges[0].From > 0 {
		return 0
	}
	return min(s.Ranges[0].To, s.Size-1)
}

// end returns the end of the last gap, or of the file if there is none.
func (s *partState) end() int64 {
	if last := s.Ranges[len(s.Ranges)-1]; last.To == s.Size && last.From > 0 {
		return last.From
	}
	return s.Size
}

func (s *partState) bytes() (n int64) {
	for _, r := range s.Ranges {
		n += r.To - r.From
	}
	return n
}

// valid tells whether the state makes sense.
func (s *partState) valid(length int64) bool {
	if s.Validator == "" || s.Size <= 0 || len(s.Ranges) == 0 || length > s.Size {
		return false
	}
	before := int64(0)
	for i, r := range s.Ranges {
		if r.From < before || r.From >= r.To || r.To > length || i > 0 && r.From == before {
			return false
		}
		before = r.To
	}
	return true
}

// continues tells whether a response has the same file. Tag and date say so of one
// resource only, so a redirection has to lead where it led before. An answer to If-Range
// may leave out a date (RFC 9110 section 15.3.7), but not a tag; a server that did not
// compare what it was asked to may have another one.
func (s *partState) continues(resp *http.Response) bool {
	tag, date := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	same := tag == "" && (date == "" || date == s.Validator)
	if s.Validator[0] == '"' {
		same = tag == s.Validator
	}
	// A length that contradicts the range would end the body with an error each time.
	same = same && (resp.ContentLength < 0 || resp.ContentLength == s.Size-s.missing())
	return same && resp.StatusCode == http.StatusPartialContent && finalOf(resp) == s.Final &&
		resp.Header.Get("Content-Range") == fmt.Sprintf("bytes %d-%d/%d", s.missing(), s.Size-1, s.Size)
}

// finalOf returns where a response is from. Without the query, since that of a signed
// address differs each time.
func finalOf(resp *http.Response) string {
	u := *resp.Request.URL
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// whole tells whether the ranges, which are in order and apart, are all of a file.
func whole(list []httpintent.Range, size int64) bool {
	return size == 0 || len(list) == 1 && list[0] == (httpintent.Range{From: 0, To: size})
}

// part is an incomplete file.
type part struct {
	file   *os.File
	name   string // of the complete file
	offset int64  // offset at which an unsplit response begins
	count  atomic.Int64
	done   bool
	fresh  bool // nothing in it can be used again
}

func (p *part) path() string  { return p.name + ".part" }
func (p *part) state() string { return p.path() + ".json" }

// openPart opens the part of a file for this process alone. It accepts only a regular
// file of this user. In a folder that others can write to, somebody else could have
// placed the file. A part without a state is of another program, and is taken only with
// restart.
func openPart(name string, restart bool) (*part, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", name)
	}
	p := &part{name: name}
	f, err := openLocked(p.path())
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s is being fetched by another process", name)
	} else if err != nil {
		return nil, err
	}
	p.file = f
	if err := p.foreign(); err != nil && !restart {
		_ = f.Close()
		return nil, err
	}
	if err := p.keepMode(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return p, nil
}

// keepMode gives the part the mode of the file whose place it takes, which perhaps not
// everybody may read. That of another user's file permits nothing: in a folder like /tmp,
// anybody could have others write to the part by such a file.
func (p *part) keepMode() error {
	old, err := os.Lstat(p.name)
	if err != nil || !old.Mode().IsRegular() {
		return nil //nolint:nilerr // it takes no file's place
	}
	mode := old.Mode().Perm()
	if st, ok := old.Sys().(*syscall.Stat_t); !ok || !userid.Trusted(st.Uid) {
		own, err := p.file.Stat()
		if err != nil {
			return err
		}
		mode &= own.Mode().Perm()
		mode |= 0o600 // whose part it is still has to write to it
	}
	return p.file.Chmod(mode)
}

// mustBeDirect tells whether a file can be written to, but nothing can be put beside it. err
// is that of openPart. A part that is there is left alone, whoever it belongs to.
func mustBeDirect(name string, err error) bool {
	if !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.EROFS) {
		return false
	}
	_, noPart := os.Lstat((&part{name: name}).path())
	return errors.Is(noPart, os.ErrNotExist) && unix.Access(name, unix.W_OK) == nil
}

// openLocked opens a part, or makes it, and locks it. Another process may give the file
// its final name, or remove it, between the two. The locked file is then no part any
// more. It may be a complete file, and must not be written to.
func openLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o666)
		if err != nil {
			return nil, err
		}
		ours, err := lockPart(f, path)
		if err == nil && ours {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// lockPart locks the open file. ours tells whether path is still its name.
func lockPart(f *os.File, path string) (ours bool, err error) {
	if err := ownfile.CheckOwn(f); err != nil {
		return false, err
	}
	// Whoever can read the file can lock it by flock(2), so that is not asked here.
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole); errors.Is(err, unix.EACCES) { // means the same (fcntl(2))
		return false, unix.EWOULDBLOCK
	} else if err != nil {
		return false, err
	}
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(open, there), nil
}

// foreign returns an error if the file has content, but no state beside it.
func (p *part) foreign() error {
	info, err := p.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if _, err := os.Lstat(p.state()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%s exists, but %s does not, so the file may belong to another program: give another name with -o, or overwrite the file with --restart", p.path(), p.state())
}

// known reads the state that an earlier attempt has left. It returns the zero state if
// there is nothing to go on from, and an error if what is there is of another URL.
func (p *part) known(url string) (s partState, err error) {
	b, err := ownfile.ReadAll(p.state(), maxState)
	info, err2 := p.file.Stat()
	if err != nil || err2 != nil || json.Unmarshal(b, &s) != nil || !s.valid(info.Size()) {
		return partState{}, nil //nolint:nilerr // it is fetched anew
	}
	if s.URL != url {
		return partState{}, fmt.Errorf("%s already holds %s of %s: give another name with -o, or overwrite the file with --restart", p.path(), byteSize(s.bytes()), s.URL)
	}
	return s, nil
}

// begin prepares the file for a response, which continues what is kept. If the returned
// state has a validator, it should be written to disk.
func (p *part) begin(url string, resp *http.Response, kept partState) (partState, error) {
	if kept.Validator != "" {
		p.offset = kept.missing()
		return kept, nil
	}
	if err := p.file.Truncate(0); err != nil {
		return partState{}, err
	}
	s := partState{URL: url, Final: finalOf(resp), Validator: httpintent.Validator(resp.Header), Size: resp.ContentLength}
	if s.Size <= 0 || resp.StatusCode != http.StatusOK || resp.Uncompressed {
		s.Validator = ""
	}
	// The state is there before the first byte. If get is killed, the same command then
	// knows the part as its own.
	if err := p.store(s); err != nil {
		_ = os.Remove(p.state())
	}
	return s, nil
}

// WriteAt implements io.WriterAt.
func (p *part) WriteAt(b []byte, offset int64) (int, error) {
	n, err := p.file.WriteAt(b, offset)
	p.count.Add(int64(n))
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// written is how many bytes were written.
func (p *part) written() int64 { return p.count.Load() }

// keepUp writes the state at intervals, until the returned function is called.
func (p *part) keepUp(s partState, now *progress) func() {
	if s.Validator == "" {
		return func() {}
	}
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = p.write(s, now) // no error matters: the next write may work, and the file itself shows what is there
			case <-stop:
				return
			}
		}
	})
	return func() { close(stop); done.Wait() }
}

// write writes the state. Before that, it makes sure that the bytes themselves are on
// disk.
func (p *part) write(s partState, now *progress) error {
	s.Ranges = now.ranges(p.offset, p.written(), s.Ranges)
	if err := unix.Fdatasync(int(p.file.Fd())); err != nil {
		return err
	}
	return p.store(s)
}

// roomForState is how much of a part is given up to write its state to a full disk.
const roomForState = 128 << 10

// writeAnyway is write for a disk that may be full. It then gives up the end of what is
// there, which is little, to keep the rest.
func (p *part) writeAnyway(s partState, now *progress) error {
	err := p.write(s, now)
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	list := now.ranges(p.offset, p.written(), s.Ranges)
	if len(list) == 0 {
		return err
	}
	last := list[len(list)-1]
	end := max(last.From, last.To-roomForState)
	if end == last.From {
		list = list[:len(list)-1]
	} else {
		list[len(list)-1].To = end
	}
	if len(list) == 0 || p.file.Truncate(end) != nil {
		return err
	}
	s.Ranges = list
	return p.store(s)
}

func (p *part) store(s partState) error {
	return ownfile.Write(p.state(), func(w io.Writer) error { return json.NewEncoder(w).Encode(s) })
}

// keep keeps an incomplete file, and returns a note for the user about what to do.
func (p *part) keep(s partState, now *progress) (note string) {
	if s.Validator == "" {
		p.fresh = true
		return ""
	}
	if err := p.writeAnyway(s, now); err != nil {
		p.fresh = true
		return "what has come is not kept: " + err.Error()
	}
	p.done = true
	return fmt.Sprintf("%s of %s are in %s; the same command goes on from there", byteSize(now.received()), byteSize(s.Size), p.path())
}

// complete verifies the file and gives it its final name. The state goes first, because
// from then on the name of the part may be that of another process's.
func (p *part) complete(size int64, d *digest) error {
	info, err := p.file.Stat()
	if err != nil {
		return &writeError{err}
	}
	p.fresh = true // a file with a wrong digest is useless
	if size >= 0 && info.Size() != size {
		return fmt.Errorf("%w: %d bytes of %d", errIncomplete, info.Size(), size)
	}
	if d != nil {
		if _, err := io.Copy(d.writer(), io.NewSectionReader(p.file, 0, info.Size())); err != nil {
			return &writeError{err}
		}
		if err := d.verify(); err != nil {
			return err
		}
	}
	if err := p.file.Sync(); err != nil {
		return &writeError{err}
	}
	p.fresh = false
	_ = os.Remove(p.state())
	if err := os.Rename(p.path(), p.name); err != nil {
		return &writeError{err}
	}
	p.done = true
	return nil
}

// close ends the use of the part, and removes it if it is useless.
func (p *part) close() {
	info, err := p.file.Stat()
	if p.fresh || !p.done && err == nil && info.Size() == 0 {
		_ = os.Remove(p.state()) // first, as in complete
		_ = os.Remove(p.path())
	}
	_ = p.file.Close()
}

// counting counts the written bytes.
type counting struct {
	to io.Writer
	n  atomic.Int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n.Add(int64(n))
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}
