package socks

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxHTTPHead limits the length of a message's start line and header. Servers accept 8
// to 64 KiB. Clients accept more, because some servers send more.
const maxHTTPHead = 1 << 20

// Errors in messages.
var (
	errHTTPSyntax   = errors.New("malformed HTTP")
	errHTTPFraming  = errors.New("where the HTTP message ends is unclear")
	errHTTPHeadSize = fmt.Errorf("HTTP header longer than %d bytes or %d lines, or than there is room for", maxHTTPHead, maxFields)
	errHTTPVersion  = errors.New("HTTP version not supported")
)

// httpField is one line of a header. Name and value are as they were sent.
type httpField struct{ name, value []byte }

func (f httpField) is(name string) bool {
	return len(f.name) == len(name) && strings.EqualFold(string(f.name), name)
}

// httpHead is the start line and the header of a message. It is valid until its reader
// reads on.
type httpHead struct {
	start  []byte
	fields []httpField
}

// parseHTTPHead splits a start line and a header (RFC 9112 sections 2.2 and 5).
// Requests are read strictly: if the server read a line otherwise than the proxy, a
// client could hide one request in another. Responses are read as all clients read
// them: a line that is not a field is left out, and folded lines are joined.
func parseHTTPHead(b []byte, request bool, fields []httpField) (httpHead, error) {
	h := httpHead{fields: fields[:0]}
	for first := true; ; first = false {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return h, nil
		}
		line := bytes.TrimSuffix(b[:i], []byte("\r"))
		b = b[i+1:]
		if len(line) == 0 {
			if first {
				return h, errHTTPSyntax
			}
			return h, nil
		}
		for k, c := range line {
			if c == '\r' || c == 0 { // RFC 9110 section 5.5
				line[k] = ' '
			}
		}
		switch {
		case first:
			h.start = line
			continue
		case line[0] == ' ' || line[0] == '\t':
			if request || len(h.fields) == 0 {
				if request {
					return h, fmt.Errorf("%w: a folded line", errHTTPSyntax)
				}
				continue
			}
			last := &h.fields[len(h.fields)-1]
			last.value = append(append(bytes.Clone(last.value), ' '), bytes.Trim(line, " \t")...)
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !request {
			name = bytes.TrimRight(name, " \t")
		}
		if !ok || !isToken(name) {
			if request {
				return h, fmt.Errorf("%w: the line %.60q", errHTTPSyntax, line)
			}
			continue
		}
		if len(h.fields) == maxFields {
			return h, errHTTPHeadSize
		}
		h.fields = append(h.fields, httpField{name, bytes.Trim(value, " \t")})
	}
}

// cost estimates how many bytes of memory the header takes, with all that is made of
// it.
func (h *httpHead) cost() int64 {
	n := int64(len(h.start))
	for _, f := range h.fields {
		n += int64(len(f.name)+len(f.value)) + fieldCost
	}
	return n
}

// isToken tells whether b is a token (RFC 9110 section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return len(b) > 0
}

// header returns the header as Rules and dial functions see it, without the proxy's
// password.
func (h *httpHead) header() http.Header {
	size := 0
	for _, f := range h.fields {
		size += len(f.name) + len(f.value)
	}
	var text strings.Builder // all strings share one text, all values one slice
	text.Grow(size)
	for _, f := range h.fields {
		text.Write(f.name)
		text.Write(f.value)
	}
	rest, values := text.String(), make([]string, len(h.fields))
	m := make(http.Header, len(h.fields))
	for i, f := range h.fields {
		name, value := rest[:len(f.name)], rest[len(f.name):len(f.name)+len(f.value)]
		rest = rest[len(f.name)+len(f.value):]
		if f.is("Proxy-Authorization") {
			continue
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if m[name] != nil {
			m[name] = append(m[name], value)
			continue
		}
		values[i] = value
		m[name] = values[i : i+1 : i+1]
	}
	return m
}

// has tells whether a field with this name lists the token.
func (h *httpHead) has(name, token string) bool {
	for _, f := range h.fields {
		if f.is(name) {
			for item := range bytes.SplitSeq(f.value, []byte(",")) {
				if strings.EqualFold(string(bytes.Trim(item, " \t")), token) {
					return true
				}
			}
		}
	}
	return false
}

// get returns the first field with this name.
func (h *httpHead) get(name string) (value []byte, ok bool) {
	for _, f := range h.fields {
		if f.is(name) {
			return f.value, true
		}
	}
	return nil, false
}

// httpBody says where the body of a message ends (RFC 9112 section 6.3).
type httpBody struct {
	chunked bool
	toEnd   bool  // the body ends with the connection
	length  int64 // else its length
	// ambiguous means that the message had both a length and chunks. Somebody else may
	// take the bytes after such a message for a part of it. The connection therefore
	// ends with the message (RFC 9112 section 6.1).
	ambiguous bool
}

func (b httpBody) empty() bool { return !b.chunked && !b.toEnd && b.length == 0 }

// framing finds out where the body ends.
func (h *httpHead) framing(request bool) (httpBody, error) {
	var b httpBody
	length, codings := int64(-1), 0
	last := ""
	for _, f := range h.fields {
		switch {
		case f.is("Content-Length"):
			for item := range bytes.SplitSeq(f.value, []byte(",")) {
				n, err := parseLength(bytes.Trim(item, " \t"))
				if err != nil || length >= 0 && n != length {
					return b, fmt.Errorf("%w: Content-Length %.60q", errHTTPFraming, f.value)
				}
				length = n
			}
		case f.is("Transfer-Encoding"):
			for item := range bytes.SplitSeq(f.value, []byte(",")) {
				coding := strings.ToLower(string(bytes.Trim(item, " \t")))
				if last == "chunked" || request && coding == "" {
					return b, fmt.Errorf("%w: Transfer-Encoding %.60q", errHTTPFraming, f.value)
				}
				if coding != "" {
					last = coding
					codings++
				}
			}
		}
	}
	switch {
	case codings > 0 && last == "chunked":
		b.chunked, b.ambiguous = true, length >= 0
	case codings > 0 && request:
		return b, fmt.Errorf("%w: Transfer-Encoding ends with %.60q", errHTTPFraming, last)
	case codings > 0:
		b.toEnd, b.ambiguous = true, length >= 0
	case length >= 0:
		b.length = length
	default:
		b.toEnd = !request
	}
	return b, nil
}

func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 || bytes.ContainsFunc(b, func(c rune) bool { return c < '0' || c > '9' }) {
		return 0, errHTTPFraming
	}
	return strconv.ParseInt(string(b), 10, 64)
}

