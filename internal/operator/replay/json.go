package replay

import (
	"encoding/json"
	"io"
	"time"

	"github.com/socket-intents/mamma/internal/display"
)

// jsonPrinter prints a line for each decision, {"decision": {...}}, and then
// {"summary": {...}}. Members that do not apply are absent.
type jsonPrinter struct{ *json.Encoder }

func newJSONPrinter(w io.Writer) jsonPrinter {
	e := json.NewEncoder(display.JSONWriter(w))
	e.SetEscapeHTML(false)
	return jsonPrinter{e}
}

type jsonDecision struct {
	Line        int              `json:"line"`
	Time        time.Time        `json:"time,omitzero"`
	Kind        string           `json:"kind"`
	Destination string           `json:"destination,omitempty"`
	Intents     map[string]int64 `json:"intents,omitempty"`
	Same        bool             `json:"same"`
	Recorded    jsonChoice       `json:"recorded"`
	Replayed    jsonChoice       `json:"replayed"`
	// How long the transfer takes with either choice, as one policy predicts both.
	RecordedMS float64 `json:"recorded_time_ms,omitempty"`
	ReplayedMS float64 `json:"replayed_time_ms,omitempty"`
}

type jsonChoice struct {
	Policy      string  `json:"policy"`
	Prefix      string  `json:"prefix,omitempty"`
	Reuse       *int32  `json:"reuse_fd,omitempty"`
	Refused     bool    `json:"refused,omitempty"`
	Multipath   bool    `json:"multipath,omitempty"`
	Resolver    string  `json:"resolver,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	PredictedMS float64 `json:"predicted_ms,omitempty"`
}

type jsonSummary struct {
	Decisions  int           `json:"decisions"`
	Same       int           `json:"same"`
	Predicted  int           `json:"predicted"`
	RecordedMS float64       `json:"recorded_mean_ms,omitempty"`
	ReplayedMS float64       `json:"replayed_mean_ms,omitempty"`
	Prefixes   []jsonPrefix  `json:"prefixes"`
	Refusals   []jsonRefusal `json:"refusals,omitempty"`
	Classes    []jsonClass   `json:"classes"`
	Moves      []jsonMove    `json:"differences"`
}

type jsonRefusal struct {
	Reason   string `json:"reason"`
	Recorded int    `json:"recorded"`
	Replayed int    `json:"replayed"`
}

type jsonPrefix struct {
	Prefix   string `json:"prefix,omitempty"`
	Refused  bool   `json:"refused,omitempty"`
	Recorded int    `json:"recorded"`
	Replayed int    `json:"replayed"`
	Both     int    `json:"both"`
}

type jsonClass struct {
	Category  string `json:"category,omitempty"`
	Size      string `json:"size,omitempty"`
	Decisions int    `json:"decisions"`
	Same      int    `json:"same"`
}

type jsonMove struct {
	Count          int    `json:"count"`
	From           string `json:"from,omitempty"`
	FromRefused    bool   `json:"from_refused,omitempty"`
	To             string `json:"to,omitempty"`
	ToRefused      bool   `json:"to_refused,omitempty"`
	Category       string `json:"category,omitempty"`
	Size           string `json:"size,omitempty"`
	Line           int    `json:"first_line"`
	RecordedReason string `json:"recorded_reason"`
	ReplayedReason string `json:"replayed_reason"`
}

func (p jsonPrinter) result(r *Result) error {
	out := jsonDecision{
		Line: r.Line, Time: r.Request.Now, Kind: r.Request.Kind.String(), Same: r.Same, Recorded: jsonOf(&r.Recorded), Replayed: jsonOf(&r.Replayed),
		RecordedMS: millis(r.RecordedTime), ReplayedMS: millis(r.ReplayedTime),
	}
	if to := destination(r.Request); to != "-" {
		out.Destination = to
	}
	for o, v := range r.Request.Intents.All() {
		if out.Intents == nil {
			out.Intents = map[string]int64{}
		}
		out.Intents[o.String()] = v
	}
	return p.Encode(map[string]any{"decision": out})
}

func jsonOf(c *Choice) jsonChoice {
	out := jsonChoice{Policy: c.Policy, Prefix: jsonName(prefixName(c.Prefix)), Refused: c.Refused, Multipath: c.Multipath, Resolver: c.Resolver, Reason: c.Reason, PredictedMS: millis(c.Predicted)}
	if c.Reused {
		out.Reuse = &c.FD
	}
	return out
}

func jsonName(text string) string {
	if text == "-" {
		return ""
	}
	return text
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (p jsonPrinter) summary(s *Summary) error {
	a, b := s.Means()
	out := jsonSummary{
		Decisions: s.Decisions, Same: s.Same, Predicted: s.Predicted, RecordedMS: millis(a), ReplayedMS: millis(b),
		Prefixes: []jsonPrefix{}, Classes: []jsonClass{}, Moves: []jsonMove{},
	}
	for _, n := range s.Prefixes() {
		out.Prefixes = append(out.Prefixes, jsonPrefix{jsonName(prefixName(n.Prefix)), n.Refused, n.Recorded, n.Replayed, n.Both})
	}
	for _, n := range s.Refusals() {
		out.Refusals = append(out.Refusals, jsonRefusal(n))
	}
	for _, n := range s.Classes() {
		out.Classes = append(out.Classes, jsonClass{n.Class.Category, n.Class.Size.String(), n.Decisions, n.Same})
	}
	for _, m := range s.Moves() {
		out.Moves = append(out.Moves, jsonMove{
			m.Count, jsonName(prefixName(m.From.Prefix)), m.From.Refused, jsonName(prefixName(m.To.Prefix)), m.To.Refused, m.Class.Category, m.Class.Size.String(), m.Line, m.RecordedReason, m.ReplayedReason,
		})
	}
	return p.Encode(map[string]any{"summary": out})
}
