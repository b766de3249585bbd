package policy

// This file has what only serves the logs and the output in the format of the Socket
// Intents prototype.

// LineLogger is implemented by policies that write a log in the format of the Socket
// Intents prototype. LogFile returns the path of the log, "" for none. LogLine returns
// the line for the decision just made, without the newline, which the manager adds. ""
// means no line. If the line begins with "<ts>", the manager replaces that by the time
// in seconds and microseconds. LogLine is called only while LogFile names a file. The
// call comes directly after Choose, with that call's request and decision, and before
// the next Choose, so a policy may use figures that it has kept. The manager writes the
// file outside of the request path.
type LineLogger interface {
	LogFile() string
	LogLine(*Request, Decision) string
}

// Annotator adds text, for instance " (default)", to the line that the daemon prints
// for a prefix's address when the policy is loaded. See AnnotateDefault.
type Annotator interface {
	Annotate(*Prefix) string
}

// Announcer adds lines to the daemon's output when the policy is loaded. They come
// after the addresses and the log's name. A line must not contain a newline.
type Announcer interface {
	Announcement() []string
}

// AnnotateDefault is the annotation that most policies use: " (default)" after default
// prefixes.
func AnnotateDefault(p *Prefix) string {
	if p.Default {
		return " (default)"
	}
	return ""
}
