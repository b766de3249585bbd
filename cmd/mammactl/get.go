package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http/httpproxy"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/client/httpintent"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/display"
	"github.com/socket-intents/mamma/internal/display/terminal"
)

const getHelp = `Fetch a file by HTTP over several networks at once, without the server's help. mamma
says which networks there are: its first choice for the intents, and the alternates
that cost no more. A metered network takes part beside a free one only with the intents
timeliness=streaming or timeliness=interactive, or with --prefer, and with no more bytes
than its budget has left. Each network fetches ranges, as many as it has the time for; one
that dies costs nothing but its range.

The server must support byte ranges, send a strong validator (an entity tag, or a date of
modification that is a minute old), and not compress. Otherwise, and if no mamma answers,
one network is used. What the server answers to each range is compared, so that nothing of
another version of the file is taken.

Without -o the file is named after the last part of the URL. "-o -" writes to standard
output, in order. A device, a FIFO and the file that a link leads to are written to in
the same way, if they exist. Any other file is FILE.part until it is complete, and
FILE.part.json beside it says which version of the file it belongs to and which parts are
there. The same command goes on from there, if the server still has that version. Without
a strong validator nothing is kept. A FILE.part of another URL, or one without
FILE.part.json, which may be another program's, is overwritten only with --restart. In a
folder where no file can be made, a FILE that can be written to is written to directly.

The length is verified, and the digest that --digest gives; without one, that of the
server if it sends one (Repr-Digest, RFC 9530). --digest takes sha-256 and sha-512, as
"sha-256:" and hexadecimal digits or as "sha-256=:" and Base64 and ":".

Proxies are those of $http_proxy, $https_proxy and $no_proxy. Redirections are followed,
ten at most. On a terminal a line for each network shows what it brings.

Exit status: as curl's: 0 done, 1 unknown kind of URL, 2 wrong usage, 3 malformed URL,
5 the proxy's name is wrong or not resolved, 6 name not resolved, 7 not connected, 18
incomplete, 22 the server says 400 or more, 23 not written, 28 too late, 35 TLS failed, 47
too many redirections, 52 no answer, 56 the connection broke, 60 the certificate is not
trusted, 77 no certificates in --cacert; besides, 120 for another digest, 130 if interrupted.`

const getExample = `  mammactl get https://www.example.net/image.iso
  mammactl get --digest "sha-256:$(cat SUM)" http://www.example.net/a.iso
  mammactl get --prohibit cost=expensive -o film http://www.example.net/f
  mammactl get -o - http://www.example.net/backup.tar.gz | tar xz
  mammactl get --json http://www.example.net/image.iso | jq .networks`

// getting is one run of get.
type getting struct {
	app *app

	output   string
	intents  intent.Set
	selected selection
	digest   string
	header   []string
	socket   string
	cacert   string
	one      bool
	quiet    bool
	restart  bool
	maxTime  time.Duration

	url     *url.URL
	check   *digest
	manager bool
	begun   time.Time
}

