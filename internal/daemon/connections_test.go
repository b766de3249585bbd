package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// accountant is a policy that notes whose connections end.
type accountant struct{ said []string }

func (*accountant) Choose(*policy.Request) policy.Decision { return policy.Decision{} }

func (a *accountant) ConnectionEnded(c *policy.Connection) {
	a.said = append(a.said, fmt.Sprintf("%s[%d] %d to %s over %s", c.App.Command, c.App.UID, c.Token, c.Host, c.Prefix.Interface))
}

// Decisions and reports are counted, so that the policy can ask. When the kernel no longer
// lists a connection, the policy hears that it has ended.
func TestConnectionsOfUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	if err := os.WriteFile(path, []byte("policy \"accountant\" {}\ninterface \"w*\" {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &accountant{}
	known := policy.Catalogue{{Name: "accountant", New: func(policy.Config) (policy.Policy, error) { return a, nil }}}
	d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: known}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	v := d.manager.View()
	wwan := v.Prefixes[1]
	app := policy.App{UID: 1000, PID: 7, Command: "curl"}
	counts := func() string { return fmt.Sprint(v.Connections.Count(nil, v.Prefixes[:2], app)) }
	pass := func(list ...pathstat.Connection) {
		d.census.Begin()
		for i := range list {
			d.census.Connection(wwan.ID, &list[i])
		}
		d.census.End(time.Now(), true)
	}
	if got := counts(); got != "[]" {
		t.Errorf("before the first pass: %s", got)
	}
	pass()
	rec := &mam.Record{
		ID: uuid.New(), Time: time.Now(), Kind: policy.SocketConnect, App: app, Host: "www.example.net", Reports: true,
		Policy: "accountant", Decider: v.Runner.Decider(), Decision: policy.Decision{Prefix: wwan, Token: 42},
	}
	d.decided(rec)
	if got := counts(); got != "[{0 0} {1 1}]" {
		t.Errorf("decided: %s", got)
	}
	rec.Outcome = &mam.Outcome{LocalPort: 4711}
	d.reported(*rec)
	pass(pathstat.Connection{Local: netip.AddrPortFrom(wwan.Addr(), 4711), Remote: netip.MustParseAddrPort("192.0.2.1:80"), UID: 1000, Inode: 5})
	pass()
	if got := counts(); got != "[{0 0} {0 0}]" {
		t.Errorf("ended: %s", got)
	}
	if diff := cmp.Diff([]string{"curl[1000] 42 to www.example.net over wwan0"}, a.said); diff != "" {
		t.Errorf("the policy is told (-want +got)\n%s", diff)
	}
}
