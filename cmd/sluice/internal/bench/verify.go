package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// Report is what a replay came to. The books are the simulated providers' own
// and know nothing of the broker.
type Report struct {
	Jobs        int // submitted
	Kills       int
	Took        time.Duration
	Terminal    int      // jobs with exactly one terminal record, the last
	Rows        int      // of attempts
	Interrupted int      // rows of attempts that a kill cut off
	Calls       int      // in the books
	Lost        int      // jobs without a terminal record
	Doubled     int      // jobs with two, or something after one; attempts with two rows
	Unbooked    int      // ended attempts that the books do not know, and calls without a row
	Costs       *big.Int // nano-dollars in ClickHouse, of attempts that ended
	Books       *big.Int // nano-dollars in the books, of the same attempts
	Estimated   *big.Int // nano-dollars in ClickHouse, of interrupted attempts
	True        *big.Int // nano-dollars in the books, of the same attempts
}

// Err is nil if nothing was lost, doubled or miscounted.
func (r *Report) Err() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(r.Lost != 0, "%d jobs lost", r.Lost)
	bad(r.Doubled != 0, "%d jobs or attempts doubled", r.Doubled)
	bad(r.Terminal != r.Jobs, "%d jobs with one terminal record of %d", r.Terminal, r.Jobs)
	bad(r.Unbooked != 0, "%d attempts and calls without their counterpart", r.Unbooked)
	bad(r.Costs.Cmp(r.Books) != 0, "costs differ: %s nano-dollars in ClickHouse, %s in the providers' books", r.Costs, r.Books)
	return errors.Join(errs...)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "replayed    %d jobs in %.1f s, %d kill -9 on the way\n", r.Jobs, r.Took.Seconds(), r.Kills)
	fmt.Fprintf(w, "records     %d jobs with exactly one terminal record, %d lost, %d doubled\n", r.Terminal, r.Lost, r.Doubled)
	fmt.Fprintf(w, "attempts    %d rows for %d provider calls, %d of them interrupted, %d unmatched\n", r.Rows, r.Calls, r.Interrupted, r.Unbooked)
	fmt.Fprintf(w, "cost        %s nano-dollars in ClickHouse, %s in the providers' books\n", r.Costs, r.Books)
	if r.Interrupted > 0 {
		fmt.Fprintf(w, "interrupted %s nano-dollars estimated, %s in the providers' books\n", r.Estimated, r.True)
	}
}

// awaitJobs waits until the jobs table has n rows and the attempts table all of
// theirs, at most two minutes after the last new one.
func (s *System) awaitJobs(ctx context.Context, n int) error {
	var last uint64
	for moved := time.Now(); ; {
		got, err := s.count(ctx, "SELECT count() FROM jobs")
		late := uint64(1)
		if err == nil && got >= uint64(n) { // the tables are filled side by side
			late, err = s.count(ctx, "SELECT (SELECT count() FROM attempts) < (SELECT sum(attempts) FROM jobs)")
		}
		if err == nil && late == 0 {
			return nil
		}
		if err == nil && got != last {
			last, moved = got, time.Now()
		}
		if time.Since(moved) > 2*time.Minute {
			return fmt.Errorf("only %d of %d jobs are rows, and no new one for two minutes: %w", last, n, err)
		}
		if err := ledger.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// attemptKey names an attempt over ledger, tables and books.
type attemptKey struct {
	job     string
	attempt string
}

// row is what ClickHouse says of an attempt.
type row struct {
	status string
	cost   *big.Int // nil: unknown
}

// verify compares ledger, ClickHouse and books.
func (p *process) verify(ctx context.Context, s *System, c *sdk.Client, jobs int) (*Report, error) {
	r := &Report{Jobs: jobs, Costs: new(big.Int), Books: new(big.Int), Estimated: new(big.Int), True: new(big.Int)}
	if err := r.readLedger(ctx, "nats://"+p.nats, jobs); err != nil {
		return nil, err
	}
	rows, err := s.attemptRows(ctx, r)
	if err != nil {
		return nil, err
	}
	booked := map[attemptKey]bool{}
	for _, name := range traceBooks {
		lines, _, err := simulated.ReadBooks(p.books(name))
		if err != nil {
			return nil, err
		}
		for i := range lines {
			r.book(&lines[i], rows, booked)
		}
	}
	for k, row := range rows {
		if !booked[k] && row.status != string(wire.Interrupted) {
			r.Unbooked++
		}
	}
	return r, r.Err()
}

// book takes one line of the books.
func (r *Report) book(l *simulated.Line, rows map[attemptKey]row, booked map[attemptKey]bool) {
	job, attempt, ok := jobOfKey(l.Key)
	k := attemptKey{job, attempt}
	row, known := rows[k]
	r.Calls++
	switch {
	case !ok || !known:
		r.Unbooked++
		return
	case booked[k]:
		r.Doubled++
	}
	booked[k] = true
	cost := new(big.Int)
	if l.Cost != nil {
		cost.SetInt64(*l.Cost)
	}
	if row.status == string(wire.Interrupted) {
		r.True.Add(r.True, cost)
		return
	}
	r.Books.Add(r.Books, cost)
}

// attemptRows reads the attempts table.
func (s *System) attemptRows(ctx context.Context, r *Report) (map[attemptKey]row, error) {
	res, err := s.Store.Query(ctx, "SELECT job_id, toString(attempt), toString(status), toString(ifNull(cost_nano_usd, -1)) FROM attempts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Close() }()
	rows := map[attemptKey]row{}
	for res.Next() {
		v := res.Values()
		k := attemptKey{fmt.Sprint(v[0]), fmt.Sprint(v[1])}
		cost, err := strconv.ParseInt(fmt.Sprint(v[3]), 10, 64)
		if err != nil {
			return nil, err
		}
		r.Rows++
		if _, twice := rows[k]; twice {
			r.Doubled++
		}
		rw := row{status: fmt.Sprint(v[2])}
		if cost >= 0 {
			rw.cost = big.NewInt(cost)
			sum := r.Costs
			if rw.status == string(wire.Interrupted) {
				sum = r.Estimated
			}
			sum.Add(sum, rw.cost)
		}
		if rw.status == string(wire.Interrupted) {
			r.Interrupted++
		}
		rows[k] = rw
	}
	return rows, res.Err()
}

// readLedger counts terminal records per job, straight from the stream.
func (r *Report) readLedger(ctx context.Context, url string, jobs int) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var subjects wire.Subjects
	stream, err := js.Stream(ctx, subjects.Stream(wire.StreamLedger))
	if err != nil {
		return err
	}
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return err
	}
	ended := map[string]int{}
	for left := stream.CachedInfo().State.Msgs; left > 0; left-- {
		m, err := cons.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		_, job, _ := subjects.SplitTenantJob(m.Subject())
		switch {
		case ended[job] > 0:
			ended[job]++ // something after the end
		case wire.Status(m.Headers().Get(wire.HeaderStatus)).Terminal():
			ended[job] = 1
		}
	}
	for i := range jobs {
		switch n := ended[traceID(i)]; {
		case n == 0:
			r.Lost++
		case n == 1:
			r.Terminal++
		default:
			r.Doubled++
		}
	}
	return nil
}
