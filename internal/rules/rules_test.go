package rules

import (
	"net/netip"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
)

func parse(t *testing.T, text string) []Intents {
	t.Helper()
	var list []Intents
	if err := config.ParseFile([]byte(text), "test.conf", func(b *config.Body) { DescribeIntents(b, &list, (*Match).Describe) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestMatches(t *testing.T) {
	curl := Caller{Known: true, UID: 1000, PID: 1, Executable: "/usr/bin/curl"}
	for _, tt := range []struct {
		match string
		name  string
		addr  string
		who   Caller
		want  Verdict
	}{
		{``, "", "192.0.2.1:443", curl, Yes},
		{`port = ["25", "100-200"]`, "", "192.0.2.1:100", curl, Yes},
		{`port = ["25", "100-200"]`, "", "192.0.2.1:99", curl, No},
		{`destination = "192.0.2.0/24"`, "", "192.0.2.1:443", curl, Yes},
		{`destination = "192.0.2.0/24"`, "", "[2001:db8::1]:443", curl, No},
		{`destination = "192.0.2.0/24"`, "a.example", ":443", curl, Maybe},
		{`destination = "*.Example."`, "a.example", ":443", curl, Yes},
		{`destination = "*.example"`, "", "192.0.2.1:443", curl, No},
		{`process = "curl"`, "", "192.0.2.1:443", curl, Yes},
		{`process = "/usr/bin/curl"`, "", "192.0.2.1:443", curl, Yes},
		{`process = "/bin/curl"`, "", "192.0.2.1:443", curl, No},
		{`process = "curl"`, "", "192.0.2.1:443", Caller{Known: true, UID: 1000}, Unknown},
		{`process = "/usr/bin/curl"`, "", "192.0.2.1:443", Caller{Known: true, UID: 1000, Executable: "/usr/bin/curl", Doubtful: true}, Unknown},
		{`process = "/usr/bin/wget"`, "", "192.0.2.1:443", Caller{Known: true, UID: 1000, Executable: "/usr/bin/curl", Doubtful: true}, No},
		{`process = "curl"`, "", "192.0.2.1:443", Caller{Known: true, UID: 1000, Executable: "/usr/bin/curl", Doubtful: true}, Yes},
		{`uid = "0"`, "", "192.0.2.1:443", curl, No},
		{`uid = "0"`, "", "192.0.2.1:443", Caller{}, Unknown},
		{`uid = "0"`, "", "192.0.2.1:443", Caller{Elsewhere: true}, No},
		{"uid = \"1000\"\n process = \"curl\"", "", "192.0.2.1:443", curl, Yes},
		{"port = \"80\"\n process = \"curl\"", "", "192.0.2.1:443", curl, No},
	} {
		m := parse(t, "intents \"x\" {\n set = \"category=query\"\n "+tt.match+"\n}")[0].Match
		addr, err := netip.ParseAddrPort(tt.addr)
		if err != nil { // the name is not looked up yet
			addr = netip.AddrPortFrom(netip.Addr{}, 443)
		}
		s := Subject{Name: tt.name, Addr: addr, Caller: func() Caller { return tt.who }}
		if got := m.Matches(&s); got != tt.want {
			t.Errorf("%s, %s%s of %v: %d, want %d", tt.match, tt.name, tt.addr, tt.who, got, tt.want)
		}
	}
}

// A name that becomes another one's only by the rules of Unicode is another name.
func TestNormalName(t *testing.T) {
	for name, want := range map[string]string{"WWW.Example.": "www.example", "a.example": "a.example", "\u212aitchen.example": "\u212aitchen.example", "B\u00dccher.example": "b\u00dccher.example", "": ""} {
		if got := NormalName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestChoice(t *testing.T) {
	list := parse(t, `
intents "web" {
  port = "443"
  set = "timeliness=interactive"
}
intents "backup" {
  process = "restic"
  set = "category=bulktransfer,timeliness=transfer"
}`)
	for _, tt := range []struct {
		name, stated, process string
		port                  uint16
		usual                 string
		want, from            string
	}{
		{"nothing", "", "", 80, "", "", ""},
		{"stated first, each by itself", "category=query", "", 443, "", "category=query,timeliness=interactive", "run, rule web"},
		{"rules in their order", "", "restic", 443, "", "category=bulktransfer,timeliness=interactive", "rule web, rule backup"},
		{"usual", "", "", 443, "filesize=9B,category=query", "category=query,filesize=9B,timeliness=interactive", "rule web, learnt"},
		{"usual is no matter where the kind is known", "category=stream", "", 80, "filesize=9B", "category=stream", "run"},
		{"port", "", "", 22, "filesize=9B", "category=controltraffic,filesize=9B,timeliness=interactive", "learnt, port 22"},
		{"usual before port", "", "", 22, "category=bulktransfer", "category=bulktransfer", "learnt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stated, err1 := intent.Parse(tt.stated)
			usual, err2 := intent.Parse(tt.usual)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			s := Subject{Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), tt.port), Caller: func() Caller { return Caller{Executable: tt.process} }}
			var c Choice
			c.Add(stated, "run")
			c.Apply(list, &s)
			c.Guess(func() intent.Set { return usual }, tt.port)
			want, err := intent.Parse(tt.want)
			if err != nil || c.Set != want || c.From() != tt.from {
				t.Errorf("%v from %v, want %v from %s", c.Set, c.From(), want, tt.from)
			}
		})
	}
}
