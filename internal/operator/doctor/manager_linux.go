package doctor

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/internal/bounded"
)

// manager finds out which program configures an interface. It looks at the files that
// these programs keep below /run, and skips those that do not look as expected.
func (o *Options) manager(index int, name string) Manager {
	run := o.Run
	if run == "" {
		run = "/run"
	}
	number := strconv.Itoa(index)
	link := readSmall(filepath.Join(run, "systemd/netif/links", number))
	file := filepath.Base(assigned(link, "NETWORK_FILE"))
	if state := assigned(link, "ADMIN_STATE"); state != "" && state != "unmanaged" && strings.HasSuffix(file, ".network") {
		return Manager{Networkd, file}
	}
	if id := assigned(readSmall(filepath.Join(run, "NetworkManager/devices", number)), "connection-uuid"); id != "" {
		return Manager{NetworkManager, id}
	}
	// ifupdown and ifupdown-ng have such a file in different places, with a line for
	// each interface that is up.
	for _, f := range []string{"network/ifstate", "ifstate"} {
		if assigned(readSmall(filepath.Join(run, f)), name) != "" {
			return Manager{Kind: Ifupdown}
		}
	}
	if assigned(readSmall(filepath.Join(run, "network/ifstate."+filepath.Base(name))), name) != "" {
		return Manager{Kind: Ifupdown}
	}
	return Manager{}
}

// assigned returns the value of the first line KEY=VALUE.
func assigned(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// maxRunFile bounds such a file. A list of interfaces that are up has a line for each.
const maxRunFile = 1 << 20

// readSmall reads a file of at most maxRunFile bytes. It returns nothing if that fails: a
// part could lack the line that counts.
func readSmall(path string) string {
	f, err := bounded.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, err := bounded.ReadAll(f, maxRunFile)
	if err != nil {
		return ""
	}
	return string(b)
}
