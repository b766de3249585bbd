package stage

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAct(t *testing.T) {
	jobs := map[string]Job{
		"double": Typed(func(n int) (int, error) { return 2 * n, nil }),
		"fail":   Typed(func(struct{}) (int, error) { return 0, errors.New("no way") }),
		"odd":    Typed(func(struct{}) (any, error) { return func() {}, nil }),
	}
	in := `{"kind":"double","args":21}
{"kind":"double","args":"x"}
{"kind":"fail","args":{}}
{"kind":"odd","args":{}}
{"kind":"nothing"}
`
	var out strings.Builder
	if err := act(strings.NewReader(in), &out, jobs); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(a.Result)+a.Error)
	}
	want := []string{
		"42", "json: cannot unmarshal string into Go value of type int", "no way",
		"json: unsupported type: func()", `unknown job "nothing"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := act(strings.NewReader("{"), &out, jobs); err == nil {
		t.Error("a broken job gives no error")
	}
}

func TestTail(t *testing.T) {
	var l tail
	for range 3 {
		_, _ = l.Write([]byte(strings.Repeat("x", tailSize/2)))
	}
	_, _ = l.Write([]byte("end"))
	if s := l.String(); len(s) != tailSize || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes", len(s))
	}
}
