package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/engine"
	"github.com/sluicehq/sluice/workers/simulated"
)

// Figures are what a page or a command shows of a group of attempts: counts,
// tokens and nano-dollars.
type Figures struct {
	Attempts  int64 `json:"attempts"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	Unknown   int64 `json:"unknown_cost"`
	In        int64 `json:"tokens_in"`
	Cached    int64 `json:"tokens_cached"`
	Out       int64 `json:"tokens_out"`
	Spend     int64 `json:"spend_nano_usd"`
	Wasted    int64 `json:"wasted_nano_usd"`
}

// attempt is one attempt as it has to be shown: its tokens and its cost are
// from the provider's books, but for one that was cut, of which Sluice can know
// an estimate only.
type attempt struct {
	job                   string
	by                    map[string]string // values of dimensions
	status                string
	in, cacheRead, cacheW int64
	out, reasoning        int64
	cost                  *int64
}

// add counts an attempt in.
func (f *Figures) add(a *attempt) {
	f.Attempts++
	f.In += a.in + a.cacheRead + a.cacheW
	f.Cached += a.cacheRead
	f.Out += a.out + a.reasoning
	switch a.status {
	case string(wire.Succeeded):
		f.Succeeded++
	case string(wire.Cancelled):
	default:
		f.Failed++
	}
	if a.cost == nil {
		f.Unknown++
		return
	}
	f.Spend += *a.cost
	if a.status != string(wire.Succeeded) {
		f.Wasted += *a.cost
	}
}

// fold sums attempts up by dimensions; where keeps those with a value.
func fold(list []attempt, by []string, where map[string]string) map[string]Figures {
	out := map[string]Figures{}
	for i := range list {
		a := &list[i]
		keys, keep := make([]string, len(by)), true
		for i, d := range by {
			keys[i] = a.by[d]
		}
		for d, v := range where {
			keep = keep && a.by[d] == v
		}
		if keep {
			k := strings.Join(keys, " · ")
			f := out[k]
			f.add(a)
			out[k] = f
		}
	}
	return out
}

// shownBy are the dimensions of the attempts that are compared.
var shownBy = []string{"tenant", "pool", "provider", "model", "route", "class", "status", "day", "hour", "minute"}

// attempts reads which there were, and takes what they cost from the books.
func (f *Fleet) attempts(ctx context.Context, st *store.Store, books []string) ([]attempt, error) {
	lines := map[string]simulated.Line{}
	for _, name := range books {
		list, _, err := simulated.ReadBooks(filepath.Join(f.dir, name))
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			lines[l.Key] = l
		}
	}
	res, err := st.Query(ctx, "SELECT tenant, pool, provider, model, route, class, status, toString(toDate(ts)), formatDateTime(ts, '%F %H:00'), formatDateTime(ts, '%F %H:%i'), "+
		"job_id, toString(attempt), usage_source, toInt64(input_tokens), toInt64(cache_read_tokens), toInt64(cache_write_tokens), toInt64(output_tokens), toInt64(reasoning_tokens), "+
		"ifNull(cost_nano_usd, toInt64(-1)) FROM attempts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Close() }() // read to its end
	var out []attempt
	for res.Next() {
		v := res.Values()
		a := attempt{by: map[string]string{}, job: fmt.Sprint(v[10]), status: fmt.Sprint(v[6])}
		for i, d := range shownBy {
			a.by[d] = fmt.Sprint(v[i])
		}
		var n int
		if _, err := fmt.Sscan(fmt.Sprint(v[11]), &n); err != nil {
			return nil, err
		}
		row := attemptRow{status: a.status, source: fmt.Sprint(v[12])}
		if l, ok := lines[engine.IdempotencyKey(tenant, a.job, n)]; ok && row.heard() {
			a.in, a.cacheRead, a.cacheW, a.out, a.reasoning, a.cost = l.Input, l.CacheRead, l.CacheWrite, l.Output, l.Reasoning, l.Cost
		} else {
			for i, into := range []*int64{&a.in, &a.cacheRead, &a.cacheW, &a.out, &a.reasoning} {
				*into, _ = v[13+i].(int64)
			}
			if c, _ := v[18].(int64); c >= 0 {
				a.cost = &c
			}
		}
		out = append(out, a)
	}
	return out, res.Err()
}

// checkShown compares every figure of the dashboard's interface and of `sluice
// cost` with the books.
func (f *Fleet) checkShown(ctx context.Context, st *store.Store, r *Report, books []string, config string) error {
	list, err := f.attempts(ctx, st, books)
	if err != nil {
		return err
	}
	if err := f.startRole(ctx, kindGateway, 1, config); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, "the gateway", func() error { return f.get(ctx, "readyz", &struct{}{}) }); err != nil {
		return err
	}
	var questions [][]string
	for i, d := range append([]string{""}, shownBy...) {
		questions = append(questions, strings.Fields(d))
		for _, e := range shownBy[min(i, len(shownBy)):] {
			if d != "" {
				questions = append(questions, []string{d, e})
			}
		}
	}
	for _, by := range questions {
		if err := f.askedPage(ctx, r, list, by, nil); err != nil {
			return err
		}
	}
	for pool := range fold(list, []string{"pool"}, nil) {
		if err := f.askedPage(ctx, r, list, []string{"status"}, map[string]string{"pool": pool}); err != nil {
			return err
		}
	}
	for _, by := range [][]string{{}, {"pool", "model"}, {"tenant"}, {"route", "class"}, {"status"}, {"pool", "hour"}, {"day"}} {
		for _, rows := range []bool{false, true} {
			if err := f.askedCommand(ctx, r, list, by, rows); err != nil {
				return err
			}
		}
	}
	return f.checkOthers(ctx, r, list)
}

// rowKey is a group's name in what is shown.
func rowKey(keys []string) string { return strings.Join(keys, " · ") }

// askedPage asks what the page of costs asks.
func (f *Fleet) askedPage(ctx context.Context, r *Report, list []attempt, by []string, where map[string]string) error {
	var answer struct {
		Rows []struct {
			Keys []string `json:"keys"`
			Figures
		} `json:"rows"`
	}
	q := neturl.Values{"by": {strings.Join(by, ",")}, "since": {"2020-01-01T00:00:00Z"}, "limit": {"10000"}}
	for d, v := range where {
		q.Add("where", d+"="+v)
	}
	if err := f.get(ctx, "admin/v1/analytics/cost?"+q.Encode(), &answer); err != nil {
		return err
	}
	got := map[string]Figures{}
	for _, row := range answer.Rows {
		got[rowKey(row.Keys)] = row.Figures
	}
	r.compare(fmt.Sprintf("the page's cost by %q where %v", by, where), got, fold(list, by, where))
	return nil
}

// askedCommand asks `sluice cost`.
func (f *Fleet) askedCommand(ctx context.Context, r *Report, list []attempt, by []string, rows bool) error {
	args := append(f.bin.Sluice[1:len(f.bin.Sluice):len(f.bin.Sluice)], "cost", "--json", "--since", "all", "--by", strings.Join(by, ","),
		fmt.Sprintf("--rows=%t", rows), "--clickhouse", dsn(f.engine))
	cmd := exec.CommandContext(ctx, f.bin.Sluice[0], args...)
	cmd.Dir, cmd.Env = f.dir, os.Environ()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sluice cost: %w: %s", err, errs.String())
	}
	var answer struct {
		Rows []struct {
			By        map[string]string
			Attempts  int64
			Succeeded int64
			Failed    int64
			Unknown   int64 `json:"unknown_cost"`
			Usage     struct {
				Input      int64 `json:"input_tokens"`
				CacheRead  int64 `json:"cache_read_tokens"`
				CacheWrite int64 `json:"cache_write_tokens"`
				Output     int64 `json:"output_tokens"`
				Reasoning  int64 `json:"reasoning_tokens"`
			}
			Wasted int64 `json:"wasted_nano_usd"`
			Cost   int64 `json:"cost_nano_usd"`
		}
		Total struct {
			Cost int64 `json:"cost_nano_usd"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return fmt.Errorf("sluice cost: %w: %s", err, out.String())
	}
	got, want := map[string]Figures{}, fold(list, by, nil)
	for _, row := range answer.Rows {
		keys := make([]string, len(by))
		for i, d := range by {
			keys[i] = row.By[d]
		}
		u := row.Usage
		got[rowKey(keys)] = Figures{Attempts: row.Attempts, Succeeded: row.Succeeded, Failed: row.Failed, Unknown: row.Unknown, In: u.Input + u.CacheRead + u.CacheWrite,
			Cached: u.CacheRead, Out: u.Output + u.Reasoning, Spend: row.Cost, Wasted: row.Wasted}
	}
	what := fmt.Sprintf("sluice cost --by %q --rows=%t", by, rows)
	r.compare(what, got, want)
	sum := fold(list, nil, nil)[""].Spend
	r.compare(what+" (total)", map[string]int64{"USD": answer.Total.Cost}, map[string]int64{"USD": sum})
	return nil
}

// checkOthers compares what else the dashboard shows: jobs, waste, shares,
// budgets, queues.
func (f *Fleet) checkOthers(ctx context.Context, r *Report, list []attempt) error {
	type row struct {
		Keys     []string `json:"keys"`
		Reason   string   `json:"reason"`
		Pool     string   `json:"pool"`
		Jobs     int64    `json:"jobs"`
		Attempts int64    `json:"attempts"`
		Spend    int64    `json:"spend_nano_usd"`
	}
	ask := func(question string) ([]row, error) {
		var answer struct{ Rows []row }
		return answer.Rows, f.get(ctx, "admin/v1/analytics/"+question+"since=2020-01-01T00:00:00Z", &answer)
	}
	type sum struct{ Attempts, Spend int64 }
	byStatus, byPool := fold(list, []string{"status"}, nil), fold(list, []string{"pool"}, nil)
	waste, shares := map[string]sum{}, map[string]sum{}
	for status, x := range byStatus {
		if status != string(wire.Succeeded) {
			waste[status] = sum{x.Attempts, x.Spend}
		}
	}
	for pool, x := range byPool {
		shares[pool] = sum{x.Attempts, x.Spend}
	}
	for question, want := range map[string]map[string]sum{"waste?": waste, "shares?": shares} {
		rows, err := ask(question)
		if err != nil {
			return err
		}
		got := map[string]sum{}
		for _, x := range rows {
			got[x.Reason+x.Pool] = sum{x.Attempts, x.Spend}
		}
		r.compare("the page's "+strings.Trim(question, "?"), got, want)
	}
	rows, err := ask("jobs?by=status&")
	if err != nil {
		return err
	}
	gotJobs, wantJobs, spent := map[string]int64{}, map[string]int64{}, int64(0)
	for _, x := range rows {
		gotJobs[rowKey(x.Keys)], spent = x.Jobs, spent+x.Spend
	}
	for status, n := range r.Statuses {
		wantJobs[status] = int64(n)
	}
	r.compare("the page's jobs", gotJobs, wantJobs)
	if whole := fold(list, nil, nil)[""]; whole.Unknown == 0 {
		r.compare("what the page's jobs cost", map[string]int64{"": spent}, map[string]int64{"": whole.Spend})
	}
	return f.checkLive(ctx, r)
}

// compare counts the figures that are shown, and those that are wrong.
func (r *Report) compare(what string, got, want any) {
	r.Shown++
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || !bytes.Equal(a, b) { // maps are written in the order of their keys
		r.Misshown++
		r.example("%s shows %.600s, and the books say %.600s", what, a, b)
	}
}

// get asks the gateway.
func (f *Fleet) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.http+"/"+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // nothing of it stays
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %d %.300s", path, res.StatusCode, body)
	case slices.Equal(bytes.TrimSpace(body), []byte("ok")):
		return nil
	}
	return json.Unmarshal(body, into)
}
