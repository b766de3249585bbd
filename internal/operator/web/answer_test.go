package web

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// addressed is a listener that has an address and nothing else.
type addressed struct{ net.Listener }

func (addressed) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Only some answers of the daemon are in memory at a time. Further requests wait.
func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := At(addressed{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		begun, end := make(chan struct{}, 3*maxAsked), make(chan struct{})
		h := s.answer(func(*http.Request) (any, error) {
			begun <- struct{}{}
			<-end
			return nil, nil //nolint:nilnil // null is an answer
		})
		for range 3 * maxAsked {
			go h(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		}
		synctest.Wait()
		if n := len(begun); n != maxAsked {
			t.Errorf("%d answers at a time, want %d", n, maxAsked)
		}
		close(end)
		synctest.Wait()
		if n := len(begun); n != 3*maxAsked {
			t.Errorf("%d answers in all, want %d", n, 3*maxAsked)
		}
	})
}
