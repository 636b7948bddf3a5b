package dashboard

import (
	"embed"
	"io/fs"
)

//go:embed all:dist placeholder
var files embed.FS

// Files are the page's files; index.html is the page, or says how to build it.
func Files() fs.FS {
	folder := "placeholder"
	if Built() {
		folder = "dist"
	}
	sub, err := fs.Sub(files, folder)
	if err != nil {
		panic(err) // a folder's name above is wrong
	}
	return sub
}

// Built reports whether the page was there when the binary was built.
func Built() bool {
	_, err := fs.Stat(files, "dist/index.html")
	return err == nil
}
