package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// Report is what a run under chaos came to. The books are the simulated
// providers' own and know nothing of the broker.
type Report struct {
	Seed       uint64
	Jobs       int // submitted
	Accepted   int // whose publish was acknowledged
	Faults     map[string]int
	Exits      int // processes that ended by themselves
	Slow       int // processes that did not stop in time
	Took, Calm time.Duration
	Statuses   map[string]int // jobs, by the status of their terminal record

	Lost    int // accepted jobs without a terminal record
	Doubled int // jobs with two terminal records, or something after one
	Unrowed int // jobs without exactly one row, attempts with two rows
	Strange int // rows that no attempt of the ledger stands behind, or the other way

	Calls    int            // in the books
	Rows     int            // of attempts
	Attempts map[string]int // rows, by status
	Unbooked int            // calls without a row, calls booked twice, rows of answers that the books do not know
	Cuts     int            // rows of attempts whose worker, or whose call, was cut: estimated

	Costs, Books    *big.Int // nano-dollars of the attempts that were heard to their end: ClickHouse, books
	Estimated, True *big.Int // nano-dollars of those that were cut: ClickHouse, books

	Limit wire.NanoUSD // of the budget
	// Peak is the most that was ever paid, by the books, and held under the
	// budget, by Holds holds of Holders routers; Gaps is how often some of them
	// were removed before they were read.
	Peak                 int64
	Holds, Gaps, Holders int
	// Counted is what the budget has to say was spent: attempts that were cut
	// count as their worst case there.
	Counted int64
	ends    []ending
	// Spent and Billed are what all attempts under the budget cost: ClickHouse,
	// books. They differ by what cut attempts cost beyond their estimates, which
	// no part of Sluice can know.
	Spent, Billed *big.Int

	Shown, Misshown int // answers of the dashboard's interface and of `sluice cost` that were compared with the books, and those that differ

	Left   []string // what is left in queues and at providers
	faults []string // examples, for people
}

// maxExamples bounds the examples of each run.
const maxExamples = 20

func (r *Report) example(format string, args ...any) {
	if len(r.faults) < maxExamples {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// Err is nil if nothing was lost, doubled, miscounted or left.
func (r *Report) Err() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(r.Accepted != r.Jobs, "%d of %d jobs were accepted", r.Accepted, r.Jobs)
	bad(r.Lost != 0, "%d jobs lost", r.Lost)
	bad(r.Doubled != 0, "%d jobs with more than one end", r.Doubled)
	bad(r.Unrowed != 0, "%d jobs or attempts without exactly one row", r.Unrowed)
	bad(r.Strange != 0, "%d rows and records without their counterpart", r.Strange)
	bad(r.Unbooked != 0, "%d calls and rows without their counterpart", r.Unbooked)
	bad(r.Statuses[string(wire.Failed)] != 0, "%d jobs failed", r.Statuses[string(wire.Failed)])
	bad(r.Costs.Cmp(r.Books) != 0, "costs differ: %s nano-dollars in ClickHouse, %s in the books", r.Costs, r.Books)
	limit := big.NewInt(int64(r.Limit))
	bad(r.Spent.Cmp(limit) > 0, "%s nano-dollars in ClickHouse under a budget of %d", r.Spent, r.Limit)
	bad(r.Misshown != 0, "%d of %d answers of dashboard and sluice cost differ from the books", r.Misshown, r.Shown)
	bad(r.Billed.Cmp(limit) > 0, "%s nano-dollars in the provider's books under a budget of %d", r.Billed, r.Limit)
	bad(r.Peak > int64(r.Limit), "%d nano-dollars were paid and held at once under a budget of %d", r.Peak, r.Limit)
	bad(r.Holds == 0 && r.Jobs > 0, "no holds were seen")
	bad(len(r.Left) != 0, "left over: %s", strings.Join(r.Left, "; "))
	for _, f := range r.faults {
		errs = append(errs, errors.New(f))
	}
	return errors.Join(errs...)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "seed %d      %d jobs accepted in %.0f s, through %s\n", r.Seed, r.Accepted, r.Took.Seconds(), listed(r.Faults))
	fmt.Fprintf(w, "processes   %d ended by themselves, %d did not stop in time; all done %.0f s after the last fault\n", r.Exits, r.Slow, r.Calm.Seconds())
	fmt.Fprintf(w, "records     accepted − exactly one end = %d; %d with more than one\n", r.Lost, r.Doubled)
	fmt.Fprintf(w, "ends        %s\n", listed(r.Statuses))
	fmt.Fprintf(w, "attempts    %d rows, %d provider calls, %d without counterpart (%s)\n", r.Rows, r.Calls, r.Unbooked+r.Unrowed+r.Strange, listed(r.Attempts))
	fmt.Fprintf(w, "cost        %s nano-dollars in ClickHouse, %s in the providers' books\n", r.Costs, r.Books)
	fmt.Fprintf(w, "cut         %d attempts: %s nano-dollars estimated, %s in the books\n", r.Cuts, r.Estimated, r.True)
	fmt.Fprintf(w, "budget      %d nano-dollars; %s spent by ClickHouse, %s by the provider's books\n", r.Limit, r.Spent, r.Billed)
	fmt.Fprintf(w, "shown       %d answers of dashboard and sluice cost, %d of them unlike the books\n", r.Shown, r.Misshown)
	fmt.Fprintf(w, "held        %d nano-dollars (%.2f %%) at most at any time, paid and held: %d holds by %d router processes, %d gaps\n", r.Peak, r.used(big.NewInt(r.Peak)), r.Holds, r.Holders, r.Gaps)
	fmt.Fprintf(w, "left over   %d\n", len(r.Left))
}

