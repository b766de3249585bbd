package resolve

import (
	"strconv"
	"time"
)

// ConfOption describes how an option of resolv.conf(5) is treated.
type ConfOption struct {
	Name string // as in the file, without value
	Done bool   // it has the effect that the manual page describes
	Note string // what it does here, or why it has no effect
}

// ConfOptions lists the options of resolv.conf(5) in the order of that page, and the
// other ways to set their values.
func ConfOptions() []ConfOption {
	out := make([]ConfOption, len(confOptions))
	for i, o := range confOptions {
		out[i] = o.ConfOption
	}
	return out
}

// confOptions is never changed. An option without set has no effect.
var confOptions = []struct {
	ConfOption
	set func(c *resolvConf, value string)
}{
	{ConfOption{"debug", false, "mamma has its own log"}, nil},
	{ConfOption{"ndots", true, "a name with fewer dots than this number, at most 15, is looked up in the search list first"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.ndots = min(n, maxNdots)
		}
	}},
	{ConfOption{"timeout", true, "how many seconds mamma waits for the answer of a server, 1 to 30; without the option 1"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.timeout = time.Duration(min(max(n, 1), maxSeconds)) * time.Second
		}
	}},
	{ConfOption{"attempts", true, "how often mamma tries each server, 1 to 5; without the option 3"}, func(c *resolvConf, value string) {
		if n, ok := leadingNumber(value); ok {
			c.attempts = min(max(n, 1), maxTries)
		}
	}},
	{ConfOption{"rotate", true, "each question goes to the next server first"}, func(c *resolvConf, _ string) { c.rotate = true }},
	{ConfOption{"no-aaaa", true, "servers are not asked for IPv6 addresses, but the hosts file can give some"}, func(c *resolvConf, _ string) { c.noAAAA = true }},
	{ConfOption{"no-check-names", false, "names are always checked, because programs trust what they are given"}, nil},
	{ConfOption{"inet6", false, "the option concerns gethostbyname, and glibc 2.25 has removed it"}, nil},
	{ConfOption{"ip6-bytestring", false, "the option concerns reverse look-ups, and glibc 2.25 has removed it"}, nil},
	{ConfOption{"ip6-dotint", false, "the option concerns reverse look-ups, and glibc 2.25 has removed it"}, nil},
	{ConfOption{"no-ip6-dotint", false, "the option concerns reverse look-ups, and glibc 2.25 has removed it"}, nil},
	{ConfOption{"edns0", false, "mamma uses EDNS anyway with servers that know it"}, nil},
	{ConfOption{"single-request", true, "a server is asked for IPv6 addresses once it has answered about IPv4"}, func(c *resolvConf, _ string) { c.single = true }},
	{ConfOption{"single-request-reopen", true, "mamma uses a socket of its own for each question anyway"}, func(*resolvConf, string) {}},
	{ConfOption{"no-tld-query", true, "a name without a dot is looked up in the search list only"}, func(c *resolvConf, _ string) { c.noTLD = true }},
	{ConfOption{"use-vc", true, "servers are asked over TCP"}, func(c *resolvConf, _ string) { c.tcp = true }},
	{ConfOption{"no-reload", true, "the file is read again only when mamma reads its own configuration again"}, func(c *resolvConf, _ string) { c.noReload = true }},
	{ConfOption{"trust-ad", false, "mamma neither asks for the AD bit nor passes it on"}, nil},
}

// option applies an option of the file, "name" or "name:value". Unknown options have no
// effect, as in the C library.
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
