package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// WarmJob asks for a transfer over one network for so long.
type WarmJob struct {
	Way     Way
	Server  string
	Seconds float64
}

// Warm loads as much as it can over one network, and returns the bytes.
func Warm(ctx context.Context, job WarmJob) (int64, error) {
	o := newOpener(job.Way, 0, 0)
	defer o.close()
	conn, err := o.fresh(ctx, job.Server, intent.Set{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(seconds(job.Seconds))); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET /bytes/%d HTTP/1.1\r\nHost: server\r\n\r\n", int64(1)<<40); err != nil {
		return 0, err
	}
	buf, sum := make([]byte, 64<<10), int64(0)
	for {
		n, err := conn.Read(buf)
		sum += int64(n)
		if err != nil { // the time is up
			return sum, nil
		}
	}
}

// MessagesJob asks for short queries at even intervals during a bulk transfer.
type MessagesJob struct {
	Way     Way
	Server  string
	Bulk    int64 // bytes
	Message int64 // bytes
	Every   float64
}

// Messages is what came of them.
type Messages struct {
	Latencies   []float64 // seconds, of each message on a connection of its own
	BulkSeconds float64
	BulkNet     int
	MessageNets []int // over which network each went
}

// RunMessages does a MessagesJob.
func RunMessages(ctx context.Context, job MessagesJob) (m Messages, err error) {
	o := newOpener(job.Way, 0, 0)
	defer o.close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	once := func(category intent.Category, size int64) (int, error) {
		l, err := o.fresh(ctx, job.Server, intent.Set{}.WithCategory(category).WithFileSize(size))
		if err != nil {
			return -1, err
		}
		defer func() { _ = l.Close() }()
		return o.network(l), l.get(ctx, size, nil)
	}
	begun := time.Now()
	over := make(chan error, 1)
	go func() {
		net, err := once(intent.CategoryBulkTransfer, job.Bulk)
		m.BulkNet, m.BulkSeconds = net, time.Since(begun).Seconds()
		over <- err
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	tick := time.NewTicker(seconds(job.Every))
	defer tick.Stop()
	for {
		select {
		case err := <-over:
			wg.Wait()
			if err == nil {
				err = failed
			}
			return m, err
		case <-tick.C:
		}
		asked := time.Now()
		wg.Go(func() {
			net, err := once(intent.CategoryQuery, job.Message)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			m.Latencies = append(m.Latencies, time.Since(asked).Seconds())
			m.MessageNets = append(m.MessageNets, net)
		})
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