func (a *app) getCommand() *cobra.Command {
	g := &getting{app: a}
	cmd := &cobra.Command{
		Use: "get [-o FILE] [--intents INTENTS] [flags] URL", Short: "Fetch a file over several networks at once",
		Long: getHelp, Example: getExample, Args: oneArg("a URL, such as https://www.example.net/image.iso", ""), DisableFlagsInUseLine: true,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := g.prepare(args[0]); err != nil {
				return err
			}
			return g.exit(cmd.Context(), g.run(cmd.Context()))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&g.output, "output", "o", "", "`FILE` to write; - for standard output (default: the last part of the URL)")
	f.Var(&g.intents, "intents", "what is known of the transfer, such as category=bulktransfer,filesize=300M")
	_ = cmd.RegisterFlagCompletionFunc("intents", completeIntents) // fails only for unknown flags
	f.StringVar(&g.digest, "digest", "", "what the file must have, as sha-256:`HEX`")
	f.StringArrayVarP(&g.header, "header", "H", nil, "`FIELD: VALUE` to send; may be repeated")
	f.BoolVar(&g.one, "one-network", false, "use the network of mamma's choice only")
	f.BoolVar(&g.restart, "restart", false, "begin anew, even if a part is there")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "show nothing but errors")
	f.Var(&durationFlag{to: &g.maxTime, min: time.Millisecond, max: 365 * day, zero: true}, "max-time", "give up after this `TIME`, such as 10m or 1d; 0: never")
	f.StringVar(&g.cacert, "cacert", "", "trust the certificates in this `FILE` (PEM) instead of the host's")
	f.StringVar(&g.socket, "socket", "", "path of mamma's request socket (default where it usually is)")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault))
	_ = cmd.RegisterFlagCompletionFunc("digest", cobra.FixedCompletions([]cobra.Completion{"sha-256:", "sha-512:"}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	a.selectionFlags(cmd, &g.selected)
	return cmd
}

// prepare checks the arguments.
func (g *getting) prepare(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return g.fail(exitMalformed, fmt.Errorf("%q is not a URL", target))
	case u.Scheme == "" || u.Host == "" && u.Opaque == "":
		return g.fail(exitMalformed, fmt.Errorf("%q is not a URL; it begins with http:// or https://", target))
	case u.Scheme != "http" && u.Scheme != "https":
		return g.fail(exitProtocol, fmt.Errorf("%q: neither http nor https", target))
	case u.Hostname() == "":
		return g.fail(exitMalformed, fmt.Errorf("%q names no host", target))
	case !validPort(u):
		return g.fail(exitMalformed, fmt.Errorf("%q: the port must be at most 65535", target))
	}
	g.url = u
	if g.output == "" {
		name := path.Base(u.Path)
		if strings.HasSuffix(u.Path, "/") || name == "." || name == "/" || name == ".." || name != clean(name) {
			return usageError{fmt.Errorf("the URL has no name for the file; give one with -o")}
		}
		g.output = name
	}
	if _, tty := terminal.Of(g.app.out); g.output == "-" && tty {
		return usageError{errors.New("standard output is a terminal; name a file with -o")}
	}
	if g.output == "-" && g.app.json {
		return usageError{errors.New("--json and the file cannot both go to standard output")}
	}
	if g.digest != "" {
		if g.check, err = parseDigest(g.digest); err != nil {
			return usageError{err}
		}
	}
	for _, h := range g.header {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return usageError{fmt.Errorf("--header takes FIELD: VALUE, not %q", h)}
		}
		switch http.CanonicalHeaderKey(name) {
		case "Range", "If-Range":
			return usageError{fmt.Errorf("--header %s: get asks for ranges itself, and fetches whole files", name)}
		}
	}
	return nil
}

// validPort tells whether the URL's port, if it has one, is in range.
func validPort(u *url.URL) bool {
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil
}

// run fetches the file.
func (g *getting) run(ctx context.Context) error {
	g.begun = time.Now()
	if g.maxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, g.maxTime, errTooLate)
		defer cancel()
	}
	transport, err := g.transport(ctx)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	daemon := transport.Dialer.Daemon
	defer leave(ctx, daemon)
	g.manager = daemon.Ping(ctx) == nil
	if !g.manager && !g.quiet {
		g.say("no mamma answers: over one network")
	}
	ctx = intent.NewContext(ctx, g.intents.Merge(intent.Set{}.WithCategory(intent.CategoryBulkTransfer)))
	ctx = client.WithSelection(ctx, g.selected.properties())
	web := &http.Client{Transport: readable{transport}, CheckRedirect: checkRedirect}
	if g.output == "-" {
		return g.toOutput(ctx, web, g.app.out, func() error { return nil })
	}
	if info, err := os.Lstat(g.output); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return g.into(ctx, web)
	}
	part, err := openPart(g.output, g.restart)
	if mustBeDirect(g.output, err) {
		return g.into(ctx, web)
	} else if err != nil {
		return &writeError{err}
	}
	defer part.close()
	return g.toFile(ctx, web, part)
}

// readable returns errLocation for a redirection whose Location is not a URL. The error
// of package http for it can be told from others only by its text.
type readable struct{ next http.RoundTripper }

func (r readable) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil || resp.StatusCode < 300 || resp.StatusCode > 399 {
		return resp, err
	}
	if _, err := resp.Location(); err != nil && !errors.Is(err, http.ErrNoLocation) {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %q", errLocation, resp.Header.Get("Location"))
	}
	return resp, nil
}

