package fleet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// soakBacklog queues jobs that cannot run, while the broker answers others, and
// kills it: it must come back with all of them.
func soakBacklog(ctx context.Context, o *SoakOptions) (*soakResult, error) {
	s, err := newSoaked(ctx, o, 1, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }()
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	began := time.Now()
	if err := s.pile(ctx, c, o.Jobs); err != nil {
		return nil, err
	}
	queued := time.Since(began)
	if err := s.quick(ctx, 30*time.Second); err != nil {
		return nil, fmt.Errorf("a job behind the backlog: %w", err)
	}
	most := peak(s.broker.cmd.Process.Pid)
	s.broker.kill()
	began = time.Now()
	if err := errors.Join(s.broker.start(), s.ready(ctx)); err != nil {
		return nil, fmt.Errorf("after a kill: %w", err)
	}
	back := time.Since(began)
	n, err := s.queued(ctx)
	if err == nil && n < o.Jobs-1 { // one may be with a worker
		err = fmt.Errorf("%d of %d jobs are there after a kill", n, o.Jobs)
	}
	most = max(most, peak(s.broker.cmd.Process.Pid))
	return &soakResult{fmt.Sprintf("%d jobs of 1 KiB queued in %s; kill -9, and ready again with all of them in %s", o.Jobs, queued.Round(100*time.Millisecond),
		back.Round(100*time.Millisecond)), most, soakBound + int64(backlogMax*float64(o.Jobs))}, err
}

// pile submits jobs that wait at the gate.
func (s *soaked) pile(ctx context.Context, c *sdk.Client, n int) error {
	body := []byte(soakBody("gate", 1<<10))
	jobs := iter.Seq[sdk.Job](func(yield func(sdk.Job) bool) {
		for range n {
			if !yield(sdk.Job{Class: wire.Batch, Body: body}) {
				return
			}
		}
	})
	for _, err := range c.SubmitMany(ctx, jobs) {
		if err != nil {
			return err
		}
	}
	return nil
}

// queued counts the messages of the jobs stream.
func (s *soaked) queued(ctx context.Context) (int, error) {
	js, err := (&Fleet{nats: []string{s.nats}}).connect()
	if err != nil {
		return 0, err
	}
	defer js.Conn().Close()
	var subjects wire.Subjects
	n := 0
	for _, kind := range []string{wire.StreamJobs, wire.StreamWork} {
		stream, err := js.Stream(ctx, subjects.Stream(kind))
		if err != nil {
			return 0, err
		}
		n += int(stream.CachedInfo().State.Msgs)
	}
	return n, nil
}

// soakReaders has many clients follow one answer while it is streamed, read its
// first KiB and stop. Some go on in the end, and get all of it.
func soakReaders(ctx context.Context, o *SoakOptions) (*soakResult, error) {
	s, err := newSoaked(ctx, o, 4, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }()
	conns := make([]*soakReader, o.Readers)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.conn.Close() // nothing was written that matters
			}
		}
	}()
	stop := context.AfterFunc(ctx, s.group.close) // who reads sees it
	defer stop()
	began := time.Now()
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range conns {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if conns[i], err = s.reader(); err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	wg.Wait()
	if f := failed.Load(); f != nil {
		return nil, fmt.Errorf("a reader: %w", *f)
	}
	took := time.Since(began)
	if err := s.quick(ctx, 30*time.Second); err != nil {
		return nil, fmt.Errorf("a job beside the readers: %w", err)
	}
	close(s.provider.gate)
	const whole = 4
	var next atomic.Int64
	err = s.together(whole, func() error { return s.readOn(conns[int(next.Add(1)-1)*len(conns)/whole]) })
	if err != nil {
		return nil, fmt.Errorf("a reader that goes on: %w", err)
	}
	return &soakResult{fmt.Sprintf("%d readers in %s stop after a KiB of an answer that goes on; %d read it to its end", o.Readers, took.Round(100*time.Millisecond), whole),
		peak(s.broker.cmd.Process.Pid), soakBound + int64(o.Readers)*readerKiB>>10}, nil
}

// soakReader is a client in the middle of an answer.
type soakReader struct {
	conn net.Conn
	body io.Reader
}

// reader asks for the answer and reads its beginning. All have the same job.
func (s *soaked) reader() (*soakReader, error) {
	c, err := net.Dial("tcp", s.http)
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetReadBuffer(16 << 10) // less waits in the system, and more in the broker
	body := `{"model":"chunks","stream":true,"max_tokens":16,"messages":[{"role":"user","content":"x"}]}`
	_ = c.SetDeadline(time.Now().Add(3 * time.Minute)) // it fails only on a closed connection
	if _, err = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\nSluice-Job-Id: chunks\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 4<<10), nil)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	head := make([]byte, 1<<10)
	if _, err = io.ReadFull(resp.Body, head); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %.200q", head)
	}
	return &soakReader{c, resp.Body}, err
}

// readOn reads an answer to its end.
func (s *soaked) readOn(c *soakReader) error {
	chunks := 0
	for r := bufio.NewReader(c.body); ; {
		_ = c.conn.SetDeadline(time.Now().Add(3 * time.Minute)) // fails only on a closed connection
		line, err := r.ReadSlice('\n')
		switch {
		case err != nil:
			return fmt.Errorf("%w after %d chunks", err, chunks)
		case bytes.HasPrefix(line, []byte("data: [DONE]")) && chunks < soakChunks-1: // the first was read
			return fmt.Errorf("only %d chunks", chunks)
		case bytes.HasPrefix(line, []byte("data: [DONE]")):
			return nil
		case bytes.HasPrefix(line, []byte("data: ")):
			chunks++
		}
	}
}

// soakAnswer has a provider answer with far more than a record can hold: the
// job fails and says so, whole or streamed, several at a time.
func soakAnswer(ctx context.Context, o *SoakOptions) (*soakResult, error) {
	s, err := newSoaked(ctx, o, 4, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }()
	s.provider.huge = o.Answer << 20
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for _, stream := range []bool{false, true} {
		err := s.together(4, func() error {
			res, err := s.ask(ctx, c, "huge", stream)
			if err == nil && (res.Record.Status != wire.Failed || res.Record.Entry.Error != wire.CodeTooLarge) {
				err = fmt.Errorf("stream %t: ended as %s/%s, want failed/%s", stream, res.Record.Status, res.Record.Entry.Error, wire.CodeTooLarge)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &soakResult{fmt.Sprintf("4 answers of %d MiB at once, whole and streamed, end as %s", o.Answer, wire.CodeTooLarge), peak(s.broker.cmd.Process.Pid), soakBound}, nil
}

// together runs f so many times at once and joins what went wrong.
func (s *soaked) together(n int, f func() error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// soakDrip has calls at a provider that sends a byte a second: never idle, and
// never done. The pool's timeout ends them.
func soakDrip(ctx context.Context, o *SoakOptions) (*soakResult, error) {
	s, err := newSoaked(ctx, o, o.Calls, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }()
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	began := time.Now()
	err = s.together(o.Calls, func() error {
		res, err := s.ask(ctx, c, "drip", true)
		if err == nil && (res.Record.Status != wire.Failed || res.Record.Entry.Error != wire.CodeTimeout) {
			err = fmt.Errorf("ended as %s/%s, want failed/%s", res.Record.Status, res.Record.Entry.Error, wire.CodeTimeout)
		}
		return err
	})
	return &soakResult{fmt.Sprintf("%d streams of a byte a second at once end as %s after %s", o.Calls, wire.CodeTimeout, time.Since(began).Round(100*time.Millisecond)),
		peak(s.broker.cmd.Process.Pid), soakBound}, err
}