// httpRequest is a request that was read.
type httpRequest struct {
	httpHead
	method, target string // target is as it was sent
	old            bool   // HTTP/1.0
	body           httpBody
	keep           bool // the client may send another request
	upgrade        bool
}

// parseHTTPRequest parses the request line and the header of a request.
func parseHTTPRequest(b []byte, fields []httpField) (*httpRequest, error) {
	h, err := parseHTTPHead(b, true, fields)
	if err != nil {
		return nil, err
	}
	r := &httpRequest{httpHead: h}
	method, rest, ok1 := bytes.Cut(h.start, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || len(target) == 0 || bytes.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, fmt.Errorf("%w: the request line %.60q", errHTTPSyntax, h.start)
	}
	r.method, r.target = string(method), string(target)
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || version[7] < '0' || version[7] > '9' {
		return nil, fmt.Errorf("%w: the request line %.60q", errHTTPSyntax, h.start)
	}
	if version[5] != '1' {
		return nil, fmt.Errorf("%w: %q", errHTTPVersion, version)
	}
	r.old = version[7] == '0'
	hosts := 0
	for _, f := range h.fields {
		switch {
		case f.is("Host"):
			hosts++
		case f.is("Transfer-Encoding") && r.old:
			return nil, fmt.Errorf("%w: Transfer-Encoding in HTTP/1.0", errHTTPFraming)
		}
	}
	if hosts > 1 {
		return nil, fmt.Errorf("%w: %d Host fields", errHTTPSyntax, hosts)
	}
	if r.body, err = h.framing(true); err != nil {
		return nil, err
	}
	closes := h.has("Connection", "close") || h.has("Proxy-Connection", "close") || r.body.ambiguous
	r.keep = !closes && (!r.old || h.has("Connection", "keep-alive") || h.has("Proxy-Connection", "keep-alive"))
	r.upgrade = !r.old && h.has("Connection", "upgrade")
	return r, nil
}

// absolute splits a target in absolute form (RFC 9112 section 3.2.2) into the authority
// and the rest, which is what the server gets.
func (r *httpRequest) absolute() (authority, rest string, err error) {
	scheme, hier, ok := strings.Cut(r.target, "://")
	switch {
	case !ok || !isToken([]byte(scheme)):
		return "", "", &Error{Reply: AddressTypeNotSupported, Err: errors.New("a request for a server, not for a proxy")}
	case !strings.EqualFold(scheme, "http"):
		return "", "", &Error{Reply: CommandNotSupported, Err: fmt.Errorf("scheme %q", scheme)}
	}
	end := strings.IndexAny(hier, "/?#")
	if end < 0 {
		end = len(hier)
	}
	authority, rest = hier[:end], hier[end:]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	switch {
	case rest == "" && r.method == http.MethodOptions:
		rest = "*"
	case rest == "" || rest[0] != '/':
		rest = "/" + rest
	}
	return authority, rest, nil
}

// credentials returns the name and password for the proxy (RFC 7617). given tells
// whether there are any, of whatever scheme.
func (h *httpHead) credentials() (user, password string, given bool) {
	v, given := h.get("Proxy-Authorization")
	scheme, text, _ := strings.Cut(string(v), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", given
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return "", "", given
	}
	user, password, _ = strings.Cut(string(plain), ":")
	return user, password, given
}

