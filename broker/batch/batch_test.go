package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

// A text is cut into the same lines however it arrives.
func TestSplitter(t *testing.T) {
	const text = "\xef\xbb\xbfone\r\n\n  \ntwo \n" + "0123456789abcdef\nlast"
	want := "1:one 4:two 5:0123456789a 6:last"
	for size := 1; size <= len(text); size++ {
		var got []string
		s := &splitter{most: 10, each: func(line []byte, n int64) error {
			got = append(got, fmt.Sprintf("%d:%s", n, line[:min(len(line), 11)]))
			return nil
		}}
		for part := range slices.Chunk([]byte(text), size) {
			if _, err := s.Write(part); err != nil {
				t.Fatal(err)
			}
			if len(s.rest) > s.most+1 {
				t.Fatalf("%d bytes are kept", len(s.rest))
			}
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("in parts of %d: %q", size, got)
		}
	}
	stop := errors.New("stop")
	s := &splitter{most: 10, each: func([]byte, int64) error { return stop }}
	if _, err := s.Write([]byte("a\nb\n")); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestPackLines(t *testing.T) {
	inverse := func(numbers []uint32) bool {
		var lines, got []int64
		for _, n := range numbers {
			lines = append(lines, int64(n)+1)
		}
		err := unpackLines(packLines(lines), func(n int64) { got = append(got, n) })
		return err == nil && slices.Equal(got, lines)
	}
	if err := quick.Check(inverse, nil); err != nil {
		t.Error(err)
	}
	// The worst commit: as many lines as fit, all over a window.
	r := rand.New(rand.NewPCG(1, 1))
	var lines []int64
	for range commitLines {
		lines = append(lines, 4_900_000+r.Int64N(100_000))
	}
	if n := len(packLines(lines)); n > 48<<10 {
		t.Errorf("%d bytes of a header that may have 64 KiB", n)
	}
	for _, bad := range []string{"!", "gA", "AQ"} { // no base64, cut, and back to nothing
		if err := unpackLines(bad, func(int64) {}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestBitmap(t *testing.T) {
	var b bitmap
	in := map[int64]bool{}
	r := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		n := r.Int64N(1 << 20)
		b.add(n)
		in[n] = true
	}
	for n := range int64(1 << 21) {
		if b.has(n) != in[n] {
			t.Fatalf("%d: %v", n, b.has(n))
		}
	}
}

func TestSplitJob(t *testing.T) {
	m := &Manifest{ID: "batch_0a-b"}
	for _, n := range []int64{1, 17, 5_000_000} {
		if id, line, ok := splitJob(m.job(n)); !ok || id != m.ID || line != n {
			t.Errorf("%s: %s, %d, %v", m.job(n), id, line, ok)
		}
	}
	for _, job := range []string{"", "x", "x-", "x-0", "x-01", "x-+1", "x--1", "x-1x"} {
		if _, line, ok := splitJob(job); ok && job != "x--1" {
			t.Errorf("%q is line %d", job, line)
		}
	}
	if n := len(prefixes[Anthropic]) + 32 + len("-5000000"); n > 64 {
		t.Errorf("a job ID may have %d bytes", n)
	}
}

// TestStates walks every way through the states, and no other (I3).
func TestStates(t *testing.T) {
	all := []Status{Validating, InProgress, Finalizing, Cancelling, Completed, Failed, Expired, Cancelled}
	want := "validating>in_progress validating>cancelling validating>failed in_progress>finalizing in_progress>cancelling in_progress>failed " +
		"finalizing>completed finalizing>expired cancelling>cancelled"
	var got []string
	for _, from := range all {
		for _, to := range all {
			m := &Manifest{Status: from, At: map[Status]int64{}}
			ok := m.move(to, time.Unix(7, 0))
			if ok != (m.At[to] == 7) || ok != (m.Status == to && from != to) || from.Terminal() && ok {
				t.Errorf("%s to %s: %v, %+v", from, to, ok, m)
			}
			if ok {
				got = append(got, string(from)+">"+string(to))
			}
		}
	}
	if strings.Join(got, " ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, " "), want)
	}
}

func TestRender(t *testing.T) {
	openai, anthropic := &Manifest{Spec: Spec{API: OpenAI}, ID: "batch_7"}, &Manifest{Spec: Spec{API: Anthropic}, ID: "msgbatch_7"}
	fail := []byte(`{"error":{"message":"no <b>","code":"x"}}`)
	for _, c := range []struct {
		r                 result
		openai, anthropic string
	}{
		{result{line: 1, id: "a\"\n", status: wire.Succeeded, http: 200, body: []byte("{\n \"x\": 1\n}")},
			`{"id":"batch_req_7-1","custom_id":"a\"\n","response":{"status_code":200,"request_id":"batch_7-1","body":{"x":1}},"error":null}`,
			`{"custom_id":"a\"\n","result":{"type":"succeeded","message":{"x":1}}}`},
		{result{line: 2, id: "b", status: wire.Failed, code: wire.CodeRateLimited, http: 429, body: fail},
			`{"id":"batch_req_7-2","custom_id":"b","response":{"status_code":429,"request_id":"batch_7-2","body":{"error":{"message":"no <b>","code":"x"}}},"error":null}`,
			`{"custom_id":"b","result":{"type":"errored","error":{"type":"error","error":{"type":"rate_limit_error","message":"no \u003cb\u003e"}}}}`},
		{result{line: 3, id: "c", status: wire.Cancelled},
			`{"id":"batch_req_7-3","custom_id":"c","response":null,"error":{"code":"batch_cancelled","message":"This request was cancelled before it was finished."}}`,
			`{"custom_id":"c","result":{"type":"canceled"}}`},
		{result{line: 4, id: "d", status: wire.Expired},
			`{"id":"batch_req_7-4","custom_id":"d","response":null,"error":{"code":"batch_expired","message":"This request could not be executed before the completion window expired."}}`,
			`{"custom_id":"d","result":{"type":"expired"}}`},
		{result{line: 5, id: "e", status: wire.Succeeded, http: 200, body: []byte("{")},
			`{"id":"batch_req_7-5","custom_id":"e","response":{"status_code":200,"request_id":"batch_7-5","body":null},"error":null}`,
			`{"custom_id":"e","result":{"type":"succeeded","message":null}}`},
	} {
		var p, q pending
		p.add(openai, &c.r)
		q.add(anthropic, &c.r)
		out, errs := c.openai+"\n", ""
		if c.r.status != wire.Succeeded {
			out, errs = "", out
		}
		if string(p.out) != out || string(p.errs) != errs || p.tally.Output != int64(len(out)) || p.tally.Errors != int64(len(errs)) {
			t.Errorf("%s%s\nwant\n%s%s", p.out, p.errs, out, errs)
		}
		if string(q.out) != c.anthropic+"\n" || len(q.errs) != 0 || q.tally.Output != int64(len(q.out)) {
			t.Errorf("%s\nwant\n%s", q.out, c.anthropic)
		}
		if p.tally.Done() != 1 || q.tally.Done() != 1 {
			t.Errorf("%+v", p.tally)
		}
	}
}

// A line's number and size decide nothing about where a page ends.
func TestCut(t *testing.T) {
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprint(i))
	}
	self := func(s *string) string { return *s }
	for _, c := range []struct {
		p    Page
		want string
		more bool
	}{
		{Page{Limit: 3}, "9 8 7", true}, {Page{Limit: 10}, "9 8 7 6 5 4 3 2 1 0", false}, {Page{Limit: 3, Oldest: true}, "0 1 2", true},
		{Page{Limit: 3, After: "7"}, "6 5 4", true}, {Page{Limit: 3, After: "2"}, "1 0", false}, {Page{Limit: 3, After: "0"}, "", false},
		{Page{Limit: 3, Before: "5"}, "8 7 6", true}, {Page{Limit: 3, Before: "8"}, "9", false}, {Page{Limit: 4, After: "3", Oldest: true}, "4 5 6 7", true},
	} {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		got, more, err := cut(slices.Clone(all), self, self, c.p)
		if err != nil || strings.Join(got, " ") != c.want || more != c.more {
			t.Errorf("%+v: %q, %v, %v", c.p, got, more, err)
		}
	}
	for _, p := range []Page{{Limit: 1, After: "x"}, {Limit: 1, Before: "x"}} {
		if _, _, err := cut(slices.Clone(all), self, self, p); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

// A result waits for its line to be added, unless the line is none of ours.
func TestWindow(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	w := newWindow(2)
	var all sync.WaitGroup
	all.Go(func() {
		if e, ok, err := w.take(ctx, 2); !ok || err != nil || e.id != "two" {
			t.Errorf("%+v, %v, %v", e, ok, err)
		}
		w.remove([]int64{2})
	})
	for line, id := range []string{1: "one", 2: "two", 3: "three"} {
		if id != "" {
			if err := w.add(ctx, int64(line), entry{id: id, job: true, meta: wire.Meta{ID: id}}); err != nil { // the third waits for the second's end
				t.Error(err)
			}
		}
	}
	all.Wait()
	for _, line := range []int64{2, 99} { // committed, and none of ours: the window is full
		if _, ok, err := w.take(ctx, line); ok || err != nil {
			t.Errorf("line %d: %v, %v", line, ok, err)
		}
	}
	if _, ok, _ := w.take(ctx, 1); !ok {
		t.Error("the first is not there")
	}
	if _, ok, _ := w.take(ctx, 1); ok {
		t.Error("the first has two results")
	}
	if jobs := w.running(); len(jobs) != 1 || jobs[0].ID != "three" {
		t.Errorf("running: %+v", jobs)
	}
	gone := errors.New("gone")
	time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
	if err := w.add(ctx, 4, entry{}); !errors.Is(err, gone) {
		t.Errorf("a full window: %v", err)
	}
	w.remove([]int64{1})
	if _, _, err := w.take(ctx, 4); !errors.Is(err, gone) {
		t.Errorf("a line that is not there yet: %v", err)
	}
	w.end()
	if _, ok, err := w.take(t.Context(), 4); ok || err != nil {
		t.Errorf("a line that will not come: %v, %v", ok, err)
	}
}

// FuzzReadLine: what is taken apart is put together again by anybody's JSON.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte(`{"custom_id":"a","method":"POST","url":"/v1/messages","body":{}}`))
	f.Add([]byte(`{"body":{"x":[1]},"custom_id":"\u00e4","method":"POST","url":"/v1/messages","body":{"y":2}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, fault := readLine(line, wire.Messages)
		if fault != nil {
			if fault.Code == "" || fault.Message == "" || bytes.Contains([]byte(fault.Message), line) && len(line) > 20 {
				t.Errorf("%+v", fault)
			}
			return
		}
		if r.id == "" || len(r.id) > MaxCustomID || len(r.body) < 2 || r.body[0] != '{' || !bytes.Contains(line, r.body) {
			t.Errorf("%q of %q", r, line)
		}
	})
}
