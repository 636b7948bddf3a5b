package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/web"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

const (
	pollFirst   = 50 * time.Millisecond // and doubling
	pollLast    = time.Second
	pollAway    = time.Minute      // for which a gateway may be away
	lineEvery   = 5 * time.Second  // between two lines where there is no terminal
	rateOver    = 20 * time.Second // that the rate is taken over
	barWidth    = 24
	rateSamples = 64
)

func (g *globals) watchBatch(cmd *cobra.Command, f *batchFlags, id string) error {
	return g.withWeb(cmd, f, func(_ context.Context, client *web.Client) error { return g.followBatch(cmd, f, client, id) })
}

// followBatch shows a batch's progress to its end, fetches its results and
// says how it went.
func (g *globals) followBatch(cmd *cobra.Command, f *batchFlags, client *web.Client, id string) error {
	p := &progress{w: cmd.ErrOrStderr(), tty: isTerminal(cmd.ErrOrStderr()), quiet: g.json}
	b, err := p.follow(cmd.Context(), client, id)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return failed(err, "follow it with: sluice batch watch "+id+"; stop it with: sluice batch cancel "+id, "the wait ended, batch %s goes on", id)
		}
		return err
	}
	if err := g.fetchResults(cmd.Context(), cmd, f, client, b); err != nil {
		return err
	}
	switch {
	case b.Status == "failed":
		_ = printFaults(cmd.ErrOrStderr(), b)
		return failed(nil, "correct these lines and submit it again", "batch %s failed: nothing of it ran", id)
	case b.Status != "completed":
		return failed(nil, "", "batch %s is %s with %d of %d lines done", id, b.Status, b.Counts.Completed, b.Counts.Total)
	case b.Counts.Failed > 0:
		return failed(nil, "see the file of failed lines", "%d of %d lines of batch %s failed: %s", b.Counts.Failed, b.Counts.Total, id, failureKinds(b))
	}
	return nil
}

// progress shows how far a batch is.
type progress struct {
	w       io.Writer
	tty     bool // it is one line that is written again
	quiet   bool
	samples []sample
	said    time.Time
	status  string
	width   int // of the line that is there
}

type sample struct {
	at   time.Time
	done int64
}

// follow polls until the batch has ended. A gateway may be away for a while.
func (p *progress) follow(ctx context.Context, client *web.Client, id string) (*web.Batch, error) {
	heard := time.Now()
	for pause := pollFirst; ; pause = min(2*pause, pollLast) {
		b, err := client.Batch(ctx, id)
		var e *sdk.Error
		switch {
		case err == nil:
			heard = time.Now()
			p.show(b, heard)
			if b.Ended() {
				p.end()
				return b, nil
			}
		case ctx.Err() != nil, !errors.As(err, &e), e.Code != wire.CodeUnavailable, time.Since(heard) > pollAway:
			p.end()
			return nil, err
		}
		select {
		case <-ctx.Done():
			p.end()
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// show writes a line about the batch: at a terminal over the last one,
// otherwise now and then.
func (p *progress) show(b *web.Batch, now time.Time) {
	rate := p.rate(sample{now, b.Counts.Completed + b.Counts.Failed})
	news := b.Status != p.status || b.Ended()
	if p.quiet || !p.tty && !news && now.Sub(p.said) < lineEvery {
		return
	}
	p.said, p.status = now, b.Status
	line := progressLine(b, rate)
	if !p.tty {
		say(p.w, "%s\n", line)
		return
	}
	say(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, p.width-len([]rune(line)))))
	p.width = len([]rune(line))
}

// end leaves the line as it is.
func (p *progress) end() {
	if p.width > 0 {
		say(p.w, "\n")
		p.width = 0
	}
}

// rate is lines a second over the last while, 0: not known yet.
func (p *progress) rate(s sample) float64 {
	if len(p.samples) == 0 && s.done == 0 {
		p.samples = []sample{s}
		return 0
	}
	p.samples = append(p.samples, s)
	for len(p.samples) > 2 && (s.at.Sub(p.samples[0].at) > rateOver || len(p.samples) > rateSamples) {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if d := s.at.Sub(first.at).Seconds(); d > 0 && s.done > first.done {
		return float64(s.done-first.done) / d
	}
	return 0
}

// progressLine is one line about a batch that goes at a rate.
func progressLine(b *web.Batch, rate float64) string {
	done, total := b.Counts.Completed+b.Counts.Failed, b.Counts.Total
	if total == 0 {
		return b.Status
	}
	full := int(done * barWidth / total)
	line := fmt.Sprintf("[%s%s] %d/%d %d%%", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), done, total, done*100/total)
	if rate > 0 {
		line += fmt.Sprintf(" · %.0f/s", rate)
		if done < total {
			eta := time.Duration(float64(total-done) / rate * float64(time.Second))
			line += " · " + eta.Round(time.Second).String() + " left"
		}
	}
	if done > 0 {
		line += " · " + batchCost(b)
	}
	if kinds := failureKinds(b); kinds != "" {
		line += " · failed: " + kinds
	}
	if b.Status != "in_progress" {
		line += " · " + b.Status
	}
	return clean(line)
}

// isTerminal reports whether w can move its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
