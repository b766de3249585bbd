package placement

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/intent"
)

func TestParts(t *testing.T) {
	o := Options{}
	var err error
	if o.Intents, err = intent.Parse("category=bulktransfer,filesize=3MB"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"443=category=query", "8000-8099=category=stream", "192.0.2.0/24=filesize=5kB", "2001:db8::1=filesize=7B", "rsync=category=keepalives",
		"a-very-long-command-name=category=query",
	} {
		p, err := ParsePart(text)
		if err != nil {
			t.Fatal(err)
		}
		o.Parts = append(o.Parts, p)
	}
	s, err := newStated(o, &speaker{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dest, command, want string
	}{
		{"198.51.100.1:80", "curl", "category=bulktransfer,filesize=3MB"},
		{"198.51.100.1:443", "curl", "category=query,filesize=3MB"},
		{"198.51.100.1:8099", "curl", "category=stream,filesize=3MB"},
		{"198.51.100.1:8100", "curl", "category=bulktransfer,filesize=3MB"},
		{"192.0.2.9:80", "rsync", "category=bulktransfer,filesize=5kB"},
		{"[2001:db8::1]:80", "curl", "category=bulktransfer,filesize=7B"},
		{"198.51.100.1:873", "rsync", "category=keepalives,filesize=3MB"},
		{"198.51.100.1:873", "rsyncd", "category=bulktransfer,filesize=3MB"},
		{"198.51.100.1:873", "a-very-long-com", "category=query,filesize=3MB"},
		{"198.51.100.1:873", "", "category=bulktransfer,filesize=3MB"},
	} {
		want, err := intent.Parse(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := s.intents(netip.MustParseAddrPort(tt.dest), caller{command: tt.command}); got != want {
			t.Errorf("%s by %q: %s, want %s", tt.dest, tt.command, got, tt.want)
		}
	}
}

func TestParsePartErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "must be PORT=INTENTS",
		"443":                  "must be PORT=INTENTS",
		"=category=query":      "must be PORT=INTENTS",
		"443=":                 "must be PORT=INTENTS",
		"443=category":         "category",
		"70000=category=query": "is neither a port nor",
		"0=category=query":     "is neither a port nor",
		"9-8=category=query":   "is neither a port nor",
		"-=category=query":     "is neither a port nor",
		"a/b=category=query":   "neither a network nor the name",
	} {
		if p, err := ParsePart(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error with %q", text, p, err, want)
		}
	}
}