// checkRedirect permits redirections by HTTP and HTTPS. It removes credentials if the
// scheme, host or port is another one. Package http removes them for other hosts, but
// keeps them for subdomains, for another port of the host, and for the host without TLS.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: the server redirects to %q", errScheme, req.URL)
	}
	if req.URL.Hostname() == "" || !validPort(req.URL) {
		return fmt.Errorf("%w: %q", errLocation, req.URL)
	}
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization"} {
			req.Header.Del(name)
		}
	}
	return nil
}

// leavePatience bounds the wait for the manager at the end. Flush may take longer with
// the prototype's daemon, but a person or a script is waiting for this program.
const leavePatience = time.Second

// leave reports the results of the connections to the manager. It waits for answers that
// the prototype's daemon still owes, and closes the connections to the manager.
func leave(ctx context.Context, d *client.Daemon) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leavePatience)
	defer cancel()
	_ = d.Flush(ctx) // an error is ignored: the manager is gone
	_ = d.Close()
}

// maxRoots bounds a file of certificates, in bytes. That of a whole host has some 200 kB.
const maxRoots = 16 << 20

func (g *getting) transport(ctx context.Context) (*httpintent.Transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		base = new(http.Transport)
	}
	base = base.Clone()
	base.Proxy = proxies(httpproxy.FromEnvironment())
	if g.cacert != "" {
		pem, err := config.ReadFile(ctx, g.cacert, maxRoots+1) // perhaps from a FIFO, as a shell makes
		if ctx.Err() != nil {
			return nil, err
		}
		if err == nil && len(pem) > maxRoots {
			err = fmt.Errorf("%s is longer than %d bytes", g.cacert, maxRoots)
		}
		if err != nil {
			return nil, &rootsError{err}
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, &rootsError{fmt.Errorf("%s holds no certificate in PEM", g.cacert)}
		}
		base.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	t := &httpintent.Transport{Dialer: &client.Dialer{Daemon: &client.Daemon{Path: g.socket}}, Base: base, MaxPatterns: -1}
	if !g.one {
		t.Split = new(httpintent.Split)
	}
	return t, nil
}

// request asks for the file from offset on, if the server's version still has the
// validator. If validator is "", request asks for the whole file in any version.
func (g *getting) request(ctx context.Context, web *http.Client, offset int64, validator string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "mammactl/"+g.app.version)
	req.Header.Set("Accept-Encoding", "identity")
	for _, h := range g.header {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if validator != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", validator)
	}
	answered := g.waiting()
	resp, err := web.Do(req)
	answered()
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 && (resp.StatusCode != http.StatusRequestedRangeNotSatisfiable || validator == "") {
		_ = resp.Body.Close()
		return nil, &statusError{resp.Status, resp.StatusCode}
	}
	if resp.StatusCode == http.StatusPartialContent && req.Header.Get("Range") == "" {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: the server sends a part that was not asked for (%q)", errIncomplete, resp.Header.Get("Content-Range"))
	}
	return resp, nil
}

// toOutput writes the file to something that cannot be rewound, such as standard
// output. It calls begin before the first byte.
func (g *getting) toOutput(ctx context.Context, web *http.Client, to io.Writer, begin func() error) error {
	resp, err := g.request(ctx, web, 0, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()                        //nolint:errcheck // only read
	if resp.StatusCode == http.StatusNotModified { // the user gave a header that permits this answer
		g.unchanged()
		return nil
	}
	if err := begin(); err != nil {
		return &writeError{err}
	}
	check := g.digestOf(resp)
	p := g.newProgress(resp, 0)
	out := &counting{to: to}
	if w, ok := out.to.(*display.Writer); ok {
		out.to = w.Unwrap() // the file is not text to be cleaned
	}
	stop := p.show(func() int64 { return out.n.Load() })
	_, err = io.Copy(io.MultiWriter(out, check.writer()), resp.Body)
	stop()
	if err == nil {
		err = check.verify()
	}
	if err != nil || g.output == "-" {
		return err
	}
	return g.report(p, resp)
}

// into writes the content into an existing file that must not be replaced, or cannot be:
// a device stays a device, a link still leads to the same file, and in some folders
// nothing new can be made. The old content is removed only when the server has answered.
func (g *getting) into(ctx context.Context, web *http.Client) error {
	f, err := openOutput(ctx, g.output, os.O_WRONLY)
	if err != nil && ctx.Err() == nil {
		return &writeError{err}
	} else if err != nil {
		return err
	}
	// Closing the file ends a write that nobody reads.
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	err = g.toOutput(ctx, web, f, func() error {
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return err
		}
		return f.Truncate(0)
	})
	if !stop() {
		return context.Cause(ctx)
	}
	if closed := f.Close(); err == nil && closed != nil {
		return &writeError{closed}
	}
	return err
}

