package intent_test

import (
	"fmt"

	"github.com/socket-intents/mamma/intent"
)

// A Set says what is known; what is not said stays unknown.
func ExampleSet() {
	defaults := intent.Set{}.WithCategory(intent.Query).WithResilience(intent.Tolerant)
	download := intent.Set{}.WithCategory(intent.BulkTransfer).WithFileSize(300_000_000)
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
