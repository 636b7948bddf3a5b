package sdk_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// A job that cannot be right is refused before it is sent; one that fails
// later says so in its result.
func ExampleCodeOf() {
	url, stop := sdk.StartExampleBroker()
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.Submit(ctx, sdk.Job{Body: []byte("hello")})
	fmt.Println(sdk.CodeOf(err) == wire.CodeInvalidJSON, err != nil)

	job, err := client.Submit(ctx, sdk.Job{Request: sdk.Prompt("nowhere", "hi")})
	if err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.Err.Code, result.Err.Param)
	// Output:
	// true true
	// failed unknown_route model
}

// Bound what a job may take: time, money and where it runs.
func ExampleJob() {
	url, stop := sdk.StartExampleBroker("ok")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url, sdk.WithTenant("acme"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	cents, err := sdk.Dollars("0.05")
	if err != nil {
		log.Fatal(err)
	}
	job, err := client.Submit(ctx, sdk.Job{
		ID: "report-2026", Class: sdk.Interactive, Endpoint: sdk.Messages,
		Body:    []byte(`{"model":"chat","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`),
		Timeout: 90 * time.Second, MaxCost: cents, Region: "eu-west", Labels: map[string]string{"team": "red"},
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Record.Entry.Meta.Labels["team"], result.Record.Entry.Meta.MaxCost)
	// Output: red 0.050000000
}
