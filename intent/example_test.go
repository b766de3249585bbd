package intent_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// A Set says what is known; what is not said stays unknown.
func ExampleSet() {
	defaults := intent.Set{}.WithCategory(intent.CategoryQuery).WithResilience(intent.ResilienceTolerant)
	download := intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(300_000_000)
	for option, value := range download.Merge(defaults).All() {
		fmt.Println(option, value)
	}
	category, given := download.Category()
	fmt.Println(category, given)
	_, given = download.Get(intent.OptResilience)
	fmt.Println(given)
	// Output:
	// category 1
	// filesize 300000000
	// resilience 1
	// bulktransfer true
	// false
}

func ExampleParse() {
	s, err := intent.Parse("category=bulktransfer,filesize=300M,duration=5m")
	if err != nil {
		fmt.Println(err)
		return
	}
	size, _ := s.FileSize()
	took, _ := s.Duration()
	fmt.Println(size, took)
	fmt.Println(s)
	_, err = intent.Parse("category=video")
	fmt.Println(err)
	// Output:
	// 300000000 5m0s
	// category=bulktransfer,filesize=300MB,duration=300
	// intent category: "video" is neither a number nor one of query, bulktransfer, controltraffic, keepalives, stream
}

// Intents in a context hold for the connections that are dialled with it.
func ExampleNewContext() {
	ctx := intent.NewContext(context.Background(), intent.Set{}.WithTimeliness(intent.TimelinessInteractive))
	fmt.Println(intent.FromContext(ctx))
	// Output: timeliness=interactive
}

// In JSON, and wherever else encoding.TextMarshaler is known, a Set is its text.
func ExampleSet_MarshalText() {
	type job struct {
		URL     string     `json:"url"`
		Intents intent.Set `json:"intents"`
	}
	text, err := json.Marshal(job{"http://www.example.net/", intent.Set{}.WithCategory(intent.CategoryQuery).WithFileSize(30_000)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(text))
	var read job
	if err := json.Unmarshal(text, &read); err != nil {
		fmt.Println(err)
	}
	fmt.Println(read.Intents.FileSize())
	// Output:
	// {"url":"http://www.example.net/","intents":"category=query,filesize=30kB"}
	// 30000 true
}

// A Set is a flag that may be given more than once.
func ExampleSet_Set() {
	var intents intent.Set
	flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
	flags.Var(&intents, "intent", "what is known about the transfer")
	if err := flags.Parse([]string{"-intent", "category=stream,filesize=5k", "-intent", "category=query"}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(intents)
	// Output: category=query,filesize=5kB
}

// The video policies read durations in milliseconds, as the level of a buffer.
func ExampleSet_WithPlayoutBuffer() {
	s := intent.Set{}.WithPlayoutBuffer(1500 * time.Millisecond)
	fmt.Println(s.Get(intent.OptDuration))
	fmt.Println(s.PlayoutBuffer())
	fmt.Println(s)
	// Output:
	// 1500 true
	// 1.5s true
	// duration=1500
}

func ExampleParseSize() {
	for _, text := range []string{"300M", "300MB", "64KiB", "1.5G"} {
		bytes, err := intent.ParseSize(text)
		fmt.Println(bytes, err)
	}
	// Output:
	// 300000000 <nil>
	// 300000000 <nil>
	// 65536 <nil>
	// 1500000000 <nil>
}

func ExampleParseDuration() {
	fmt.Println(intent.ParseDuration("1d12h"))
	fmt.Println(intent.ParseDuration("250"))
	_, err := intent.ParseDuration("soon")
	fmt.Println(err)
	// Output:
	// 36h0m0s <nil>
	// 4m10s <nil>
	// "soon" is not a number of seconds or a duration such as 250ms, 90s, 5m or 7d
}

// A rate is read in bits or in bytes per second, and returned in bytes per second.
func ExampleParseRate() {
	fmt.Println(intent.ParseRate("10Mbit/s"))
	fmt.Println(intent.ParseRate("1.25MB/s"))
	_, err := intent.ParseRate("10M") // of bits or of bytes?
	fmt.Println(err != nil)
	// Output:
	// 1.25e+06 <nil>
	// 1.25e+06 <nil>
	// true
}

// The text has the largest unit that needs no rounding.
func ExampleFormatSize() {
	fmt.Println(intent.FormatSize(300_000_000), intent.FormatSize(65536), intent.FormatSize(1001))
	// Output: 300MB 64KiB 1001B
}
