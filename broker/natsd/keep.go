package natsd

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Bounds of Keep.
const (
	keepEvery = time.Second       // between looks
	keepPause = 5 * time.Second   // from a restart to the next one; doubled while it does not help
	keepMost  = 2 * time.Minute   // of that pause
	needLeast = int64(16) << 20   // free bytes that a restart waits for: a 64th of the disk,
	needMost  = int64(1024) << 20 // within these
)

// Keep looks after the server until ctx ends. A stream that could not be
// written, as on a full disk, takes no more messages until the server is
// started anew: Keep does so once there is room again. Clients see a
// connection that breaks and comes back; what was acknowledged is there.
// It also has streams that are new give memory back early, see tuneBlocks. Call
// it once, and let it return before Stop.
func (s *Server) Keep(ctx context.Context) {
	tick := time.NewTicker(cmp.Or(s.keepEvery, keepEvery))
	defer tick.Stop()
	var since, last time.Time // of the fault; of the last restart
	var pause time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tuneBlocks(s.running())
		err := s.sick()
		s.fault.Store(&err)
		if err == nil {
			if !since.IsZero() {
				s.warn("NATS takes jobs again", "after", time.Since(since).Round(time.Second))
				since = time.Time{}
			}
			continue
		}
		free, need := s.space()
		if since.IsZero() {
			since = time.Now()
			s.warn("NATS cannot write and takes no jobs: it starts anew once there is room on the disk", "err", err, "data_dir", s.cfg.DataDir, "free_mib", free>>20, "needs_mib", need>>20)
			continue // twice, so that it is no matter of a moment
		}
		if free < need || time.Since(last) < pause {
			continue
		}
		if time.Since(last) > keepMost {
			pause = 0
		}
		pause = min(max(2*pause, keepPause), keepMost)
		if err := s.restart(); err != nil {
			s.warn("NATS did not start anew: it is tried again", "err", err, "in", pause)
		}
		last = time.Now()
	}
}

// Fault says why messages cannot be stored, nil if they can, as Keep last saw
// it.
func (s *Server) Fault() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// sick says what the server itself knows of streams that it cannot write.
// Everything else that it may find unhealthy would not be healed by a start.
func (s *Server) sick() error {
	srv := s.running()
	if !srv.Running() {
		return errors.New("the embedded NATS server is not running")
	}
	for _, e := range srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if e.Type == server.HealthzErrorJetStream || e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error") {
			return errors.New(e.Error)
		}
	}
	return nil
}

// space is how much the disk has free, and what a restart needs: little enough
// for a small disk, and so much on a large one that it is not full again at
// once. Where the system does not tell, there is enough.
func (s *Server) space() (free, need int64) {
	free, size := s.disk(s.cfg.DataDir)
	if size == 0 {
		return 0, 0
	}
	return free, min(max(size/64, needLeast), needMost)
}

// restart stops the server and starts it on the same folder and address.
func (s *Server) restart() error {
	s.change.Lock()
	defer s.change.Unlock()
	old := s.running()
	s.warn("NATS starts anew")
	old.Shutdown()
	old.WaitForShutdown()
	return s.boot()
}

func (s *Server) warn(text string, args ...any) {
	if s.cfg.Logger != nil {
		s.cfg.Logger.With("part", "nats").Warn(text, args...)
	}
}
