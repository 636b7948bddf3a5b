package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/cmd/sluice/internal/cli"
)

// Wrong usage of the servers is said before anything starts: status 2.
func TestServersRefuse(t *testing.T) {
	for line, want := range map[string]string{
		"serve --role cook":                  `no role is called "cook"`,
		"serve --role worker":                "nats.url: must be set (--nats URL)",
		"up --config /no/such/file":          "no such file",
		"up extra":                           "unknown command",
		"serve --nats http://127.0.0.1:4222": "must be nats://",
		"serve --nats nats://127.0.0.1:1 --clickhouse mysql://127.0.0.1": "must be clickhouse:// or http://",
	} {
		d := deps()
		var out, errs bytes.Buffer
		d.Out, d.Err, d.Environ = &out, &errs, nil
		if code := cli.Run(t.Context(), d, strings.Fields(line)); code != 2 || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("sluice %s: status %d, want 2 and %q\n%s%s", line, code, want, errs.String(), out.String())
		}
	}
	d := deps()
	var errs bytes.Buffer
	d.Err, d.Environ = &errs, nil
	if code := cli.Run(t.Context(), d, strings.Fields("serve --role worker --nats nats://u:geheim@127.0.0.1:1")); code != 1 ||
		!strings.Contains(errs.String(), "connect to NATS at nats://u:***@127.0.0.1:1") {
		t.Errorf("nobody there: status %d\n%s", code, errs.String())
	}
}
