package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/testing/chromium"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const screenshotConfig = `policy "adaptive" {}
avoid_metered = false
prefix "192.168.0.0/24" {
  name    = "wifi"
  default = true
}
prefix "10.64.0.0/10" {
  name   = "lte"
  cost   = "metered"
  budget = "5GB"
}
`

// traffic is a minute of small and large transfers, with pauses in which the networks
// are quiet, like the traffic of a laptop.
const traffic = programs + `
over wifi 600000; over lte 6000000
for i in 1 2 3 4; do
	query 20000; sleep 1; query 4000; over wifi 200000
	download 3000000; sleep 2; query 60000; over lte 1500000
done
download 8000000
`

// pulled is what happens while the page is shown.
const pulled = programs + `
ip link set lte down
query 20000; sleep 2; query 4000
`

const programs = `
query() { mammactl run --intents category=query -- curl -s -o /dev/null --max-time 10 http://192.0.2.1/bytes/$1; }
download() { mammactl run --intents category=bulktransfer,filesize=$1 -- curl -s -o /dev/null --max-time 20 http://192.0.2.1/bytes/$1; }
over() { curl -s -o /dev/null --max-time 10 --interface $1 http://192.0.2.1/bytes/$2; }
`

// The size of the picture in pixels. The width is that of README.
const pictureWidth, pictureHeight = 1160, 1080

// screenshot makes the picture of the page for README. It shows two emulated networks
// after a minute of traffic, one of which is taken away, and the description of a
// download.
func screenshot(ctx context.Context, dir, file string, listener *os.File) error {
	emulate := func(rate testbed.BitRate, delay time.Duration) *testbed.LinkConfig {
		s := testbed.Shape{Rate: rate, Delay: delay}
		return &testbed.LinkConfig{Down: s, Up: s}
	}
	bed, err := testbed.New(testbed.Config{Congestion: "cubic", Networks: []testbed.NetworkConfig{
		{Name: "wifi", Prefix4: netip.MustParsePrefix("192.168.0.23/24"), SourceRule: true, Emulate: emulate(5*testbed.Mbit, 5*time.Millisecond)},
		{Name: "lte", Prefix4: netip.MustParsePrefix("10.64.3.9/10"), SourceRule: true, Emulate: emulate(20*testbed.Mbit, 30*time.Millisecond)},
	}})
	if err != nil {
		return err
	}
	defer bed.Close()
	bin := filepath.Join(dir, "bin")
	if err := buildAll(ctx, bin); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.conf"), []byte(screenshotConfig), 0o600); err != nil {
		return err
	}
	command := func(line string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", line)
		cmd.Dir, cmd.Env = dir, environment(dir, bin)
		return cmd
	}
	if err := bed.Client.Start(command("exec mamma policy.conf >mamma.log 2>&1")); err != nil {
		return err
	}
	if err := bed.Client.Run(command("i=0; until mammactl status >/dev/null 2>&1; do i=$((i+1)); test $i -lt 300 || exit 1; sleep 0.1; done")); err != nil {
		said, _ := os.ReadFile(filepath.Join(dir, "mamma.log")) //nolint:gosec // the daemon's log
		return fmt.Errorf("mamma does not answer: %w\n%s", err, said)
	}
	link, err := startPage(bed, listener, dir, bin)
	if err != nil {
		return err
	}
	stop := waiting(func() string { return "transferring this and that" })
	err = bed.Client.Run(command(traffic))
	stop()
	if err != nil {
		return fmt.Errorf("the traffic: %w", err)
	}
	b, err := chromium.Start(dir, nil)
	if err != nil {
		return err
	}
	picture, err := photograph(ctx, b, link, func() error { return bed.Client.Run(command(pulled)) })
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, picture, 0o644) //nolint:gosec // for everybody
}

// photograph opens the page, calls happen, opens the description of the latest download
// over lte, and returns a picture.
func photograph(ctx context.Context, b *chromium.Browser, link string, happen func() error) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p, err := b.Open(ctx, link)
	if err != nil {
		return nil, err
	}
	if err := p.Show(ctx, pictureWidth, pictureHeight, false); err != nil {
		return nil, err
	}
	if err := p.Await(ctx, `document.querySelectorAll("#decisions-rows tr").length > 5`); err != nil {
		return nil, err
	}
	if err := happen(); err != nil {
		return nil, err
	}
	const latest = `[...document.querySelectorAll("#decisions-rows tr")].find(r => /bulktransfer, 8\.0\sMB/.test(r.innerText))`
	for _, condition := range []string{
		`document.querySelector(".card.gone")`,
		`document.getElementById("decisions-rows").innerText.includes("lte has gone")`,
		`(` + latest + `.querySelector("button").click(), true)`,
		`document.querySelector(".detail") && (document.activeElement.blur(), true)`,
		`new Promise(done => setTimeout(() => done(true), 1500))`,
	} {
		if err := p.Await(ctx, condition); err != nil {
			var text string
			_ = p.Eval(context.WithoutCancel(ctx), `document.querySelector("main").innerText`, &text)
			return nil, fmt.Errorf("%w; the page says\n%s", err, text)
		}
	}
	raw, err := p.Screenshot(ctx)
	if err != nil {
		return nil, err
	}
	return small(raw)
}

// small returns the picture with its 256 most frequent colours, which takes a third of
// the bytes.
func small(raw []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	r := img.Bounds()
	often := map[color.RGBA]int{}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			often[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++ //nolint:forcetypeassert // the model returns no other type
		}
	}
	list := make([]color.RGBA, 0, len(often))
	for c := range often {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b color.RGBA) int {
		return cmp.Or(often[b]-often[a], cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	var palette color.Palette
	for _, c := range list[:min(len(list), 256)] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(r, palette)
	draw.Draw(out, r, img, r.Min, draw.Src)
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out)
	return b.Bytes(), err
}
