package httpintent

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/split"
)

// clockSlack is the age that a date of modification must have at the time of the
// response to be a strong validator. Clocks of one host may differ by this much (RFC
// 9110 section 8.8.2.2).
const clockSlack = time.Minute

// representation identifies the representation that all parts must belong to.
type representation struct {
	validator string // for If-Range
	tag       bool   // validator is an entity tag, not a date
	size      int64  // complete length
}

// Validator returns a value for If-Range, by which a later request gets more of the
// representation with the header h. It returns "" if h has no strong validator, which
// If-Range needs (RFC 9110 section 13.1.5).
func Validator(h http.Header) string {
	v, _ := validatorOf(h)
	return v
}

// validatorOf returns a value for If-Range and whether it is an entity tag. It returns
// "" if there is no strong validator (RFC 9110 section 13.1.5).
func validatorOf(h http.Header) (validator string, tag bool) {
	if tags := h.Values("ETag"); len(tags) > 0 {
		if len(tags) == 1 && strongTag(tags[0]) {
			return tags[0], true
		}
		return "", false
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return "", false
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(modified) < clockSlack {
		return "", false
	}
	return h.Get("Last-Modified"), false
}

// strongTag tells whether s is an entity tag that is not weak (RFC 9110 section
// 8.8.3).
func strongTag(s string) bool {
	return len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' && !strings.ContainsFunc(s[1:len(s)-1], func(r rune) bool {
		return r <= ' ' || r == '"' || r == 0x7f
	})
}

// identity tells whether the body is the representation itself, and not compressed.
func identity(resp *http.Response) bool {
	encoding := resp.Header.Get("Content-Encoding")
	return !resp.Uncompressed && (encoding == "" || strings.EqualFold(encoding, "identity")) && len(resp.TransferEncoding) == 0
}

// represented returns the representation that the response's body is from. The request
// asked for all bytes from offset on. An error says why further parts of the
// representation cannot be requested: they could not be told from those of another one,
// or the server does not serve parts.
func represented(resp *http.Response, offset int64) (r representation, err error) {
	if r.validator, r.tag = validatorOf(resp.Header); r.validator == "" {
		return r, errors.New("no strong validator")
	}
	if !identity(resp) {
		return r, errors.New("the content is encoded")
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if offset != 0 {
			return r, errors.New("the range is ignored")
		}
		if none(resp.Header) {
			return r, errors.New("the server has no ranges")
		}
		if r.size = resp.ContentLength; r.size < 0 {
			return r, errors.New("the length is not known")
		}
		return r, nil
	case http.StatusPartialContent:
		s, size, err := contentRange(resp)
		if err == nil && s.From != offset {
			err = fmt.Errorf("asked for what follows %d, got what follows %d", offset, s.From)
		}
		r.size = size
		return r, err
	}
	return r, fmt.Errorf("status %s", resp.Status)
}

// none tells whether the server says that it does not support byte ranges.
func none(h http.Header) bool {
	for _, v := range h.Values("Accept-Ranges") {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), "bytes") {
				return false
			}
		}
	}
	return len(h.Values("Accept-Ranges")) > 0
}

// contentRange returns the range and the complete length from a response with status
// 206.
func contentRange(resp *http.Response) (s split.Span, size int64, err error) {
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && media == "multipart/byteranges" {
		return s, 0, errors.New("the range comes in several parts")
	}
	s, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok {
		return s, 0, fmt.Errorf("the range is not understood: Content-Range %q", resp.Header.Get("Content-Range"))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != s.Len() {
		return s, 0, fmt.Errorf("range of %d bytes in %d", s.Len(), resp.ContentLength)
	}
	return s, size, nil
}

// parseContentRange reads "bytes 0-99/1234" (RFC 9110 section 14.4). ok is false if the
// complete length is unknown.
func parseContentRange(v string) (s split.Span, size int64, ok bool) {
	unit, rest, found := strings.Cut(v, " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return s, 0, false
	}
	bounds, complete, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(bounds, "-")
	var err1, err2, err3 error
	s.From, err1 = digits(first)
	s.To, err2 = digits(last)
	size, err3 = digits(complete)
	if err1 != nil || err2 != nil || err3 != nil || s.From > s.To || s.To >= size {
		return split.Span{}, 0, false
	}
	s.To++
	return s, size, true
}

// digits reads a number that has no sign.
func digits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil && s[0] == '+' {
		err = strconv.ErrSyntax
	}
	return int64(n), err
}

// errOdd is wrapped in the error of a response that does not fit the download.
var errOdd = errors.New("not a part of what is downloaded")

// part checks the response to a request for a range. The response must belong to r.
// part returns the end of the bytes in it.
func (r *representation) part(resp *http.Response, asked split.Span) (to int64, err error) {
	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent:
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return 0, fmt.Errorf("status %s", resp.Status)
	default:
		return 0, fmt.Errorf("%w: status %s", errOdd, resp.Status)
	}
	s, size, err := contentRange(resp)
	switch {
	case err != nil:
	case !identity(resp):
		err = errors.New("the content is encoded")
	case size != r.size:
		err = fmt.Errorf("the complete length is %d, not %d", size, r.size)
	case s.From != asked.From || s.To > asked.To:
		err = fmt.Errorf("bytes %d-%d, not %d-%d", s.From, s.To-1, asked.From, asked.To-1)
	default:
		err = r.same(resp.Header)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errOdd, err)
	}
	return s.To, nil
}

// whole checks the response to a request for the whole representation.
func (r *representation) whole(resp *http.Response) error {
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: status %s", errOdd, resp.Status)
	case !identity(resp):
		return fmt.Errorf("%w: the content is encoded", errOdd)
	case resp.ContentLength != r.size:
		return fmt.Errorf("%w: the length is %d, not %d", errOdd, resp.ContentLength, r.size)
	}
	if err := r.same(resp.Header); err != nil {
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	return nil
}

// same tells why h belongs to another representation. An answer to If-Range may leave
// out a date (RFC 9110 section 15.3.7), but not a tag.
func (r *representation) same(h http.Header) error {
	name := "Last-Modified"
	if r.tag {
		name = "ETag"
	}
	if got := h.Get(name); got != r.validator && (r.tag || got != "") {
		return fmt.Errorf("the validator is %q, not %q", got, r.validator)
	}
	return nil
}
