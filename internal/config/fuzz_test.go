package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: no input makes the parser panic; every error has a message; what
// is accepted in either grammar converts to a file that says the same.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/samples/*.conf", "testdata/errors/*.conf", "testdata/strange.*", "*.hcl"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no files like %s: %v", pattern, err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Add([]byte("policy \"score\" {\n  minimize = <<E\n${a}\nE\n  require = a ? b : -c\n}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse(src, "f")
		var all *Error
		switch {
		case err == nil:
			checkRoundTrip(t, c)
		case !errors.As(err, &all) || len(all.Diagnostics) == 0 || len(all.Diagnostics) > maxDiagnostics+1:
			t.Fatalf("strange error %v", err)
		}
	})
}

// TestHostile feeds what could overflow the stack, take long or fill the memory
// of a parser without bounds.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: parses files of the largest size")
	}
	// Enough for more tokens than are allowed, if they are one byte each.
	fill := func(unit string) string { return strings.Repeat(unit, 70_000/len(unit)) }
	for name, src := range map[string]string{
		"brackets":        "a = " + fill("["),
		"parentheses":     "a = " + fill("("),
		"braces":          fill("a {\n"),
		"unary":           "a = " + fill("!"),
		"minus":           "a = " + fill("- "),
		"conditions":      "a = " + fill("a?b:"),
		"sums":            "policy \"a\" {\n  b = " + fill("1+")[:60_000] + "1\n}\n",
		"member":          "policy \"a\" {\n  b = a" + fill("[b]")[:60_000] + "\n}\n",
		"templates":       "a = " + fill(`"${`),
		"long string":     "socket = \"" + fill("x") + "\"",
		"long name":       fill("x") + " = 1",
		"many settings":   fill("a = 1\n"),
		"many blocks":     fill("prefix \"10.0.0.1\" {\n}\n"),
		"products":        "decisions {\n  keep = (" + fill("1e300*")[:60_000] + "1) % 3\n}\n",
		"semicolons":      fill(";"),
		"stray":           ";" + fill("-"),
		"original blocks": fill("prefix 10.0.0.1/8{};"),
		"settings":        "policy \"p\" {" + fill("set a 1;") + "};",
		"double":          "policy \"p\" { set a " + fill("9") + ".0; };",
		"quotes":          ";" + fill("\""),
		"colons":          ";" + fill("a:"),
		"lines":           ";" + fill("\n") + "x",
	} {
		t.Run(name, func(t *testing.T) {
			if len(src) > MaxSize {
				src = src[:MaxSize]
			}
			c, err := Parse([]byte(src), "f")
			switch {
			case err == nil:
				checkRoundTrip(t, c)
			case len(err.Error()) > 100_000:
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
