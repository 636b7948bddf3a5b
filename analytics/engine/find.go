package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Version is the release of the engine's npm packages that this package is
// built and tested with. package.json in this folder pins the same.
const Version = "26.5.3"

// EnvLib names the variable that gives the path of libchdb.so, before every
// other place.
const EnvLib = "SLUICE_CHDB_LIB"

// ErrNotFound is wrapped by Find's error when the library is in none of the
// places it looks at.
var ErrNotFound = errors.New("the embedded ClickHouse engine is not installed")

// Package is the npm package that holds the engine for an operating system
// and architecture in Go's names, or "" where none exists.
func Package(goos, goarch string) string {
	return map[string]string{
		"linux/amd64":  "@chdb/lib-linux-x64-gnu",
		"linux/arm64":  "@chdb/lib-linux-arm64-gnu",
		"darwin/amd64": "@chdb/lib-darwin-x64",
		"darwin/arm64": "@chdb/lib-darwin-arm64",
	}[goos+"/"+goarch]
}

// Find returns the path of the engine's library. It looks at SLUICE_CHDB_LIB,
// beside the executable (../.engine, then .engine), in .engine of the current
// directory, and in $XDG_DATA_HOME/sluice/engine (~/.local/share by default).
func Find() (string, error) {
	if path := os.Getenv(EnvLib); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("engine: %s=%s: no such file: %w: correct the variable or run `make engine`", EnvLib, path, ErrNotFound)
		}
		return filepath.Abs(path)
	}
	pkg := Package(runtime.GOOS, runtime.GOARCH)
	if pkg == "" {
		return "", fmt.Errorf("engine: %w: there is none for %s/%s: use an external ClickHouse (clickhouse.dsn)", ErrNotFound, runtime.GOOS, runtime.GOARCH)
	}
	for _, dir := range searchDirs() {
		for _, path := range []string{
			filepath.Join(dir, "node_modules", filepath.FromSlash(pkg), "libchdb.so"),
			filepath.Join(dir, "libchdb.so"),
		} {
			if isFile(path) {
				return filepath.Abs(path)
			}
		}
	}
	return "", fmt.Errorf("engine: %w: run `make engine` or set %s", ErrNotFound, EnvLib)
}

func searchDirs() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dir := filepath.Dir(exe)
		dirs = append(dirs, filepath.Join(dir, "..", ".engine"), filepath.Join(dir, ".engine"))
	}
	dirs = append(dirs, ".engine")
	data := os.Getenv("XDG_DATA_HOME")
	if home, err := os.UserHomeDir(); data == "" && err == nil {
		data = filepath.Join(home, ".local", "share")
	}
	if data != "" {
		dirs = append(dirs, filepath.Join(data, "sluice", "engine"))
	}
	return dirs
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
