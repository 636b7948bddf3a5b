package sdk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/sdk"
)

// Print an answer while it is generated. Should the provider fail halfway, the
// broker tries another, and the answer begins anew.
func ExampleHandle_Chunks() {
	url, stop := sdk.StartExampleBroker("one", "two", "three")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	job, err := client.Submit(ctx, sdk.Job{
		Class: sdk.Interactive, Stream: true, Request: sdk.Prompt("chat", "Count to three."),
	})
	if err != nil {
		log.Fatal(err)
	}
	for chunk, err := range job.Chunks(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if chunk.Restarted {
			fmt.Println("… once more:")
		}
		fmt.Println(chunk.Index, chunk.Text())
	}
	// Output:
	// 0 one
	// 1 two
	// 2 three
}

// Go on reading where another reader stopped.
func ExampleHandle_ChunksFrom() {
	url, stop := sdk.StartExampleBroker("one", "two", "three")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	job, err := client.Submit(ctx, sdk.Job{Stream: true, Request: sdk.Prompt("chat", "Count to three.")})
	if err != nil {
		log.Fatal(err)
	}
	var last sdk.Chunk
	for last = range job.Chunks(ctx) {
		break // the connection broke after the first
	}
	for chunk, err := range client.Attach(job.ID()).ChunksFrom(ctx, last.Attempt, last.Index+1) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(chunk.Index, chunk.Text())
	}
	// Output:
	// 1 two
	// 2 three
}
