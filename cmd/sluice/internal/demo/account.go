package demo

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/simulated"
)

// rowsTimeout is how long rows may take to be in ClickHouse.
const rowsTimeout = 30 * time.Second

// account prints what ClickHouse knows: costs, and whether they are right.
func (d *demo) account(ctx context.Context) error {
	st, err := store.Open(store.Config{DSN: d.sys.app.DSN()})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }() // only read from
	attempts := 0
	for _, h := range d.handles {
		r, err := h.Wait(ctx)
		if err != nil {
			return err
		}
		attempts += r.Attempts
	}
	began := time.Now()
	if err := awaitRows(ctx, st, len(d.handles), attempts); err != nil {
		return err
	}
	d.say("\nEvery job and attempt is a row in ClickHouse, %d ms after the last answer.\n\n$ sluice cost --by pool,model\n",
		time.Since(began).Milliseconds())
	if code := d.cli(ctx, d.out, d.sys.environ, "cost", "--by", "pool,model", "--config", d.sys.config); code != 0 {
		return errors.New("sluice cost failed")
	}
	d.say("\n$ sluice cost --by tenant,class\n")
	if code := d.cli(ctx, d.out, d.sys.environ, "cost", "--by", "tenant,class", "--config", d.sys.config); code != 0 {
		return errors.New("sluice cost failed")
	}
	return d.facts(ctx, st)
}

// awaitRows waits until every job and attempt is a row.
func awaitRows(ctx context.Context, st *store.Store, jobs, attempts int) error {
	ctx, cancel := context.WithTimeout(ctx, rowsTimeout)
	defer cancel()
	for {
		rows, err := read(ctx, st, "SELECT (SELECT count() FROM jobs), (SELECT count() FROM attempts)")
		if err == nil && rows[0][0] == strconv.Itoa(jobs) && rows[0][1] == strconv.Itoa(attempts) {
			return nil
		}
		if e := ledger.Pause(ctx, 50*time.Millisecond); e != nil {
			return fmt.Errorf("ClickHouse does not have %d jobs with %d attempts after %s (%v): %w", jobs, attempts, rowsTimeout, rows, errors.Join(err, e))
		}
	}
}

// read runs a query and gives every value as text; NULL is "".
func read(ctx context.Context, st *store.Store, sql string) ([][]string, error) {
	rows, err := st.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	var out [][]string
	for rows.Next() {
		var line []string
		for _, v := range rows.Values() {
			if v == nil {
				line = append(line, "")
				continue
			}
			line = append(line, fmt.Sprint(v))
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// facts prints what retries were good for, and compares every cost with the
// simulated providers' own books.
func (d *demo) facts(ctx context.Context, st *store.Store) error {
	rows, err := read(ctx, st, `SELECT count(), countIf(status = 'succeeded'), countIf(status = 'succeeded' AND attempts > 1),
		(SELECT countIf(status != 'succeeded') FROM attempts) FROM jobs`)
	if err != nil {
		return err
	}
	js, err := jetstream.New(d.sys.conn)
	if err != nil {
		return err
	}
	dead, err := js.Stream(ctx, wire.Subjects{}.Stream(wire.StreamDead))
	if err != nil {
		return err
	}
	check, err := d.compare(ctx, st)
	if err != nil {
		return err
	}
	r := rows[0]
	d.say("\n%s jobs, %s succeeded. %s attempts failed; retries on another pool rescued %s jobs. Dead letters: %d.\n", r[0], r[1], r[3], r[2],
		dead.CachedInfo().State.Msgs)
	d.say("Cost of the %d calls whose usage the provider reported: $%s in ClickHouse, $%s in the providers' own books.\n", check.calls-check.cut, dollars(check.costs), dollars(check.books))
	if check.cut > 0 {
		d.say("%d calls broke off before that: estimated at $%s, by the books $%s.\n", check.cut, dollars(check.estimated), dollars(check.truly))
	}
	return check.err()
}

// comparison is of ClickHouse and books.
type comparison struct {
	calls        int
	costs, books big.Int // nano-dollars of calls whose usage the provider reported
	cut          int     // calls whose usage is estimated
	estimated    big.Int
	truly        big.Int
	unmatched    []string // attempts of one of both only, or with different costs
}

func (c *comparison) err() error {
	if len(c.unmatched) == 0 {
		return nil
	}
	return fmt.Errorf("%d attempts differ between ClickHouse and the books, among them %s: please report this", len(c.unmatched), c.unmatched[0])
}

// compare goes through every attempt of the simulated pools.
func (d *demo) compare(ctx context.Context, st *store.Store) (*comparison, error) {
	booked := map[string]simulated.Line{}
	var pools []string
	for _, p := range d.sys.cfg.Pools {
		if p.Simulated == nil {
			continue
		}
		pools = append(pools, "'"+p.Name+"'")
		lines, _, err := simulated.ReadBooks(d.sys.books(p.Name))
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			booked[l.Key] = l
		}
	}
	rows, err := read(ctx, st, `SELECT concat(tenant, '-', job_id, '-', toString(attempt)), usage_source, ifNull(cost_nano_usd, -1) FROM attempts
		WHERE pool IN (`+strings.Join(pools, ", ")+`)`)
	if err != nil {
		return nil, err
	}
	c := &comparison{calls: len(rows)}
	for _, r := range rows {
		c.add(r[0], wire.UsageSource(r[1]), r[2], booked)
		delete(booked, r[0])
	}
	for key := range booked {
		c.unmatched = append(c.unmatched, key)
	}
	return c, nil
}

// add compares one attempt with its line.
func (c *comparison) add(key string, source wire.UsageSource, cost string, booked map[string]simulated.Line) {
	l, known := booked[key]
	n, ok := new(big.Int).SetString(cost, 10)
	if !known || !ok || l.Cost == nil {
		c.unmatched = append(c.unmatched, key)
		return
	}
	book := big.NewInt(*l.Cost)
	if source == wire.UsageEstimated && l.Output > 0 {
		c.cut++
		c.estimated.Add(&c.estimated, n)
		c.truly.Add(&c.truly, book)
		return
	}
	if n.Cmp(book) != 0 {
		c.unmatched = append(c.unmatched, key)
	}
	c.costs.Add(&c.costs, n)
	c.books.Add(&c.books, book)
}

// dollars prints nano-dollars exactly.
func dollars(n big.Int) string { return wire.NanoUSD(n.Int64()).String() }
