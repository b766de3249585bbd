package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

// The manager chooses the network of each connection of an HTTP client. The context of
// a request says what is known about it.
func ExampleDialer() {
	dialer := &client.Dialer{Intents: intent.Set{}.WithCategory(intent.CategoryQuery)}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with its proxy, time-outs and HTTP/2
	transport.DialContext = dialer.DialContext
	web := &http.Client{Transport: transport}

	ctx := intent.NewContext(context.Background(),
		intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(300_000_000))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://www.example.net/image.iso", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := web.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
}

// The manager chooses the network of a gRPC client's connections. The option
// grpc.WithContextDialer takes the dial function. With a target of the scheme
// "passthrough", the chosen network's resolver resolves the name:
//
//	conn, err := grpc.NewClient("passthrough:///api.example.net:443",
//		grpc.WithContextDialer(dial), grpc.WithTransportCredentials(credentials.NewTLS(nil)))
func ExampleDialer_grpc() {
	dialer := &client.Dialer{Intents: intent.Set{}.WithCategory(intent.CategoryQuery)}
	type contextDialer = func(context.Context, string) (net.Conn, error) // what the option takes
	dial := contextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", address)
	})
	_ = dial
}

// These connections must not cost money. They prefer the wireless network, and the
// network that the manager's configuration calls "home".
func ExampleSelectionProperties() {
	properties := client.SelectionProperties{}.WithInterface("wlan0", client.Prefer).WithNetwork("home", client.Prefer).
		WithCost(client.CostMetered, client.Prohibit).WithCost(client.CostExpensive, client.Prohibit)
	fmt.Println(properties)
	dialer := client.Dialer{Selection: properties, Daemon: &client.Daemon{DecisionTimeout: -1}} // no manager
	_, err := dialer.Dial("tcp", "www.example.net:443")
	fmt.Println(errors.Is(err, client.ErrNotPermitted))
	// Output:
	// prefer wlan0, prefer network home, prohibit cost expensive, prohibit cost metered
	// true
}

// TLS runs over a connection whose network the manager has chosen. InfoOf looks through
// TLS.
func ExampleDialer_tls() {
	var dialer client.Dialer
	conn, err := dialer.Dial("tcp", "www.example.net:443")
	if err != nil {
		fmt.Println(err)
		return
	}
	secure := tls.Client(conn, &tls.Config{ServerName: "www.example.net"})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		fmt.Println(err)
	}
	_ = secure.Close()
}

// InfoOf tells what was decided for a connection.
func ExampleInfoOf() {
	var dialer client.Dialer
	conn, err := dialer.Dial("tcp", "www.example.net:443")
	if err != nil {
		fmt.Println(err) // lists every attempt
		return
	}
	if info, ok := client.InfoOf(conn); ok {
		fmt.Println(info.Local, info.Reason)
	}
	_ = conn.Close()
}

// Info.Candidate says which way of connecting succeeded.
func ExampleCandidate() {
	for _, c := range []client.Candidate{client.FirstChoice, 2, client.PlainDial} {
		fmt.Println(c)
	}
	// Output:
	// first choice
	// alternate 2
	// plain dial
}

// PlainDials shows how often connections were made without the manager, and why.
func ExampleDaemon_PlainDials() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = listener.Close() }()
	daemon := &client.Daemon{Path: "/nonexistent/mamma.sock"}
	dialer := client.Dialer{Daemon: daemon}
	conn, err := dialer.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = conn.Close()
	fmt.Println("without a manager:", daemon.PlainDials().Absent)
	// Output: without a manager: 1
}

// A program that ends right after its last connection sends the reports that wait, so
// that the manager learns from them.
func ExampleDaemon_Flush() {
	daemon := new(client.Daemon)
	dialer := client.Dialer{Daemon: daemon}
	conn, err := dialer.Dial("tcp", "www.example.net:443")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := daemon.Flush(ctx); err != nil {
		fmt.Println("the manager does not answer:", err)
	}
}

