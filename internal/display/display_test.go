package display_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/display"
)

// hostile are texts that a terminal or a shell must not get as they are.
var hostile = []string{
	"", "wlan0", "wlan 0", "-rf", "a;true", "$(true)", "`true`", "a'b", `a"b\c`, "a&b|c>d<e", "#x", "~", "*", "a\nb", "a\tb",
	"\x1b[2J", "\x1b]0;title\a", "\u009b31m", "\x7f\b", "\u202egnp", "\u2066x\u2069", "\ufeff", "caf\u00e9", "\u65e5\u672c", "\xff\xfe", "\u2028", "\U000e0041", "\ufffd",
}

// fit tells whether a terminal takes all of s for text; lines says that s may
// have line ends and tabs.
func fit(s string, lines bool) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) && (!lines || r != '\n' && r != '\t')
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"wlan0": "wlan0", "caf\u00e9 \u65e5\u672c": "caf\u00e9 \u65e5\u672c", "a\x1b[31mb": "a?[31mb", "a\nb\tc": "a?b?c", "\u202ex": "?x", "\xff": "?", "\u009b": "?",
	} {
		if got := display.Clean(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := display.CleanLines("a\n\tb\x1b\n"); got != "a\n    b?\n" {
		t.Errorf("lines: %q", got)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "eth0.7": "eth0.7", "2001:db8::1/64": "2001:db8::1/64", "a b": "'a b'", "a'b": `'a'\''b'`, "$(true)": "'$(true)'", "a;b": "'a;b'", "#a": "'#a'", "~": "'~'",
	} {
		if got := display.ShellQuote(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

// A shell that we did not write takes what was quoted for the text itself.
func TestShellTakesQuotedTextAsItIs(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell: ", err)
	}
	for _, text := range hostile {
		got, err := exec.Command(sh, "-c", "printf %s "+display.ShellQuote(text)).Output()
		if err != nil || string(got) != text {
			t.Errorf("%q: the shell has %q, %v", text, got, err)
		}
	}
}

func TestWriter(t *testing.T) {
	const red, reset = "\x1b[31m", "\x1b[0m"
	for _, tt := range []struct {
		name    string
		allowed []string
		writes  []string
		want    string
	}{
		{"text", nil, []string{"a\tb\n", "caf\u00e9\n"}, "a\tb\ncaf\u00e9\n"},
		{"sequences", nil, []string{red + "x" + reset}, "?[31mx?[0m"},
		{"own sequences", []string{red, reset}, []string{red + "x" + reset + "\x1b[2J"}, red + "x" + reset + "?[2J"},
		{"in parts", []string{red}, []string{"\x1b", "[31", "mx", "\xc3", "\xa9"}, red + "x\u00e9"},
		{"another sequence in parts", []string{red}, []string{"\x1b", "[", "5m"}, "?[5m"},
		{"no text", nil, []string{"\xff\xc3", "(\u009b\u202e\x00\x7f\r"}, "??(?????"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			w := display.NewWriter(&got, tt.allowed...)
			for _, s := range tt.writes {
				if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
					t.Errorf("%q: %d, %v", s, n, err)
				}
			}
			if got.String() != tt.want {
				t.Errorf("got %q, want %q", &got, tt.want)
			}
		})
	}
}

func FuzzDisplay(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, 1)
	}
	f.Fuzz(func(t *testing.T, s string, at int) {
		if got := display.Clean(s); !fit(got, false) {
			t.Errorf("Clean: %q becomes %q", s, got)
		} else if fit(s, false) && !strings.ContainsRune(s, utf8.RuneError) && got != s {
			t.Errorf("Clean: %q becomes %q", s, got)
		}
		if got := display.CleanLines(s); !fit(got, true) || strings.Count(got, "\n") != strings.Count(s, "\n") {
			t.Errorf("CleanLines: %q becomes %q", s, got)
		}
		if q := display.ShellQuote(s); unquote(q) != s {
			t.Errorf("ShellQuote: %q becomes %s", s, q)
		}
		var written bytes.Buffer
		w := display.NewWriter(&written)
		cut := min(max(at, 0), len(s))
		for _, part := range []string{s[:cut], s[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		}
		if !fit(written.String(), true) {
			t.Errorf("Writer: %q becomes %q", s, &written)
		}
		text, err := json.Marshal(map[string]string{"k": s})
		if err != nil {
			t.Fatal(err)
		}
		escaped := display.JSON(text)
		var before, after map[string]string
		if err := json.Unmarshal(text, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(escaped, &after); err != nil {
			t.Errorf("JSON: %s is not JSON: %v", escaped, err)
		}
		if diff := cmp.Diff(before, after); diff != "" || !fit(string(escaped), true) {
			t.Errorf("JSON: %q becomes %q\n%s", text, escaped, diff)
		}
	})
}

// unquote reads a word as a POSIX shell does, of the kinds that ShellQuote makes;
// whatever else a shell would act upon makes it nonsense.
func unquote(word string) string {
	var out strings.Builder
	for word != "" {
		if rest, ok := strings.CutPrefix(word, "'"); ok {
			text, after, _ := strings.Cut(rest, "'")
			out.WriteString(text)
			word = after
			continue
		}
		if rest, ok := strings.CutPrefix(word, `\'`); ok {
			out.WriteByte('\'')
			word = rest
			continue
		}
		if strings.ContainsRune(" \t\n\"\\$`|&;<>()*?[]{}#~=!^", rune(word[0])) || word[0] >= utf8.RuneSelf {
			return "a shell acts upon " + word
		}
		out.WriteByte(word[0])
		word = word[1:]
	}
	return out.String()
}
