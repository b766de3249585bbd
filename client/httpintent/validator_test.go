package httpintent

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestValidatorOf(t *testing.T) {
	date := func(s string) http.Header {
		return http.Header{"Last-Modified": {"Sat, 01 Jan 2022 00:00:00 GMT"}, "Date": {s}}
	}
	for _, test := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{"Etag": {`"a"`}}, `"a"`},
		{http.Header{"Etag": {`W/"a"`}}, ""},
		{http.Header{"Etag": {`a`}}, ""},
		{http.Header{"Etag": {`"a"b"`}}, ""},
		{http.Header{"Etag": {`"`}}, ""},
		{http.Header{"Etag": {`"a"`, `"b"`}}, ""},
		{http.Header{"Etag": {`W/"a"`}, "Last-Modified": {"Sat, 01 Jan 2022 00:00:00 GMT"}, "Date": {"Sat, 01 Jan 2022 01:00:00 GMT"}}, ""},
		{date("Sat, 01 Jan 2022 00:01:00 GMT"), "Sat, 01 Jan 2022 00:00:00 GMT"},
		{date("Sat, 01 Jan 2022 00:00:59 GMT"), ""},
		{date("now"), ""},
		{http.Header{}, ""},
	} {
		if got, _ := validatorOf(test.header); got != test.want {
			t.Errorf("%v: %q, want %q", test.header, got, test.want)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-99/1234", "bytes 5-5/6", "bytes 0-9/*", "bytes */10", "bytes 9-5/20", "items 0-1/2", "bytes 0-10/10", "bytes +1-2/3", "", "bytes 1-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		s, size, ok := parseContentRange(v)
		if !ok {
			return
		}
		if s.From < 0 || s.From >= s.To || s.To > size {
			t.Errorf("%q: %v of %d", v, s, size)
		}
		again := fmt.Sprintf("bytes %d-%d/%d", s.From, s.To-1, size)
		if t2, size2, ok := parseContentRange(again); !ok || t2 != s || size2 != size || !strings.HasPrefix(strings.ToLower(v), "bytes ") {
			t.Errorf("%q is %q", v, again)
		}
	})
}