// listed is the counts as words.
func listed(counts map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(out, ", ")
}

// Row is the report as a row of a table in Markdown.
func (r *Report) Row() string {
	n := 0
	for _, k := range r.Faults {
		n += k
	}
	return fmt.Sprintf("| %d | %d | %d | %d | %d | %d | %d | %s | %s | %d | %s | %s | %.2f %% | %.2f %% | %.2f %% | %d |", r.Seed, r.Accepted, n, r.Lost, r.Doubled,
		r.Calls, r.Unbooked+r.Unrowed+r.Strange, r.Costs, r.Books, r.Cuts, r.Estimated, r.True,
		r.used(r.Spent), r.used(r.Billed), r.used(big.NewInt(r.Peak)), len(r.Left))
}

// used is how much of the budget an amount is, in percent.
func (r *Report) used(amount *big.Int) float64 {
	f, _ := new(big.Float).SetInt(amount).Float64()
	return 100 * f / float64(r.Limit)
}

// TableHead is the head of a table of Rows.
const TableHead = "| seed | accepted jobs | faults | accepted − exactly one end | ended twice | provider calls | calls or rows without counterpart | cost, ClickHouse | cost, books | cut attempts | their cost, estimated | their cost, books | budget used, ClickHouse | budget used, books | most ever paid and held | left in queues |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"

// attemptRow is what ClickHouse says of an attempt.
type attemptRow struct {
	status, source string
	http           int
	cost           *big.Int // nil: unknown
}

// check compares acknowledgements, ledger, ClickHouse and books.
func (f *Fleet) check(ctx context.Context, js jetstream.JetStream, st *store.Store, r *Report, accepted map[string]bool, books []string, a *audit) error {
	r.Costs, r.Books, r.Estimated, r.True = new(big.Int), new(big.Int), new(big.Int), new(big.Int)
	r.Spent, r.Billed = new(big.Int), new(big.Int)
	r.Accepted, r.Statuses, r.Attempts = len(accepted), map[string]int{}, map[string]int{}
	attempts, err := r.readLedger(ctx, js, accepted)
	if err != nil {
		return err
	}
	rows, err := r.readRows(ctx, st)
	if err != nil {
		return err
	}
	for k := range attempts {
		if _, ok := rows[k]; !ok {
			r.Strange++
			r.example("attempt %s ended in the ledger and has no row", k)
		}
	}
	for k := range rows {
		if !attempts[k] {
			r.Strange++
			r.example("attempt %s has a row and no end in the ledger", k)
		}
	}
	if err := r.readJobs(ctx, st, accepted); err != nil {
		return err
	}
	booked, paid := map[string]bool{}, map[string]int64{}
	for _, name := range books {
		lines, _, err := simulated.ReadBooks(filepath.Join(f.dir, name))
		if err != nil {
			return err
		}
		for i := range lines {
			r.book(&lines[i], rows, booked)
		}
		if name == budgetPool+".books" {
			r.Billed = simulated.Total(lines)
			for i := range lines {
				if c := lines[i].Cost; c != nil {
					paid[lines[i].Key] = *c
				}
			}
		}
	}
	r.Peak, r.Holds, r.Gaps, r.Holders = a.peak(r.ends, paid), a.Holds, a.Gaps, len(a.by)
	for k, row := range rows {
		if !booked[k] && row.http != 0 && row.status != string(wire.Interrupted) {
			r.Unbooked++
			r.example("attempt %s has an answer that the books do not know: %+v", k, row)
		}
	}
	return nil
}

// heard reports whether the worker heard the call to its end.
func (a *attemptRow) heard() bool {
	return a.status != string(wire.Interrupted) && a.source == string(wire.UsageFromProvider)
}

