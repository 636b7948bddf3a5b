// Package engine is the embedded ClickHouse: libchdb loaded without cgo, run
// in a child process, and answering ClickHouse's own HTTP protocol on a
// loopback address, so that clickhouse-go, curl, Grafana and every other HTTP
// client see a server.
package engine
