//go:build !linux

package fleet

import (
	"context"
	"errors"
	"io"
)

var errNoDisk = errors.New("a disk of its own needs Linux's mount namespaces: leave the part out")

// ServeDisk needs Linux.
func ServeDisk(string, string, []string, io.Reader, io.Writer) error { return errNoDisk }

func soakDisk(context.Context, *SoakOptions) (*soakResult, error) { return nil, errNoDisk }
