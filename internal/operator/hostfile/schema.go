package hostfile

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// kind is the kind of a value. It determines how the value is checked, and what in it
// is private.
type kind uint8

const (
	flag          kind = iota // no value
	number                    // 32 bits, also hexadecimal
	address                   // an IP address
	prefix                    // an address, with its prefix length or without
	selector                  // a prefix, "default" or "all"
	device                    // a link that was declared before, or lo
	name                      // of a link
	word                      // letters, digits, "-", "_" and "."
	lladdr                    // a link-layer address
	lifetime                  // seconds, or "forever"
	span                      // two numbers with "-" between them, or one
	mark                      // a number, with a mask after "/" or without
	table                     // of routes: main, default, local, or its number
	gateway                   // an address; with "inet" or "inet6" before it where it is of the other family
	locked                    // a number, with "lock" before it or without
	realms                    // of routes and rules: the destination's number, with the source's and "/" before it or without
	segments                  // IPv6 addresses with "," between them
	encapsulation             // of packets: its name and its words
	members                   // of a group of next hops: ID or ID,WEIGHT with "/" between them
	rest                      // everything up to the end of the line
)

// grammar says what may follow a verb.
type grammar struct {
	first []kind // values without a word, known by their place
	types string // words of which one may come first of all
	words map[string]kind
	// repeats are words that may occur more than once. After "nexthop" all words may
	// occur again.
	repeats string
}

var addressWords = map[string]kind{
	"dev": device, "peer": prefix, "scope": word, "valid_lft": lifetime, "preferred_lft": lifetime, "metric": number,
	"noprefixroute": flag, "mngtmpaddr": flag, "home": flag, "nodad": flag, "optimistic": flag, "temporary": flag, "dadfailed": flag, "tentative": flag,
}

var nexthopWords = map[string]kind{
	"id": number, "encap": encapsulation, "via": gateway, "dev": device, "onlink": flag, "blackhole": flag, "group": members, "proto": word, "type": word,
}

var ruleWords = map[string]kind{
	"not": flag, "from": selector, "to": selector, "fwmark": mark, "iif": name, "oif": name, "uidrange": span, "ipproto": word,
	"sport": span, "dport": span, "tos": number, "lookup": table, "goto": number, "prohibit": flag, "unreachable": flag, "blackhole": flag,
	"realms": realms, "nop": flag, "suppress_prefixlength": number, "suppress_ifgroup": number, "l3mdev": flag, "protocol": word,
}

var routeWords = map[string]kind{
	"from": selector, "encap": encapsulation, "via": gateway, "dev": device, "metric": number, "table": table, "proto": word, "scope": word, "src": address,
	"onlink": flag, "mtu": locked, "advmss": locked, "window": locked, "cwnd": locked, "ssthresh": locked, "reordering": locked,
	"initcwnd": locked, "initrwnd": locked, "hoplimit": locked, "quickack": number, "fastopen_no_cookie": number,
	"congctl": word, "features": word, "rto_min": word, "pref": word, "expires": number, "nhid": number, "tos": number,
	"nexthop": flag, "weight": number, "realms": realms,
}

const routeTypes = "unicast blackhole prohibit unreachable throw local"

var grammars = map[string]grammar{
	"sysctl": {first: []kind{rest}},
	"link": {first: []kind{name}, words: map[string]kind{
		"kind": word, "altname": name, "down": flag, "nocarrier": flag, "mtu": number, "master": device, "link": device, "group": number,
	}, repeats: "altname"},
	"addr":     {first: []kind{prefix}, words: addressWords},
	"neigh":    {first: []kind{address}, words: map[string]kind{"dev": device, "lladdr": lladdr, "nud": word, "router": flag}},
	"nexthop":  {words: nexthopWords},
	"nexthop6": {words: nexthopWords},
	"rule":     {first: []kind{number}, words: ruleWords},
	"rule6":    {first: []kind{number}, words: ruleWords},
	"norule":   {first: []kind{number}},
	"norule6":  {first: []kind{number}},
	"route":    {first: []kind{selector}, types: routeTypes, words: routeWords},
	"route6":   {first: []kind{selector}, types: routeTypes, words: routeWords},
	"mark":     {first: []kind{number}},
	"config":   {first: []kind{rest}},
	"managed":  {first: []kind{name, selector}, words: map[string]kind{"default": flag}},
	"connect": {first: []kind{address}, words: map[string]kind{
		"by": device, "udp": flag, "from": prefix, "dev": device, "refused": flag,
	}},
	"unbound": {first: []kind{address}, words: map[string]kind{"udp": flag, "from": prefix, "dev": device, "refused": flag}},
	"kernel":  {first: []kind{address}, words: map[string]kind{"from": address, "mark": mark, "has": rest}},
	"doctor":  {first: []kind{word, rest}},
}

