package sdk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sluicehq/sluice/sdk"
)

// Come back to a job by its ID, from any process of the tenant.
func ExampleClient_Attach() {
	url, stop := sdk.StartExampleBroker("hello")
	defer stop()
	ctx := context.Background()

	client, err := sdk.Dial(ctx, url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Submit(ctx, sdk.Job{ID: "order-4711", Request: sdk.Prompt("chat", "hi")}); err != nil {
		log.Fatal(err)
	}
	result, err := client.Attach("order-4711").Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Job, result.Text())
	// Output: order-4711 hello
}
