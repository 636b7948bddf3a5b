package natsd

import (
	"io/fs"
	"path/filepath"
)

// room is how many bytes the streams may have: what they have now, and three
// quarters of what is free beside that. 0: not known, the server decides.
func room(dataDir, storeDir string) int64 {
	available, _ := disk(dataDir)
	if available <= 0 {
		return 0
	}
	used := int64(0)
	_ = filepath.WalkDir(storeDir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				used += info.Size()
			}
		}
		return nil // what vanishes meanwhile does not count
	})
	return used + available/4*3
}
