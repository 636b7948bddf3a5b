//go:build linux || darwin

package natsd

import (
	"os"
	"syscall"
)

// disk is how many bytes of the folder's disk are free for us, and how many it
// has; 0 if not known.
func disk(dir string) (free, size int64) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, 0
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize)
}
