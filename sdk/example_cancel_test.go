package sdk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/sdk"
)

// Cancel a job in whatever state it is.
func ExampleHandle_Cancel() {
	url, stop := sdk.StartExampleBroker()
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	job, err := client.Submit(ctx, sdk.Job{Request: sdk.Prompt("slow", "Write a novel.")})
	if err != nil {
		log.Fatal(err)
	}
	for record := range job.Records(ctx) {
		fmt.Println(record.Status)
		break
	}
	if _, err := job.Cancel(ctx); err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status)
	// Output:
	// running
	// cancelled
}
