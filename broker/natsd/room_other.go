//go:build !linux && !darwin

package natsd

// disk is not known here.
func disk(string) (free, size int64) { return 0, 0 }