// wanted are the verbs that say what a host should do.
const wanted = "managed connect unbound kernel doctor"

// check returns what is wrong with a value; nil if nothing is. The parser checks
// whether a device exists.
func check(k kind, v string) error {
	switch k {
	case number:
		_, err := strconv.ParseUint(v, 0, 32)
		return reason(err, "a number of 32 bits")
	case address:
		_, err := netip.ParseAddr(v)
		return reason(err, "an IP address")
	case prefix, selector:
		if k == selector && (v == "default" || v == "all") {
			return nil
		}
		_, err := parsePrefix(v)
		return reason(err, "an address or a prefix")
	case name, device:
		return checkName(v)
	case word:
		ok := v != "" && !strings.ContainsFunc(v, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
		})
		return unless(ok && v[0] != '-', "a word of letters and digits")
	case lladdr:
		parts := strings.Split(v, ":")
		ok := len(parts) == 6
		for _, p := range parts {
			_, err := strconv.ParseUint(p, 16, 8)
			ok = ok && err == nil
		}
		return unless(ok, "an Ethernet address")
	case lifetime:
		if v == "forever" {
			return nil
		}
		_, err := strconv.ParseUint(strings.TrimSuffix(v, "sec"), 10, 32)
		return reason(err, `seconds or "forever"`)
	case span:
		a, b, two := strings.Cut(v, "-")
		_, err := strconv.ParseUint(a, 10, 32)
		if two && err == nil {
			_, err = strconv.ParseUint(b, 10, 32)
		}
		return reason(err, "a number or a range such as 1000-1999")
	case mark:
		a, b, masked := strings.Cut(v, "/")
		_, err := strconv.ParseUint(a, 0, 32)
		if masked && err == nil {
			_, err = strconv.ParseUint(b, 0, 32)
		}
		return reason(err, "a mark such as 0x1/0xff")
	case table:
		if v == "main" || v == "local" || v == "default" {
			return nil
		}
		_, err := strconv.ParseUint(v, 10, 32)
		return reason(err, "main, default, local or the number of a table")
	case gateway:
		family, a, two := strings.Cut(v, " ")
		if !two {
			a = v
		}
		_, err := netip.ParseAddr(a)
		return unless(err == nil && (!two || family == "inet" || family == "inet6"), "the address of a gateway")
	case locked:
		_, err := strconv.ParseUint(strings.TrimPrefix(v, "lock "), 10, 32)
		return reason(err, "a number")
	case realms:
		a, b, two := strings.Cut(v, "/")
		_, err := strconv.ParseUint(a, 10, 16)
		if two && err == nil {
			_, err = strconv.ParseUint(b, 10, 16)
		}
		return reason(err, "realms such as 3/5")
	case segments:
		return checkSegments(v)
	case members:
		return checkMembers(v)
	}
	return nil
}

func reason(err error, want string) error { return unless(err == nil, want) }

func unless(ok bool, want string) error {
	if ok {
		return nil
	}
	return errors.New("not " + want)
}

func parsePrefix(v string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(v); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(v)
}

// maxName is the length of the longest alternative name (ALTIFNAMSIZ of linux/if.h
// without the final 0).
const maxName = 127

// checkName applies the rules of the kernel's dev_valid_name. In addition a name must
// not begin with "-", which ip(8) would take for an option.
func checkName(v string) error {
	ok := v != "" && len(v) <= maxName && v != "." && v != ".." && v[0] != '-' && !strings.ContainsAny(v, "/:") &&
		!strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f })
	return unless(ok, "a name of an interface")
}

func checkMembers(v string) error {
	for m := range strings.SplitSeq(v, "/") {
		id, weight, weighted := strings.Cut(m, ",")
		_, err := strconv.ParseUint(id, 10, 32)
		if weighted && err == nil {
			_, err = strconv.ParseUint(weight, 10, 16)
		}
		if err != nil {
			return errors.New("not a group such as 1,2/3")
		}
	}
	return nil
}

// sysctl splits "KEY = VALUE" of a parameter below net. Dots separate the parts of the
// key, and a slash stands for a dot inside of a part, as in sysctl(8).
func sysctl(text string) (path, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || value == "" {
		return "", "", errors.New("not KEY = VALUE")
	}
	parts := strings.Split(key, ".")
	if len(parts) < 3 || parts[0] != "net" {
		return "", "", fmt.Errorf("%q is not a parameter of the network", key)
	}
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(p, "/", ".")
		if err := checkName(parts[i]); err != nil {
			return "", "", fmt.Errorf("%q is not a parameter: %w", key, err)
		}
	}
	return strings.Join(parts, "/"), value, nil
}
