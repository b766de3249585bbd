// Choosing connects as programs do that ask mamma themselves, by client.Dialer, and in turn
// without mamma, by net.Dialer. It prints the median time of both in microseconds.
//
//	choosing SOCKET DESTINATION COUNT
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "choosing:", err)
		os.Exit(1)
	}
}

type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

func run(socket, dest, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	choosing := &client.Dialer{
		Daemon:  &client.Daemon{Path: socket},
		Intents: intent.Set{}.WithCategory(intent.CategoryBulkTransfer),
	}
	times := [2][]time.Duration{}
	for range n {
		for i, d := range []dialer{choosing, &net.Dialer{}} {
			begun := time.Now()
			c, err := d.DialContext(context.Background(), "tcp", dest)
			times[i] = append(times[i], time.Since(begun))
			if err != nil {
				return err
			}
			if info, ok := client.InfoOf(c); i == 0 && (!ok || info.Candidate != client.FirstChoice) {
				return fmt.Errorf("mamma has not chosen: %+v", info)
			}
			if tc, ok := c.(interface{ SetLinger(int) error }); ok {
				_ = tc.SetLinger(0) // a reset leaves no port in TIME_WAIT
			}
			_ = c.Close()
		}
	}
	median := func(list []time.Duration) float64 {
		slices.Sort(list)
		return float64(list[len(list)/2].Nanoseconds()) / 1e3
	}
	_, err = fmt.Printf("%.1f %.1f\n", median(times[0]), median(times[1]))
	return err
}
