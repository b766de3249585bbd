package policy

// This file has what serves only the logs and the output of the Socket Intents
// prototype.

// LineLogger is implemented by policies that keep the original's log. LogLine
// gives the line for the decision just made, without the newline, which the
// manager adds; "" is no line. "<ts>" at its start, where the original has a
// time stamp, stands for the seconds and microseconds, which the manager fills
// in. It is called only while LogFile names a file, directly after Choose and
// before its next call, with that call's request and decision: a policy may take
// figures from its own fields. The manager writes off the request path.
type LineLogger interface {
	LogFile() string
	LogLine(*Request, Decision) string
}

// Annotator adds to the line that the daemon prints for a prefix's address when
// the policy is loaded, for instance " (default)". See AnnotateDefault.
type Annotator interface {
	Annotate(*Prefix) string
}

// Announcer adds lines to what the daemon prints when the policy is loaded, behind
// the addresses and the log's name. The lines have no newline; none is allowed.
type Announcer interface {
	Announcement() []string
}

// AnnotateDefault is the annotation that most policies use: " (default)" behind
// default prefixes.
func AnnotateDefault(p *Prefix) string {
	if p.Default {
		return " (default)"
	}
	return ""
}
