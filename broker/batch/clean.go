package batch

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

const (
	cleanEvery = 10 * time.Minute
	orphanAge  = time.Hour // of content that belongs to nothing
)

// clean removes what has expired, until ctx ends. Several processes may do it
// at once.
func (s *Service) clean(ctx context.Context) {
	for ledger.Pause(ctx, cleanEvery) == nil {
		if err := s.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("expired files and batches are not removed yet", "err", err)
		}
	}
}

// sweep removes expired files, batches that ended long ago, and content that
// an upload left behind when its process died.
func (s *Service) sweep(ctx context.Context, now time.Time) error {
	known, used := map[string]bool{}, map[string]bool{}
	var files []File
	var batches []Manifest
	err := s.store.list(ctx, kindBatch, "*", func(v []byte) {
		var m Manifest
		if json.Unmarshal(v, &m) != nil {
			return
		}
		known[m.Tenant+"."+m.ID] = true
		if !m.Status.Terminal() || m.API == Anthropic {
			used[m.Tenant+"."+m.Input] = true
		}
		if m.Status.Terminal() && now.Sub(time.Unix(m.At[m.Status], 0)) > maxAge {
			batches = append(batches, m)
		}
	})
	if err != nil {
		return err
	}
	err = s.store.list(ctx, kindFile, "*", func(v []byte) {
		var f File
		if json.Unmarshal(v, &f) != nil {
			return
		}
		known[f.Tenant+"."+f.ID] = true
		if f.Batch != "" {
			known[f.Tenant+"."+f.Batch] = true
		}
		if f.Expired(now) && !used[f.Tenant+"."+f.ID] {
			files = append(files, f)
		}
	})
	if err != nil {
		return err
	}
	var failed error
	for i := range files {
		failed = errors.Join(failed, s.store.deleteFile(ctx, &files[i]))
	}
	for i := range batches {
		failed = errors.Join(failed, s.store.deleteBatch(ctx, &batches[i]))
	}
	return errors.Join(failed, s.orphans(ctx, known, now))
}

// orphans removes old content that nothing known has.
func (s *Service) orphans(ctx context.Context, known map[string]bool, now time.Time) error {
	subjects := s.cfg.Subjects
	stream, err := s.cfg.JS.Stream(ctx, subjects.Stream(wire.StreamFiles))
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subjects.Files("*", "*")))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		tenant, id, ok := subjects.SplitTenantJob(subject)
		if !ok || known[tenant+"."+id] || strings.Contains(id, "*") {
			continue
		}
		last, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil || now.Sub(last.Time) < orphanAge {
			continue // gone, or still being written
		}
		if err := s.store.purge(ctx, tenant, id); err != nil {
			return err
		}
	}
	return nil
}
