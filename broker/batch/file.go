package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/peek"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// File is what is known of a stored file. Times are Unix seconds.
type File struct {
	ID        string `json:"id"`
	Tenant    string `json:"tenant"`
	Name      string `json:"name"`
	Purpose   string `json:"purpose"` // OpenAI's word; "" for what no list shows
	Bytes     int64  `json:"bytes"`
	CreatedAt int64  `json:"created_at"`
	ExpiresAt int64  `json:"expires_at,omitempty"` // 0: never
	Batch     string `json:"batch,omitempty"`      // whose results it is; "": it has content of its own
	Side      Side   `json:"side,omitempty"`       // of those results
}

// Side is a part of a batch's results.
type Side string

// The two sides of the results.
const (
	Output Side = "output" // of lines that succeeded
	Errors Side = "errors" // of all others
)

// Expired reports whether the file is no longer to be seen.
func (f *File) Expired(now time.Time) bool { return f.ExpiresAt != 0 && now.Unix() >= f.ExpiresAt }

const (
	partSize   = 512 << 10 // bytes of a file's part
	partsAhead = 8         // parts without an acknowledgement
	ackTimeout = 30 * time.Second
)

// Upload is a file that is being written. It belongs to one goroutine.
// End it with Commit or Abort.
type Upload struct {
	ctx    context.Context
	s      *Store
	file   File
	buf    []byte
	flight []*ledger.Future
	err    error
}

// Create begins a file. ctx bounds the whole upload.
func (s *Store) Create(ctx context.Context, tenant string) *Upload {
	return &Upload{ctx: ctx, s: s, file: File{ID: newID("file-"), Tenant: tenant}, buf: make([]byte, 0, partSize)}
}

// Write implements io.Writer. It waits while too many parts are on their way.
func (u *Upload) Write(p []byte) (n int, err error) {
	for n < len(p) && u.err == nil {
		k := copy(u.buf[len(u.buf):cap(u.buf)], p[n:])
		u.buf = u.buf[:len(u.buf)+k]
		n += k
		if len(u.buf) == cap(u.buf) {
			u.flush()
		}
	}
	return n, u.err
}

// ReadFrom implements io.ReaderFrom, without another buffer between.
func (u *Upload) ReadFrom(r io.Reader) (n int64, err error) {
	for u.err == nil {
		k, err := r.Read(u.buf[len(u.buf):cap(u.buf)])
		u.buf = u.buf[:len(u.buf)+k]
		n += int64(k)
		if len(u.buf) == cap(u.buf) {
			u.flush()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, u.err
}

// Bytes is how much was written.
func (u *Upload) Bytes() int64 { return u.file.Bytes + int64(len(u.buf)) }

// flush sends what is in the buffer as a part.
func (u *Upload) flush() {
	if len(u.buf) == 0 || u.err != nil {
		return
	}
	f, err := u.s.pub.Publish(&nats.Msg{Subject: u.s.subjects.Files(u.file.Tenant, u.file.ID), Data: u.buf})
	if err != nil {
		u.err = fmt.Errorf("store a part of the file: %w", err)
		return
	}
	u.flight = append(u.flight, f)
	u.file.Bytes += int64(len(u.buf))
	u.buf = u.buf[:0]
	if len(u.flight) >= partsAhead {
		u.settle()
	}
}

// settle waits for the oldest part on its way. A part that may be missing
// ends the upload: there is no way to put it in its place later.
func (u *Upload) settle() {
	f := u.flight[0]
	u.flight = u.flight[1:]
	if _, err := await(u.ctx, f); err != nil && u.err == nil {
		u.err = fmt.Errorf("store a part of the file: %w", err)
	}
}

// await waits for the stream's answer to a publish.
func await(ctx context.Context, f *ledger.Future) (uint64, error) {
	t := time.NewTimer(ackTimeout)
	defer t.Stop()
	select {
	case <-f.Done():
		return f.Result()
	case <-ctx.Done():
		f.Forget()
		return 0, context.Cause(ctx)
	case <-t.C:
		f.Forget()
		return 0, errors.New("no acknowledgement from the stream")
	}
}

// Commit makes the file visible: with a name, a purpose ("": in no list) and
// an age in seconds at which it expires (0: never).
func (u *Upload) Commit(name, purpose string, age int64) (*File, error) {
	u.flush()
	for len(u.flight) > 0 {
		u.settle()
	}
	if u.err == nil {
		f := &u.file
		f.Name, f.Purpose, f.CreatedAt = name, purpose, time.Now().Unix()
		if age > 0 {
			f.ExpiresAt = f.CreatedAt + age
		}
		_, u.err = u.s.create(u.ctx, kindFile, f.Tenant, f.ID, f)
	}
	if u.err != nil {
		u.Abort()
		return nil, u.err
	}
	return &u.file, nil
}

// Abort removes what was written. What a crash leaves, a Service removes
// later.
func (u *Upload) Abort() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), ackTimeout)
	defer cancel()
	for _, f := range u.flight { // a part on its way could be stored behind the purge
		_, _ = await(ctx, f)
	}
	u.flight = nil
	_ = u.s.purge(ctx, u.file.Tenant, u.file.ID)
}

