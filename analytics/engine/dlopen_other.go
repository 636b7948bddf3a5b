//go:build !darwin && !linux

package engine

import "errors"

var errPlatform = errors.New("there is no embedded ClickHouse for this system: use an external one (clickhouse.dsn)")

func dlopen(string) (uintptr, error) { return 0, errPlatform }

func dlsym(uintptr, string) (uintptr, error) { return 0, errPlatform }
