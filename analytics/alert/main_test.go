package alert

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

func TestMain(m *testing.M) {
	ats.Register() // once, outside any bubble: without it the server's clock stands still in bubbles
	storetest.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
