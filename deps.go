//go:build deps

// Package deps pins what the module needs while its parts are being built.
package deps

import (
	_ "github.com/ClickHouse/clickhouse-go/v2"
	_ "github.com/ebitengine/purego"
	_ "github.com/google/uuid"
	_ "github.com/nats-io/nats-server/v2/server"
	_ "github.com/nats-io/nats.go/jetstream"
	_ "github.com/spf13/cobra"
	_ "go.yaml.in/yaml/v3"
)
