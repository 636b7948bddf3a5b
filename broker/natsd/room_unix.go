//go:build linux || darwin

package natsd

import (
	"os"
	"syscall"
)

// free is how many bytes of the folder's disk are free for us, 0 if not known.
func free(dir string) int64 {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
