package sdk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/sdk"
)

// Submit many jobs at once, and take the results as they come.
func ExampleClient_SubmitMany() {
	url, stop := sdk.StartExampleBroker("done")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	prompts := func(yield func(sdk.Job) bool) {
		for i := range 1000 {
			job := sdk.Job{Class: sdk.Batch, Batch: "numbers", Request: sdk.Prompt("chat", fmt.Sprintf("Describe the number %d.", i))}
			if !yield(job) {
				return
			}
		}
	}
	// One loop feeds the other: jobs are submitted while results come in.
	submitted := func(yield func(*sdk.Handle) bool) {
		for job, err := range client.SubmitMany(ctx, prompts) {
			if err != nil {
				log.Print(err) // this job only
			} else if !yield(job) {
				return
			}
		}
	}
	succeeded, cost := 0, sdk.NanoUSD(0)
	for result, err := range client.WaitMany(ctx, submitted) {
		if err != nil {
			log.Fatal(err)
		}
		if result.Err == nil {
			succeeded++
		}
		cost += result.Cost
	}
	fmt.Println(succeeded, "succeeded for", cost, "dollars")
	// Output:
	// 1000 succeeded for 0.000007000 dollars
}
