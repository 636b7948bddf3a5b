package batch

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/natsd/natstest"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// inBubble gives f a service, which does not run, under fake time.
func inBubble(t *testing.T, f func(t *testing.T, s *Service)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		js := natstest.JetStream(t, dir)
		if err := topology.Ensure(t.Context(), js, topology.Config{}); err != nil {
			t.Fatal(err)
		}
		f(t, New(Config{JS: js, Instance: "test"}))
	})
}

// put stores a file of 1 MiB that expires after age seconds.
func put(t *testing.T, s *Store, tenant string, age int64) *File {
	t.Helper()
	u := s.Create(t.Context(), tenant)
	if _, err := u.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	f, err := u.Commit("f", "batch", age)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSweep: what has expired goes, with its content; what a batch under way
// needs stays, and so does what is still being written.
func TestSweep(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Service) {
		ctx, store := t.Context(), s.store
		parts := func() int {
			t.Helper()
			stream, err := s.cfg.JS.Stream(ctx, s.cfg.Subjects.Stream(wire.StreamFiles))
			if err != nil {
				t.Fatal(err)
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
			if err != nil {
				t.Fatal(err)
			}
			return len(info.State.Subjects)
		}
		forever, hour, used := put(t, store, "a", 0), put(t, store, "a", 3600), put(t, store, "b", 3600)
		m, err := store.Submit(ctx, Spec{Tenant: "b", API: OpenAI, Endpoint: wire.ChatCompletions, Input: used.ID, Window: "24h"}, "", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.DeleteFile(ctx, "b", used.ID); err == nil || !strings.Contains(err.Error(), m.ID) {
			t.Errorf("the input of a batch under way is deleted: %v", err)
		}
		lost := store.Create(ctx, "a") // its process dies
		if _, err := lost.Write(make([]byte, 3*partSize)); err != nil {
			t.Fatal(err)
		}
		for len(lost.flight) > 0 {
			lost.settle()
		}
		young := store.Create(ctx, "a")
		if _, err := young.Write(make([]byte, 3*partSize)); err != nil {
			t.Fatal(err)
		}
		for len(young.flight) > 0 {
			young.settle()
		}
		if err := s.sweep(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		if n := parts(); n != 5 {
			t.Fatalf("%d subjects are left of 5 that are all young", n)
		}
		if _, err := young.Commit("y", "batch", 0); err != nil {
			t.Errorf("what was being written: %v", err)
		}
		if err := s.sweep(ctx, time.Now().Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n := parts(); n != 3 { // forever, used, young
			t.Errorf("%d subjects are left", n)
		}
		if _, err := store.File(ctx, "a", hour.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("the expired file: %v", err)
		}
		var buf bytes.Buffer
		if err := store.Copy(ctx, &buf, forever); err != nil || buf.Len() != 1<<20 {
			t.Errorf("the other: %d bytes, %v", buf.Len(), err)
		}

		// The batch ends, and 30 days later nothing of it is left.
		_, err = store.update(ctx, "b", m.ID, func(m *Manifest) error { m.move(Cancelling, time.Now()); m.move(Cancelled, time.Now()); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := s.sweep(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Batch(ctx, OpenAI, "b", m.ID); err != nil {
			t.Errorf("a batch that has just ended: %v", err)
		}
		if err := s.sweep(ctx, time.Now().Add(maxAge+time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Batch(ctx, OpenAI, "b", m.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("a batch that ended long ago: %v", err)
		}
		if n := parts(); n != 2 { // forever, young
			t.Errorf("%d subjects are left in the end", n)
		}
	})
}

// A file of which a part is missing is not given out as if it were whole.
func TestTornFile(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Service) {
		f := put(t, s.store, "a", 0)
		stream, err := s.cfg.JS.Stream(t.Context(), s.cfg.Subjects.Stream(wire.StreamFiles))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.DeleteMsg(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if err := s.store.Copy(t.Context(), &buf, f); err == nil || !strings.Contains(err.Error(), "524288 of 1048576 bytes") {
			t.Errorf("%d bytes, %v", buf.Len(), err)
		}
	})
}
