package invoice

import (
	"testing"

	"github.com/sluicehq/sluice/analytics/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }
