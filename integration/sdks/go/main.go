// Command go runs the official SDKs for Go, unmodified, against Sluice:
// `go openai` or `go anthropic`. It is a module of its own, so that nothing
// of Sluice depends on them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	url        = os.Getenv("SLUICE_URL")
	key        = os.Getenv("SLUICE_KEY")
	limitedKey = os.Getenv("SLUICE_LIMITED_KEY")
	pacedKey   = os.Getenv("SLUICE_PACED_KEY")
	schema     = decode[map[string]any](os.Getenv("SLUICE_SCHEMA"))
)

// test is one case; it returns what is wrong.
type test struct {
	name string
	run  func() error
}

func main() {
	suites := map[string][]test{"openai": openaiTests(), "anthropic": anthropicTests()}
	list := suites[os.Args[1]]
	var lock sync.Mutex
	var all sync.WaitGroup
	room := make(chan struct{}, 4)
	for _, c := range list {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			began := time.Now()
			problem := ""
			if err := c.run(); err != nil {
				problem = err.Error()
			}
			line, _ := json.Marshal(map[string]any{"name": c.name, "ok": problem == "", "error": problem, "ms": time.Since(began).Milliseconds()})
			lock.Lock()
			defer lock.Unlock()
			fmt.Println(string(line))
		})
	}
	all.Wait()
}

func decode[T any](s string) T {
	var v T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		panic(fmt.Sprintf("%v in %q", err, s))
	}
	return v
}

// must is for answers without which a case cannot go on.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// safely turns a panic of must into the case's error.
func safely(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		return f()
	}
}

// want collects what is not as it should be.
type want struct{ bad []string }

func (w *want) that(ok bool, format string, args ...any) {
	if !ok {
		w.bad = append(w.bad, fmt.Sprintf(format, args...))
	}
}

func (w *want) err() error {
	if len(w.bad) == 0 {
		return nil
	}
	return errors.New(strings.Join(w.bad, "; "))
}

// followsSchema checks the arguments of a tool, or an answer in JSON.
func (w *want) followsSchema(s string) {
	var v struct {
		City string
		Days int
	}
	err := json.Unmarshal([]byte(s), &v)
	w.that(err == nil && v.City != "" && v.Days >= 1 && v.Days <= 3, "%q does not follow the schema", s)
}

func words(s string) int64 { return int64(len(strings.Fields(s))) }
