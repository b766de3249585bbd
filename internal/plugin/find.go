package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/internal/bounded"
	"github.com/socket-intents/mamma/policy"
)

// extension ends the names of plugins.
const extension = ".so"

// Find returns the path of the plugin called name. A name with a slash is a path
// already, and Find returns it as it is. For any other name Find looks for NAME.so, or
// for NAME if it ends in .so, in the directories of searchPath, which are separated by
// colons. The first directory that has the file counts. An empty element of searchPath
// is skipped and does not mean the working directory. Nothing is opened or checked. The
// error is an *Error of kind Missing that says where Find has looked.
func Find(name, searchPath string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	file := name
	if !strings.HasSuffix(file, extension) {
		file += extension
	}
	var looked []string
	for _, dir := range filepath.SplitList(searchPath) {
		if dir == "" {
			continue
		}
		path := filepath.Join(dir, file)
		_, err := os.Lstat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &Error{Kind: Missing, Path: path, Reason: "cannot be looked up", Err: err}
		}
		looked = append(looked, dir)
	}
	where := "no directory is searched for plugins"
	if len(looked) > 0 {
		where = "looked in " + strings.Join(looked, ", ")
	}
	return "", &Error{Kind: Missing, Path: file, Reason: fmt.Sprintf("does not exist; %s", where)}
}

// Locate tells what the name of a policy in a configuration means: the name of a policy
// of known, or the path of a plugin; neither for "". A name that is the path of a plugin
// means that plugin. Any other name means the policy of that name in known. If there is
// none, it means NAME.so in one of dirs, or of Directories if dirs is empty. The error
// is that of Find.
func Locate(known policy.Catalogue, name string, dirs []string) (own, path string, err error) {
	if name == "" || IsPath(name) && IsPlugin(name) {
		return "", name, nil
	}
	if own, ok := known.Find(name); ok {
		return own, "", nil
	}
	if len(dirs) == 0 {
		dirs = Directories()
	}
	path, err = Find(name, strings.Join(dirs, string(filepath.ListSeparator)))
	return "", path, err
}

// IsPath tells whether the name of a policy says in which file it is.
func IsPath(name string) bool {
	return strings.ContainsRune(name, '/') || strings.HasSuffix(name, extension)
}

// Directories lists where plugins are looked for unless a configuration says it:
// PREFIX/lib/mam-policies, where PREFIX is the folder that the program is installed in,
// and /usr/local/lib/mam-policies.
func Directories() []string {
	dirs := []string{"/usr/local/lib/mam-policies"}
	if exe, err := os.Executable(); err == nil {
		if dir := filepath.Join(filepath.Dir(exe), "..", "lib", "mam-policies"); dir != dirs[0] {
			dirs = append([]string{dir}, dirs...)
		}
	}
	return dirs
}

// Names lists the plugins that Find finds in dirs, sorted and without extension.
// Directories that cannot be read are left out.
func Names(dirs []string) []string {
	var names []string
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // the list is for people who complete a word
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), extension); ok && name != "" && !e.IsDir() {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// IsPlugin tells whether a Go plugin lies at path, whoever may write to it and
// whatever it was built for. It does not open it as a plugin.
func IsPlugin(path string) bool {
	f, err := bounded.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // read only
	_, fail := readPlugin(f)
	return fail == nil
}
