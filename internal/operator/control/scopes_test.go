package control

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Scopes show what others do, so only users who may see that get them. Only users who may
// change things can detach them.
func TestScopes(t *testing.T) {
	detached := 0
	d := start(t, view(), func(o *Options) {
		o.Scopes = func(context.Context) (Scopes, error) {
			s := Scopes{Scopes: []Scope{{Name: "backup"}}}
			s.Scopes[0].Put(intent.Set{}.WithCategory(intent.CategoryQuery))
			return s, nil
		}
		o.DetachScopes = func(context.Context) error { detached++; return nil }
	})
	for _, tt := range []struct {
		name            string
		who             peer
		reads, detaches bool
	}{
		{"root", root, true, true}, {"control group", member, true, false}, {"stranger", stranger, false, false},
		{"nobody", peer{Cred: unixsocket.Cred{UID: nobody, GID: nobody}}, false, false},
	} {
		d.as(tt.who)
		var s Scopes
		_, err := d.client(t).Get(ctx(t), "/v1/scopes", &s)
		if (err == nil) != tt.reads || tt.reads && (len(s.Scopes) != 1 || *s.Scopes[0].Intents.Category != "query" || !s.Now.Equal(epoch)) {
			t.Errorf("%s reads: %+v, %v", tt.name, s, err)
		}
		before := detached
		_, err = d.client(t).Post(ctx(t), "/v1/scopes/detach", struct{}{}, &s)
		if (err == nil) != tt.detaches || (detached > before) != tt.detaches {
			t.Errorf("%s detaches: %v, %d times", tt.name, err, detached-before)
		}
		var re *RemoteError
		if err != nil && (!errors.As(err, &re) || re.Status != http.StatusForbidden) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	none := start(t, view(), nil)
	none.as(root)
	var re *RemoteError
	if _, err := none.client(t).Get(ctx(t), "/v1/scopes", new(Scopes)); !errors.As(err, &re) || re.Status != http.StatusNotImplemented {
		t.Errorf("without scopes: %v", err)
	}
}
