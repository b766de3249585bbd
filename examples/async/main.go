// Async connects to several servers at once and prints each connection as soon as it
// stands. After a while it gives up the rest.
//
//	async localhost:80 localhost:443 www.example.net:80
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

const patience = 2 * time.Second

func main() {
	ctx := intent.NewContext(context.Background(), intent.Set{}.WithCategory(intent.CategoryControlTraffic))
	var pool client.Pool
	defer func() { _ = pool.Close() }()

	begun := time.Now()
	there := make(chan int, len(os.Args))
	var pending []*client.Pending
	for i, address := range os.Args[1:] {
		p := pool.Start(ctx, "tcp", address) // returns at once
		pending = append(pending, p)
		go func() { <-p.Done(); there <- i }()
	}
	fmt.Printf("started %d in %v\n", len(pending), time.Since(begun).Round(time.Microsecond))

	late := time.After(patience)
	for range pending {
		select {
		case i := <-there:
			report(os.Args[1+i], pending[i], time.Since(begun))
		case <-late:
			fmt.Println("the others are given up")
			for _, p := range pending {
				p.Cancel() // has no effect on those whose result was taken
			}
			return
		}
	}
}

func report(address string, p *client.Pending, after time.Duration) {
	socket, err := p.Result() // the result is there, so this does not wait
	if err != nil {
		fmt.Printf("%8.1f ms  %v\n", float64(after)/float64(time.Millisecond), err)
		return
	}
	fmt.Printf("%8.1f ms  %s from %v\n", float64(after)/float64(time.Millisecond), address, socket.LocalAddr())
	_ = socket.Close()
}