// GetLike gets a further connection to where another one leads. CloseIdle closes the
// connections that wait to be used again.
func ExamplePool_GetLike() {
	var pool client.Pool
	defer pool.CloseIdle()
	first, err := pool.Get(context.Background(), "tcp", "www.example.net:http")
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := pool.GetLike(context.Background(), first)
	if err != nil {
		fmt.Println(err)
		return
	}
	// ... use both, read both answers to their end, then
	_ = second.Release()
	_ = first.Release()
}

// The manager decides which idle connections are used again.
func ExamplePool() {
	var pool client.Pool
	conn, err := pool.Get(context.Background(), "tcp", "www.example.net:http")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n")
	fmt.Println("used before:", conn.Reused())
	// ... read the whole answer, then
	_ = conn.Release()
}

// If no answer begins for far longer than usual, the question is sent over another network,
// too. The answer is read from the connection that Ask returns.
func ExamplePool_Ask() {
	var pool client.Pool
	conn, err := pool.Ask(context.Background(), "tcp", "www.example.net:http", func(_ context.Context, c *client.Conn) error {
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n"); err != nil {
			return err
		}
		answer := bufio.NewReader(c)
		c.Value = answer
		_, err := answer.Peek(1)
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, _ := conn.Value.(*bufio.Reader)
	status, err := answer.ReadString('\n')
	fmt.Println(status, err)
	// ... read the whole answer, then
	_ = conn.Release()
}

// The program makes its sockets itself, in the way that the manager suggests.
func ExampleEndpoint() {
	ctx := context.Background()
	var dialer client.Dialer
	decision, err := dialer.Decide(ctx, "tcp", "www.example.net:443")
	if err != nil {
		fmt.Println(err)
		return
	}
	endpoints, err := decision.Endpoints(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range endpoints {
		own := net.Dialer{LocalAddr: e.LocalAddr("tcp"), Control: e.Control}
		own.SetMultipathTCP(e.Multipath)
		conn, err := own.DialContext(ctx, "tcp", e.Remote.String())
		if err == nil {
			_ = conn.Close()
			return
		}
	}
}

// Ping tells whether a manager runs. Use it for a message only: without a manager,
// connections are dialled plainly.
func ExampleDaemon_Ping() {
	daemon := &client.Daemon{Path: "/nonexistent/mamma.sock"}
	err := daemon.Ping(context.Background())
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output: true
}

// Networks lists the networks of the host, best first, here for a long stream of
// datagrams.
func ExampleDialer_Networks() {
	dialer := &client.Dialer{Intents: intent.Set{}.WithCategory(intent.CategoryStream)}
	networks, err := dialer.Networks(context.Background(), "udp")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range networks {
		fmt.Println(n.Interface, n.State, n.Cost, n.RTT)
	}
}

// This program shows when the network gets worse or better.
func ExampleDialer_Watch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var dialer client.Dialer
	for networks, err := range dialer.Watch(ctx, "tcp", 0) {
		switch {
		case err != nil:
			fmt.Println("no manager:", err) // it is looked for again
		case len(networks) > 0 && networks[0].Usable:
			fmt.Println("best is now", networks[0])
		default:
			fmt.Println("there is no network")
		}
	}
}

// Datagrams go over the network that is best for a call, until another one is better.
func ExampleListenPacket() {
	call := intent.Set{}.WithCategory(intent.CategoryStream).WithTimeliness(intent.TimelinessInteractive)
	conn, err := client.ListenPacket(context.Background(), "udp", "call.example.net:4500", call)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.WriteToUDPAddrPort([]byte("hello"), conn.Remote()); err != nil {
		fmt.Println(err) // no error if the network is gone; the datagram is lost then
	}
	for path := range conn.Changes() {
		if path.State != client.NetworkUp {
			fmt.Println("time to open another one:", path.Err)
			return
		}
	}
}

// Several connections are opened at once. The first one to be ready is used, and the
// other one is cancelled.
func ExamplePool_Start() {
	var pool client.Pool
	a := pool.Start(context.Background(), "tcp", "www.example.net:http")
	b := pool.Start(context.Background(), "tcp", "www.example.org:http")
	select {
	case <-a.Done():
		b.Cancel()
	case <-b.Done():
		a, b = b, a
		b.Cancel()
	}
	conn, err := a.Result()
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = conn.Close()
}