// toFile writes to a file, which gets its name when it is complete.
func (g *getting) toFile(ctx context.Context, web *http.Client, part *part) error {
	address := g.url.Redacted()
	var kept partState
	if !g.restart {
		var err error
		if kept, err = part.known(address); err != nil {
			return &writeError{err}
		}
	}
	resp, err := g.request(ctx, web, kept.missing(), kept.Validator)
	if refused := (*statusError)(nil); kept.Validator != "" && errors.As(err, &refused) && refused.ofRange() {
		kept = partState{} // the server may still send the whole file
		resp, err = g.request(ctx, web, 0, "")
	}
	if err == nil && kept.Validator != "" && !kept.continues(resp) {
		switch resp.StatusCode {
		case http.StatusOK: // the file has changed since
		default:
			_ = resp.Body.Close()
			resp, err = g.request(ctx, web, 0, "")
		}
		kept = partState{}
	}
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNotModified { // the user gave a header that permits this answer
		_ = resp.Body.Close()
		g.unchanged()
		return nil
	}
	state, err := part.begin(address, resp, kept)
	if err != nil {
		_ = resp.Body.Close()
		return &writeError{err}
	}
	p := g.newProgress(resp, kept.bytes())
	if _, split := httpintent.ProgressOf(resp); !split && kept.Validator != "" {
		end := kept.end()
		p.kept = part.offset + kept.Size - end // bytes between gaps are fetched again
		resp.Body = &limitedBody{io.LimitReader(resp.Body, end-part.offset), resp.Body}
	}
	stop := p.show(part.written)
	keep := part.keepUp(state, p)
	err = httpintent.Save(part, resp, kept.Ranges...)
	keep()
	stop()
	size := p.size()
	if kept.Validator != "" {
		size = kept.Size
	}
	if got := p.ranges(part.offset, part.written(), kept.Ranges); err == nil && size >= 0 && !whole(got, size) {
		// The file's length does not show that bytes are missing, because another network
		// may have written its end.
		err = fmt.Errorf("%w: the server has sent less than the expected %s", errIncomplete, byteSize(size))
	}
	if err != nil {
		if note := part.keep(state, p); !g.quiet && note != "" {
			g.say(note)
		}
		return err
	}
	if err := part.complete(size, g.digestOf(resp)); err != nil {
		if !part.fresh {
			_ = part.keep(state, p)
		}
		return err
	}
	return g.report(p, resp)
}

// limitedBody is the beginning of a body.
type limitedBody struct {
	io.Reader
	io.Closer
}

// unchanged prints that the server did not send the file, because it has not changed.
func (g *getting) unchanged() {
	what := g.output + " is left as it is"
	if g.output == "-" {
		what = "nothing is written"
	}
	if !g.quiet {
		g.say(what + ": the server says that nothing has changed")
	}
}

// report prints the result.
func (g *getting) report(p *progress, resp *http.Response) error {
	took := time.Since(g.begun)
	if g.app.json {
		return g.app.printJSON(g.result(p, resp, took))
	}
	if g.quiet {
		return nil
	}
	g.say(p.summary(took))
	return nil
}

// say prints a message on standard error.
func (g *getting) say(text string) {
	_, _ = fmt.Fprintf(g.app.err, "mammactl: %s\n", cleanLines(text))
}

// printJSON prints v in the form in which other commands print the daemon's answers.
func (a *app) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(display.JSON(b), '\n'))
	return err
}
