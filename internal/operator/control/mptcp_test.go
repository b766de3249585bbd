package control

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
)

// Connections are shown to their users, and to those who may read everything.
func TestMultipath(t *testing.T) {
	d := start(t, view(), func(o *Options) {
		o.Multipath = func() (Multipath, error) {
			return Multipath{PathManager: known("kernel"), Connections: []MultipathConn{{UID: stranger.UID, Remote: "192.0.2.1:80"}, {UID: 5}, {UID: nobody}}}, nil
		}
	})
	for _, tt := range []struct {
		name string
		who  peer
		want int
		all  bool
	}{
		{"root", root, 3, true}, {"control group", member, 3, true}, {"their owner", stranger, 1, false},
		{"nobody", peer{Cred: unixsocket.Cred{UID: nobody, GID: nobody}}, 0, false},
	} {
		d.as(tt.who)
		var m Multipath
		if _, err := d.client(t).Get(ctx(t), "/v1/mptcp", &m); err != nil || len(m.Connections) != tt.want || m.Complete != tt.all || !m.Now.Equal(epoch) {
			t.Errorf("%s: %+v, %v", tt.name, m, err)
		}
	}
}

func TestMultipathMissing(t *testing.T) {
	for _, f := range []func() (Multipath, error){nil, func() (Multipath, error) { return Multipath{}, errors.New("needs Linux 5.7") }} {
		d := start(t, view(), func(o *Options) { o.Multipath = f })
		var m Multipath
		_, err := d.client(t).Get(ctx(t), "/v1/mptcp", &m)
		var re *RemoteError
		if !errors.As(err, &re) || re.Status != http.StatusNotImplemented || f != nil && !strings.Contains(re.Error(), "needs Linux 5.7") {
			t.Errorf("got %v", err)
		}
	}
}
