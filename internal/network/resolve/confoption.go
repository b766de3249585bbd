package resolve

import (
	"strconv"
	"time"
)

// ConfOption is what becomes of an option of resolv.conf(5).
type ConfOption struct {
	Name string // as in the file, without value
	Done bool   // whether it has the effect that the manual page promises
	Note string // what it does here, or why it does nothing
}

// ConfOptions lists the options of resolv.conf(5) in that page's order, and the
// other ways in which a value gets there.
func ConfOptions() []ConfOption {
	out := make([]ConfOption, len(confOptions))
	for i, o := range confOptions {
		out[i] = o.ConfOption
	}
	return out
}

// confOptions is immutable. Options without set are read over.
var confOptions = []struct {
	ConfOption
	set func(c *resolvConf, value string)
}{
	{ConfOption{"debug", false, "mamma has its own log"}, nil},
	{ConfOption{"ndots", true, "names with fewer dots are looked up in the search list first; at most 15"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.ndots = min(n, maxNdots)
		}
	}},
	{ConfOption{"timeout", true, "seconds for one try at one server, 1 to 30; 1 without it"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.timeout = time.Duration(min(max(n, 1), maxSeconds)) * time.Second
		}
	}},
	{ConfOption{"attempts", true, "how often the servers are gone through, 1 to 5; 3 without it"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.attempts = min(max(n, 1), maxTries)
		}
	}},
	{ConfOption{"rotate", true, "each question begins with the next server"}, func(c *resolvConf, _ string) { c.rotate = true }},
	{ConfOption{"no-aaaa", true, "servers are not asked for IPv6 addresses; those in the hosts file count"}, func(c *resolvConf, _ string) { c.noAAAA = true }},
	{ConfOption{"no-check-names", false, "names are always checked, since they go to programs that trust them"}, nil},
	{ConfOption{"inet6", false, "of gethostbyname, and gone from glibc 2.25"}, nil},
	{ConfOption{"ip6-bytestring", false, "of reverse look-ups, and gone from glibc 2.25"}, nil},
	{ConfOption{"ip6-dotint", false, "of reverse look-ups, and gone from glibc 2.25"}, nil},
	{ConfOption{"no-ip6-dotint", false, "of reverse look-ups, and gone from glibc 2.25"}, nil},
	{ConfOption{"edns0", false, "EDNS is used anyway, wherever the server knows it"}, nil},
	{ConfOption{"single-request", true, "IPv6 addresses are asked for when the answer about IPv4 is there"}, func(c *resolvConf, _ string) { c.single = true }},
	{ConfOption{"single-request-reopen", true, "each question has a socket of its own anyway"}, func(*resolvConf, string) {}},
	{ConfOption{"no-tld-query", true, "a name without a dot is looked up in the search list only"}, func(c *resolvConf, _ string) { c.noTLD = true }},
	{ConfOption{"use-vc", true, "servers are asked over TCP"}, func(c *resolvConf, _ string) { c.tcp = true }},
	{ConfOption{"no-reload", true, "the file is not read again until mamma is"}, func(c *resolvConf, _ string) { c.noReload = true }},
	{ConfOption{"trust-ad", false, "the AD bit is neither asked for nor handed on"}, nil},
}

// option takes over an option as it stands in the file, "name" or "name:value".
// Options that are unknown are read over, as the C library does.
func (c *resolvConf) option(name, value string) {
	for i := range confOptions {
		if o := &confOptions[i]; o.Name == name && o.set != nil {
			o.set(c, value)
		}
	}
}

// leadingNumber reads the digits that a value begins with, as the C library does.
func leadingNumber(s string) (int, bool) {
	end := 0
	for end < len(s) && end < 9 && isDigit(s[end]) {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	return n, err == nil
}