// book takes one line of the books.
func (r *Report) book(l *simulated.Line, rows map[string]attemptRow, booked map[string]bool) {
	r.Calls++
	row, known := rows[l.Key]
	switch {
	case !known:
		r.Unbooked++
		r.example("call %s has no row: %+v", l.Key, *l)
		return
	case booked[l.Key]:
		r.Unbooked++
		r.example("call %s was made twice", l.Key)
	}
	booked[l.Key] = true
	cost := new(big.Int)
	if l.Cost != nil {
		cost.SetInt64(*l.Cost)
	}
	switch {
	case !row.heard():
		r.True.Add(r.True, cost)
	case row.cost == nil || row.cost.Cmp(cost) != 0:
		r.example("call %s costs %s in the books: %+v", l.Key, cost, row)
		fallthrough
	default:
		r.Books.Add(r.Books, cost)
	}
}

// readLedger counts the terminal records of each job, and lists the attempts
// that ended, by their Idempotency-Key.
func (r *Report) readLedger(ctx context.Context, js jetstream.JetStream, accepted map[string]bool) (map[string]bool, error) {
	ends, attempts := map[string]int{}, map[string]bool{}
	if len(accepted) == 0 {
		return attempts, nil // perhaps there is no record at all
	}
	err := readRecords(ctx, js, 20*time.Second, func(rec *stored) bool {
		switch {
		case ends[rec.job] > 0:
			ends[rec.job]++ // something after the end
		case rec.Status.Terminal():
			ends[rec.job] = 1
			r.Statuses[string(rec.Status)]++
		}
		end := ending{job: rec.job, seq: rec.Entry.Meta.Seq, at: rec.at, terminal: rec.Status.Terminal()}
		if rec.EndsAttempt() {
			k := engine.IdempotencyKey(tenant, rec.job, rec.Entry.Attempt.N)
			if attempts[k] {
				r.Strange++
				r.example("attempt %s ended twice in the ledger", k)
			}
			attempts[k] = true
			end.n, end.key = rec.Entry.Attempt.N, k
			r.Counted += counted(rec.Entry.Attempt)
		}
		if end.terminal || end.n > 0 {
			r.ends = append(r.ends, end)
		}
		return rec.last
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for job := range accepted {
		switch n := ends[job]; {
		case n == 0:
			r.Lost++
			r.example("job %s has no terminal record", job)
		case n > 1:
			r.Doubled++
			r.example("job %s goes on after its end", job)
		}
	}
	return attempts, nil
}

// readRows reads the attempts table, by Idempotency-Key.
func (r *Report) readRows(ctx context.Context, st *store.Store) (map[string]attemptRow, error) {
	res, err := st.Query(ctx, "SELECT job_id, toInt64(attempt), toString(status), toString(usage_source), toInt64(http_status), ifNull(cost_nano_usd, toInt64(-1)), toString(pool) FROM attempts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Close() }() // read to its end
	rows := map[string]attemptRow{}
	for res.Next() {
		v := res.Values()
		n, _ := v[1].(int64)
		code, _ := v[4].(int64)
		cost, _ := v[5].(int64)
		row := attemptRow{status: fmt.Sprint(v[2]), source: fmt.Sprint(v[3]), http: int(code)}
		k := engine.IdempotencyKey(tenant, fmt.Sprint(v[0]), int(n))
		if _, twice := rows[k]; twice {
			r.Unrowed++
			r.example("attempt %s has two rows", k)
		}
		r.Rows++
		r.Attempts[row.status]++
		sum := r.Estimated
		if row.heard() {
			sum = r.Costs
		} else {
			r.Cuts++
		}
		if cost >= 0 {
			row.cost = big.NewInt(cost)
			sum.Add(sum, row.cost)
			if fmt.Sprint(v[6]) == budgetPool {
				r.Spent.Add(r.Spent, row.cost)
			}
		}
		rows[k] = row
	}
	return rows, res.Err()
}

// readJobs sees that each accepted job is one row.
func (r *Report) readJobs(ctx context.Context, st *store.Store, accepted map[string]bool) error {
	res, err := st.Query(ctx, "SELECT job_id, toInt64(count()) FROM jobs GROUP BY job_id")
	if err != nil {
		return err
	}
	defer func() { _ = res.Close() }() // read to its end
	rows := map[string]int64{}
	for res.Next() {
		v := res.Values()
		rows[fmt.Sprint(v[0])], _ = v[1].(int64)
	}
	for job := range accepted {
		if rows[job] != 1 {
			r.Unrowed++
			r.example("job %s has %d rows", job, rows[job])
		}
	}
	return res.Err()
}