// hopByHop tells whether a field concerns this connection only (RFC 9110 section
// 7.6.1). Fields that say where the message ends never do, even if Connection lists
// them.
func (h *httpHead) hopByHop(f httpField) bool {
	switch {
	case f.is("Connection"), f.is("Proxy-Connection"), f.is("Keep-Alive"), f.is("Proxy-Authorization"), f.is("Proxy-Authenticate"), f.is("TE"), f.is("Upgrade"):
		return true
	case f.is("Content-Length"), f.is("Transfer-Encoding"), f.is("Host"):
		return false
	}
	return h.has("Connection", string(f.name))
}

// appendTo appends the request as the server gets it. Fields that concern this
// connection only, and private ones, are left out. The other fields stay as they are,
// in their order.
func (r *httpRequest) appendTo(b []byte, authority, target string, private []string, via string) []byte {
	b = append(append(append(append(b, r.method...), ' '), target...), " HTTP/1.1\r\n"...)
	host := false
	for _, f := range r.fields {
		switch {
		case f.is("Host"):
			f.value, host = []byte(authority), true
		case r.upgrade && f.is("Upgrade"):
		case r.hopByHop(f), r.body.ambiguous && f.is("Content-Length"), isPrivate(f, private):
			continue
		case f.is("Max-Forwards") && (r.method == http.MethodTrace || r.method == http.MethodOptions):
			if n, err := parseLength(f.value); err == nil && n > 0 {
				f.value = strconv.AppendInt(nil, n-1, 10)
			}
		}
		b = f.appendTo(b)
	}
	if !host {
		b = httpField{[]byte("Host"), []byte(authority)}.appendTo(b)
	}
	if r.upgrade {
		b = append(b, "Connection: Upgrade\r\n"...)
	} else if r.body.ambiguous {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(appendVia(b, via, r.old), "\r\n"...)
}

func isPrivate(f httpField, names []string) bool {
	for _, n := range names {
		if f.is(n) {
			return true
		}
	}
	return false
}

func (f httpField) appendTo(b []byte) []byte {
	return append(append(append(append(b, f.name...), ": "...), f.value...), "\r\n"...)
}

// appendVia appends the Via field of this proxy, if the proxy has a name (RFC 9110
// section 7.6.3).
func appendVia(b []byte, via string, old bool) []byte {
	if via == "" {
		return b
	}
	version := "1.1 "
	if old {
		version = "1.0 "
	}
	return append(append(append(append(b, "Via: "...), version...), via...), "\r\n"...)
}

// httpResponse is a response that was read.
type httpResponse struct {
	httpHead
	status int
	reason []byte // the status code and what follows
	old    bool
	body   httpBody
	keep   bool // the server takes another request
}

// parseHTTPResponse parses the status line and the header of the response to a request
// with this method. It also knows the status line of SHOUTcast servers.
func parseHTTPResponse(b []byte, method string, fields []httpField) (*httpResponse, error) {
	h, err := parseHTTPHead(b, false, fields)
	if err != nil {
		return nil, err
	}
	version, reason, _ := bytes.Cut(h.start, []byte(" "))
	reason = bytes.TrimLeft(reason, " ")
	r := &httpResponse{httpHead: h, reason: reason}
	switch v := string(version); {
	case v == "ICY", v == "HTTP/1.0", v == "HTTP/0.9":
		r.old = true
	case len(v) < 6 || v[:5] != "HTTP/":
		return nil, fmt.Errorf("%w: the status line %.60q", errHTTPSyntax, h.start)
	}
	if len(reason) < 3 || len(reason) > 3 && reason[3] != ' ' {
		return nil, fmt.Errorf("%w: the status line %.60q", errHTTPSyntax, h.start)
	}
	if r.status, err = strconv.Atoi(string(reason[:3])); err != nil || r.status < 100 {
		return nil, fmt.Errorf("%w: the status line %.60q", errHTTPSyntax, h.start)
	}
	if r.body, err = h.framing(false); err != nil {
		return nil, err
	}
	if method == http.MethodHead || r.status < 200 || r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		r.body = httpBody{ambiguous: r.body.ambiguous}
	}
	r.keep = !r.body.toEnd && !r.body.ambiguous && !h.has("Connection", "close") && (!r.old || h.has("Connection", "keep-alive"))
	return r, nil
}

// appendTo appends the response as the client gets it. If old, the client speaks
// HTTP/1.0 and gets the contents of a chunked body without the chunks.
func (r *httpResponse) appendTo(b []byte, old, keep bool, via string) []byte {
	b = append(append(append(b, "HTTP/1.1 "...), r.reason...), "\r\n"...)
	for _, f := range r.fields {
		switch {
		case r.status == http.StatusSwitchingProtocols && f.is("Upgrade"):
		case r.hopByHop(f), r.body.ambiguous && f.is("Content-Length"), old && f.is("Transfer-Encoding"), old && r.body.chunked && f.is("Trailer"):
			continue
		}
		b = f.appendTo(b)
	}
	switch {
	case r.status == http.StatusSwitchingProtocols:
		b = append(b, "Connection: Upgrade\r\n"...)
	case r.status < 200:
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(appendVia(b, via, r.old), "\r\n"...)
}
