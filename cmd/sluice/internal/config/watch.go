package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"time"
)

// WatchEvery is how often Watch looks at the file.
const WatchEvery = time.Second

// Watch looks at the configuration's file, and at the files of its secrets,
// every WatchEvery until ctx ends. After a change it loads anew and calls
// onChange with the new configuration; or with nil and the reason, when the
// new version is bad or gone: the old one then stays in force (I5). A version
// that amounts to the same configuration is not reported. current is what is
// in force at the start.
func Watch(ctx context.Context, src Sources, current *Config, onChange func(*Config, error)) {
	tick := time.NewTicker(WatchEvery)
	defer tick.Stop()
	last := fingerprint(src, current)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := fingerprint(src, current)
		if now == last {
			continue
		}
		last = now
		next, err := src.reload(current)
		switch {
		case err != nil:
			onChange(nil, err)
		case !reflect.DeepEqual(next, current):
			current = next
			last = fingerprint(src, current)
			onChange(next, nil)
		}
	}
}

// reload is Load, except that a file which was there may not vanish.
func (src Sources) reload(current *Config) (*Config, error) {
	path, data, err := src.read()
	if err != nil {
		return nil, err
	}
	if path == "" && current.Path != "" {
		return nil, &fs.PathError{Op: "read the configuration", Path: current.Path, Err: errors.New("the file is gone")}
	}
	return src.parse(path, data)
}

// fingerprint tells versions of the file and of its secrets' files apart.
func fingerprint(src Sources, c *Config) [sha256.Size]byte {
	h := sha256.New()
	if src.Added != nil {
		fmt.Fprintf(h, "%+v", src.Added()) // maps are printed in order
	}
	path, _ := src.file()
	for _, p := range append([]string{path}, secretFiles(reflect.ValueOf(c).Elem())...) {
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
			h.Write([]byte("?"))
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			h.Write([]byte("?"))
		}
		sum := sha256.Sum256(b)
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// secretFiles are the files that secrets are read from.
func secretFiles(v reflect.Value) []string {
	var files []string
	switch p := v.Interface().(type) {
	case Secret:
		if path, ok := strings.CutPrefix(p.source, "file:"); ok {
			files = append(files, path)
		}
		return files
	case URL:
		return secretFiles(reflect.ValueOf(p.s))
	}
	switch v.Kind() {
	case reflect.Struct:
		for i, name := range fieldNames(v.Type()) {
			if name != "" {
				files = append(files, secretFiles(v.Field(i))...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			files = append(files, secretFiles(v.Index(i))...)
		}
	}
	return files
}
