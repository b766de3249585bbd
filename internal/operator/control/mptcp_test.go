package control

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// However many connections there are, an answer has a bounded number of them, and says how
// many more there are. They are read for one request at a time.
func TestManyMultipath(t *testing.T) {
	const mine, all = maxMultipath + 7, 3 * maxMultipath
	var reading atomic.Int32
	d := start(t, view(), func(o *Options) {
		o.Multipath = func() (Multipath, error) {
			if reading.Add(1) > 1 {
				t.Error("they are read for two requests at a time")
			}
			defer reading.Add(-1)
			list := make([]MultipathConn, all)
			for i := range mine {
				list[all-1-i].UID = stranger.UID
			}
			runtime.Gosched()
			return Multipath{Connections: list}, nil
		}
	})
	for who, n := range map[string]int{"root": all, "their owner": mine} {
		d.as(map[string]peer{"root": root, "their owner": stranger}[who])
		c := d.client(t)
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				var m Multipath
				if _, err := c.Get(ctx(t), "/v1/mptcp", &m); err != nil || len(m.Connections) != maxMultipath || m.Omitted != n-maxMultipath {
					t.Errorf("%s: %d connections and %d more, %v", who, len(m.Connections), m.Omitted, err)
				}
			})
		}
		asking.Wait()
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
