package control

import (
	"encoding/json"
	"testing"
)

// Every question is either refused or understood. The intents of a question that is
// understood come back unchanged.
func FuzzQuestion(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"host":"www.example.net","service":"443","intents":{"category":"bulktransfer","filesize":300000000}}`,
		`{"kind":"connect","host":"2001:db8::1","service":"80","family":"IPv6","transport":"datagram","bound":"fd00::1"}`,
		`{"intents":{"category":"category(-9)","burstiness":"7","timeliness":"Streaming","resilience":"99999999999","duration":-1,"bitrate":0}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var q Question
		if json.Unmarshal(b, &q) != nil {
			return
		}
		mq, err := q.question()
		if err != nil {
			return
		}
		in := intents(mq.Intents)
		again, err := in.Set()
		if err != nil || again != mq.Intents {
			t.Errorf("%+v comes back as %+v, %v", mq.Intents, again, err)
		}
	})
}