// Remove removes the file again after Commit.
func (u *Upload) Remove() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), ackTimeout)
	defer cancel()
	_ = u.s.deleteFile(ctx, &u.file) // what stays is removed when it is old
}

// File is what is known of a tenant's file. ErrNotFound: it is not there, or
// has expired.
func (s *Store) File(ctx context.Context, tenant, id string) (*File, error) {
	var f File
	if _, err := s.get(ctx, kindFile, tenant, id, &f); err != nil {
		return nil, err
	}
	if f.Expired(time.Now()) {
		return nil, ErrNotFound
	}
	return &f, nil
}

// Files lists a tenant's files, of one purpose or ("") of all. more says that
// the list goes on.
func (s *Store) Files(ctx context.Context, tenant, purpose string, p Page) (page []File, more bool, err error) {
	var all []File
	now := time.Now()
	err = s.list(ctx, kindFile, tenant, func(v []byte) {
		var f File
		if json.Unmarshal(v, &f) == nil && f.Purpose != "" && !f.Expired(now) && (purpose == "" || f.Purpose == purpose) {
			all = append(all, f)
		}
	})
	if err != nil {
		return nil, false, err
	}
	// A file of results has its batch's time in its ID.
	return cut(all, func(f *File) string { return f.ID }, func(f *File) string { return fmt.Sprintf("%012d %s", f.CreatedAt, f.ID) }, p)
}

// DeleteFile removes a file and its content. A file that a batch under way
// reads is refused.
func (s *Store) DeleteFile(ctx context.Context, tenant, id string) error {
	f, err := s.File(ctx, tenant, id)
	if err != nil {
		return err
	}
	user := ""
	err = s.list(ctx, kindBatch, tenant, func(v []byte) {
		var m Manifest
		if json.Unmarshal(v, &m) == nil && m.Input == id && !m.Status.Terminal() {
			user = m.ID
		}
	})
	if err != nil {
		return err
	}
	if user != "" {
		return wire.Errorf(wire.CodeInvalidRequest, "file_id", "the file %s is the input of batch %s, which is under way: cancel that first", id, user)
	}
	return s.deleteFile(ctx, f)
}

// deleteFile removes a file, and a batch's results with their last file.
func (s *Store) deleteFile(ctx context.Context, f *File) error {
	if err := s.remove(ctx, kindFile, f.Tenant, f.ID); err != nil {
		return err
	}
	if f.Batch == "" {
		return s.purge(ctx, f.Tenant, f.ID)
	}
	for _, side := range []Side{Output, Errors} {
		var other File
		_, err := s.get(ctx, kindFile, f.Tenant, resultID(f.Batch, side), &other)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return s.purge(ctx, f.Tenant, f.Batch)
}

// Bounds of one answer while a file is read: what is in memory of it. One
// message may be larger than that.
const (
	readBatch = 8
	readBytes = 2 << 20
)

// Copy writes a file's content to w, and fails if not all of it is there.
func (s *Store) Copy(ctx context.Context, w io.Writer, f *File) error {
	if f.Batch != "" {
		return s.copyResults(ctx, w, f.Tenant, f.Batch, f.Side, f.Bytes)
	}
	return s.copyParts(ctx, w, f.Tenant, f.ID, f.Bytes, func(m peek.Message) []byte { return m.Data })
}

// copyParts writes the part of each message under a subject that take cuts
// out.
func (s *Store) copyParts(ctx context.Context, w io.Writer, tenant, id string, want int64, take func(peek.Message) []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed error
	var n int64
	from := peek.Walk{Conn: s.js.Conn(), Stream: s.subjects.Stream(wire.StreamFiles), Subject: s.subjects.Files(tenant, id), Batch: readBatch, Bytes: readBytes}
	_, err := from.Run(ctx, func(m peek.Message) {
		part := take(m)
		if failed != nil || len(part) == 0 {
			return
		}
		var k int
		k, failed = w.Write(part)
		n += int64(k)
		if failed != nil {
			cancel(failed)
		}
	}, func() bool { return failed != nil })
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case n != want:
		return fmt.Errorf("%s: %d of %d bytes are there", id, n, want)
	}
	return nil
}

// headerSplit is how many of a commit's bytes belong to the output.
const headerSplit = "Sluice-Split"

// copyResults writes one side of a batch's results.
func (s *Store) copyResults(ctx context.Context, w io.Writer, tenant, batch string, side Side, want int64) error {
	return s.copyParts(ctx, w, tenant, batch, want, func(m peek.Message) []byte {
		n, err := strconv.Atoi(m.Header.Get(headerSplit))
		if err != nil || n < 0 || n > len(m.Data) {
			return nil // shows in the count
		}
		if side == Output {
			return m.Data[:n]
		}
		return m.Data[n:]
	})
}
