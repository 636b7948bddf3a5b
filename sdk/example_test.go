package sdk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/sdk"
)

// Submit a job, wait for the answer, and see what it cost.
func Example() {
	url, stop := sdk.StartExampleBroker("Because", " of", " scattering.")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url, sdk.WithTenant("acme"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	job, err := client.Submit(ctx, sdk.Job{Request: sdk.Prompt("chat", "Why is the sky blue?")})
	if err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text())
	fmt.Println(result.Status, "on", result.Pool, "for", result.Cost, "dollars")
	// Output:
	// Because of scattering.
	// succeeded on p1 for 0.000000007 dollars
}
