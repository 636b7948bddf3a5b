package natsd

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// TestBlocksAreLetGo: what a stream writes lies in small blocks that are soon
// out of memory, once it was tuned, and what was written before too. It fails if the server's fields are not
// where tuneBlocks looks for them, or do not mean the same any more.
func TestBlocksAreLetGo(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Config{DataDir: dir, Sync: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LARGE", Subjects: []string{"large"}})
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 512<<10)
	write := func(n int) (large int) { // and how many files have more than blockSize
		for range n {
			if _, err := js.Publish(t.Context(), "large", body); err != nil {
				t.Fatal(err)
			}
		}
		names, _ := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", "LARGE", "msgs", "*.blk"))
		for _, name := range names {
			if i, err := os.Stat(name); err == nil && i.Size() > blockSize {
				large++
			}
		}
		return large
	}
	if write(16) != 1 {
		t.Error("by itself the server does not make blocks of 8 MiB: is there anything to tune?")
	}
	for _, own := range expiries(t, s) {
		if own <= cacheExpire {
			t.Errorf("by itself the server keeps blocks for %v: is there anything to tune?", own)
		}
	}
	for range 2 {
		if n := tuneBlocks(s.running()); n != 1 {
			t.Fatalf("%d streams were tuned, want 1: the server's fields are not where they were, see tuneBlocks", n)
		}
	}
	if large := write(24); large != 1 {
		t.Errorf("%d blocks are larger than %d bytes, and only the first was written before", large, blockSize)
	}
	kept := expiries(t, s)
	if len(kept) < 4 {
		t.Errorf("%d blocks, want those of before and of after", len(kept))
	}
	for i, got := range kept {
		if got != cacheExpire {
			t.Errorf("block %d of %d is kept for %v, want %v", i, len(kept), got, cacheExpire)
		}
	}
	for _, seq := range []uint64{1, 16, 17, 40} {
		if m, err := stream.GetMsg(t.Context(), seq); err != nil || len(m.Data) != len(body) {
			t.Errorf("message %d: %v", seq, err)
		}
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	for i, got := range expiries(t, s) {
		if got != cacheExpire {
			t.Errorf("block %d, found at a start, is kept for %v, want %v", i, got, cacheExpire)
		}
	}
	if n := tuneBlocks(&server.Server{}); n != 0 {
		t.Errorf("%d streams of a server that has not started", n)
	}
}

// expiries is how long each block of the only stream is kept in memory, as the
// server itself has it.
func expiries(t *testing.T, s *Server) (kept []time.Duration) {
	for _, stream := range reach(reach(reflect.ValueOf(s.running().GlobalAccount()), "js"), "streams").Seq2() {
		for _, block := range reach(reach(stream, "store").Elem(), "blks").Seq2() {
			if d, ok := address(reach(block, "cexp")).(*time.Duration); ok {
				kept = append(kept, *d)
			}
		}
	}
	if kept == nil {
		t.Fatal("the server's blocks are not where they were, see tuneBlocks")
	}
	return kept
}

// TestReach finds what there is, and nothing else.
func TestReach(t *testing.T) {
	type inner struct{ name string }
	v := struct {
		in   *inner
		none *inner
		n    int
	}{in: &inner{"found"}, n: 7}
	p := reflect.ValueOf(&v)
	if s, ok := address(reach(reach(p, "in"), "name")).(*string); !ok || *s != "found" {
		t.Error("a field of a field was not found")
	}
	for what, got := range map[string]reflect.Value{"no such field": reach(p, "other"), "of a nil pointer": reach(reach(p, "none"), "name"),
		"of a number": reach(reach(p, "n"), "name"), "of nothing": reach(reflect.Value{}, "name")} {
		if got.IsValid() || address(got) != nil {
			t.Errorf("%s: %v", what, got)
		}
	}
	reading(p, func() { t.Error("read without a lock") })
}
