//go:build !unix

package app

import (
	"fmt"
	"os"
)

// lockDataDir takes the data folder by keeping a file open in it.
func lockDataDir(dir string) (func(), error) {
	path, err := lockPath(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, errInUse)
	}
	return func() { _ = f.Close() }, nil
}
