package config

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// change is one call of onChange.
type change struct {
	c   *Config
	err error
}

// TestWatch changes the file under a running Watch, in fake time (I5).
func TestWatch(t *testing.T) {
	path := write(t, contractExample)
	secret := write(t, "first")
	src := Sources{Path: path, Environ: []string{"OPENAI_API_KEY=a", "ACME_KEY=b"}}
	put := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		current, err := Load(src)
		if err != nil {
			t.Fatal(err)
		}
		changes := make(chan change, 10)
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, src, current, func(c *Config, err error) { changes <- change{c, err} })
		}()
		step := func() (got []change) {
			time.Sleep(3 * WatchEvery)
			synctest.Wait()
			for len(changes) > 0 {
				got = append(got, <-changes)
			}
			return got
		}
		good := strings.Replace(contractExample, "concurrency: 64", "concurrency: 65", 1)
		if got := step(); len(got) != 0 {
			t.Errorf("nothing has changed: %+v", got)
		}
		put(path, contractExample+"# a comment\n")
		if got := step(); len(got) != 0 {
			t.Errorf("a comment changes nothing: %+v", got)
		}
		put(path, "pools: 3\nroutes: 4\n")
		if got := step(); len(got) != 1 || got[0].c != nil || !strings.Contains(got[0].err.Error(), "2 faults") {
			t.Errorf("a bad version is reported once, and why: %+v", got)
		}
		put(path, good)
		if got := step(); len(got) != 1 || got[0].err != nil || got[0].c.Pool("openai-us").Concurrency != 65 {
			t.Errorf("a good version: %+v", got)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := step(); len(got) != 1 || got[0].err == nil {
			t.Errorf("a file that is gone: %+v", got)
		}
		put(path, strings.Replace(good, "env:OPENAI_API_KEY", "file:"+secret, 1))
		if got := step(); len(got) != 1 || got[0].err != nil || got[0].c.Pool("openai-us").APIKey.Reveal() != "first" {
			t.Errorf("a key from a file: %+v", got)
		}
		put(secret, "second")
		if got := step(); len(got) != 1 || got[0].err != nil || got[0].c.Pool("openai-us").APIKey.Reveal() != "second" {
			t.Errorf("a new key in the file: %+v", got)
		}
		cancel()
		<-done
	})
}

// TestWatchWithoutAFile: a file that appears later is a change; that it is
// absent is none.
func TestWatchWithoutAFile(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		current, err := Load(Sources{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*WatchEvery)
		defer cancel()
		time.AfterFunc(3*WatchEvery+WatchEvery/2, func() {
			if err := os.WriteFile(DefaultPath, []byte("workers: {max_attempts: 9}"), 0o600); err != nil {
				t.Error(err)
			}
		})
		var changes []change
		Watch(ctx, Sources{}, current, func(c *Config, err error) { changes = append(changes, change{c, err}) })
		if len(changes) != 1 || changes[0].err != nil || changes[0].c.Workers.MaxAttempts != 9 {
			t.Errorf("got %+v", changes)
		}
	})
}

func TestNeedsRestart(t *testing.T) {
	old := mustLoad(t, "http: {listen: 127.0.0.1:1}\nclickhouse: {dsn: 'http://u:a@h:1'}\n"+onePool)
	now := mustLoad(t, "http: {listen: 127.0.0.1:2}\nclickhouse: {dsn: 'http://u:b@h:1'}\npools: [{name: q, adapter: simulated, models: {m: {}}}]")
	if got := NeedsRestart(old, now); !reflect.DeepEqual(got, []string{"clickhouse.dsn", "http.listen"}) {
		t.Errorf("got %v", got)
	}
	if got := NeedsRestart(old, old); got != nil {
		t.Errorf("got %v", got)
	}
	one, two := mustLoad(t, "tenants: [{name: a, key: k}]\n"+onePool), mustLoad(t, "tenants: [{name: a, key: l}, {name: b, key: k}]\n"+onePool)
	if got := NeedsRestart(one, two); got != nil {
		t.Errorf("tenants apply while running, got %v", got)
	}
	none := mustLoad(t, onePool)
	if got := [][]string{NeedsRestart(one, none), NeedsRestart(none, one)}; !reflect.DeepEqual(got, [][]string{{"tenants"}, {"tenants"}}) {
		t.Errorf("from and to none: %v", got)
	}
}
