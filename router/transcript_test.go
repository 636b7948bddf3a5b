package router

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

var rewrite = flag.Bool("rewrite", false, "write what transcripts print into them")

// TestTranscripts plays the files of testdata: blocks of commands, a line of
// dashes, and what they print. State lasts for a file.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(string(b))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("got\n%s\nwant\n%s", got, b)
			}
		})
	}
}

// play is the transcript with what its commands print now.
func play(text string) string {
	var out strings.Builder
	p := newPlayer()
	for i, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		if i > 0 {
			out.WriteString("\n\n")
		}
		out.WriteString(commands)
		p.out.Reset()
		for _, line := range strings.Split(commands, "\n") {
			if line != "" && line[0] != '#' {
				p.do(line)
			}
		}
		if p.out.Len() > 0 || strings.Contains(block, "\n----") {
			out.WriteString("\n----\n" + strings.TrimRight(p.out.String(), "\n"))
		}
	}
	return out.String() + "\n"
}

type player struct {
	out     strings.Builder
	c       snapshot
	loads   map[string]Load
	breaker Breaker
	track   Track
	window  Window
}

func newPlayer() *player {
	p := &player{loads: map[string]Load{}, c: snapshot{stats: map[string]Stats{}}}
	p.c.in.Meta, p.c.spec.Name = meta(), "chat"
	return p
}

// args are the key=value words of a command.
type args map[string]string

func (a args) num(key string) int64 {
	n, err := strconv.ParseInt(a[key], 10, 64)
	if err != nil && a[key] != "" {
		panic(key + ": " + err.Error())
	}
	return n
}

func (a args) float(key string) float64 { f, _ := strconv.ParseFloat(a[key], 64); return f }
func (a args) time(key string) int64    { d, _ := time.ParseDuration(a[key]); return int64(d) }
func (a args) has(key string) bool      { _, ok := a[key]; return ok }
func (a args) list(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

func (a args) labels(key string) []Label {
	var out []Label
	for _, l := range a.list(key) {
		k, v, _ := strings.Cut(l, ":")
		out = append(out, Label{k, v})
	}
	return out
}

// pair reads "5/10".
func (a args) pair(key string) (x, y int64) {
	l, r, _ := strings.Cut(a[key], "/")
	return args{"": l}.num(""), args{"": r}.num("")
}

func (p *player) do(line string) {
	words := strings.Fields(line)
	name, a := "", args{}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			a[k] = v
		} else if name == "" {
			name = w
		} else {
			a[w] = ""
		}
	}
	switch words[0] {
	case "pool":
		p.pool(name, a)
	case "strategy":
		p.strategy(name, a)
	case "candidate":
		p.candidate(name, a)
	case "load":
		p.load(name, a)
	case "stats":
		p.stats(name, a)
	case "job":
		p.job(a)
	case "now":
		p.c.in.Now = args{"": name}.time("")
	case "decide", "run", "check":
		p.decide(words[0], int(max(1, args{"": name}.num(""))))
	case "event", "outcome", "sent":
		p.fold(words[0], name, a)
	default:
		panic("unknown command " + line)
	}
}

func (p *player) pool(name string, a args) {
	pool := Pool{
		Name: name, Region: a["region"], Concurrency: int(a.num("concurrency")), Draining: a.has("draining"), Down: a.has("down"),
		Tenants: a.list("tenants"), TenantTiers: a.list("tiers"), Labels: map[string]string{},
	}
	for _, l := range a.labels("labels") {
		pool.Labels[l.Name] = l.Value
	}
	for _, e := range a.list("endpoints") {
		pool.Endpoints = append(pool.Endpoints, wire.Endpoint(e))
	}
	p.c.pools = slices.DeleteFunc(p.c.pools, func(o Pool) bool { return o.Name == name })
	p.c.pools = append(p.c.pools, pool)
}

func (p *player) strategy(name string, a args) {
	p.c.spec.Strategy, p.c.in.Sequence = name, 0
	p.c.spec.Params = Params{
		Percentile: int(a.num("percentile")), Tolerance: a.float("tolerance"), Explore: int(a.num("explore")), Bound: a.float("bound"),
	}
	for _, l := range a.labels("scorers") {
		p.c.spec.Params.Scorers = append(p.c.spec.Params.Scorers, ScorerWeight{l.Name, args{"": l.Value}.float("")})
	}
	p.c.spec.Require = a.labels("require")
}

func (p *player) candidate(name string, a args) {
	pool, model, _ := strings.Cut(name, "/")
	c := CandidateSpec{
		Pool: pool, Model: model, Weight: 1, Priority: int(a.num("priority")), Quality: a.float("quality"), Context: a.num("context"),
	}
	if a.has("weight") {
		c.Weight = int(a.num("weight"))
	}
	if a.has("price") {
		in, out := a.pair("price")
		c.Price = &wire.Price{Input: wire.Rate(in) * 1000, Output: wire.Rate(out) * 1000}
	}
	if a.has("hours") {
		from, to := a.pair("hours")
		c.Schedule = &Schedule{Windows: []Hours{{From: int(from) * 60, To: int(to) * 60}}}
	}
	list := &p.c.spec.Candidates
	*list = slices.DeleteFunc(*list, func(o CandidateSpec) bool { return o.Pool == pool && o.Model == model })
	*list = append(*list, c)
}

func (p *player) load(name string, a args) {
	l := Load{
		Depth: int32(a.num("depth")), Down: a.has("down"), Unhealthy: a.has("unhealthy"), Ejected: a.has("ejected"),
		OpenUntil: a.time("until"), Probes: int32(a.num("probes")), LimitedUntil: a.time("limited"),
	}
	l.Circuit = map[string]Circuit{"open": Open, "half_open": HalfOpen}[a["circuit"]]
	l.Requests.Used, l.Requests.Limit = a.pair("requests")
	l.Tokens.Used, l.Tokens.Limit = a.pair("tokens")
	p.loads[name] = l
}

func (p *player) stats(name string, a args) {
	ttft, per := a.float("ttft"), a.float("per_token")
	p.c.stats[name] = Stats{
		TTFT: Quantiles{ttft, ttft, ttft, ttft, ttft * 3}, PerToken: Quantiles{per, per, per, per, per},
		Success: a.float("success"), Samples: a.float("samples"), Throughput: a.float("throughput"), PeakEWMA: a.float("peak"),
		Factor: int32(a.num("factor")), Quality: a.float("quality"),
	}
}

func (p *player) job(a args) {
	m := meta()
	m.Affinity, m.Region, m.MaxTokens, m.Stream = a["affinity"], a["region"], a.num("max_tokens"), a.has("stream")
	if a.has("tenant") {
		m.Tenant = a["tenant"]
	}
	if a.has("class") {
		m.Class = wire.Class(a["class"])
	}
	if a.has("endpoint") {
		m.Endpoint = wire.Endpoint(a["endpoint"])
	}
	if a.has("max_cost") {
		v, err := wire.ParseUSD(a["max_cost"])
		if err != nil {
			panic(err)
		}
		m.MaxCost = &v
	}
	in := Input{Meta: m, Tier: a["tier"], Now: p.c.in.Now, Sequence: p.c.in.Sequence, Random: p.c.in.Random}
	in.InputTokens, in.OutputTokens = a.pair("size")
	in.Require, in.Prefer = a.labels("require"), a.labels("prefer")
	if tried := a.list("tried"); tried != nil {
		in.Progress = &wire.Progress{Attempts: len(tried), Tried: tried}
	}
	p.c.in = in
}

// decide prints each decision in full; run adds each to its pool's depth and
// prints the counts; check prints what is wrong with the configuration.
func (p *player) decide(command string, n int) {
	table, err := NewTable(p.c.pools, []RouteSpec{p.c.spec})
	if err != nil || command == "check" {
		fmt.Fprintln(&p.out, err)
		return
	}
	_, route := p.c.table(nopTB{})
	p.c.load = make([]Load, len(p.c.pools))
	for i := range p.c.pools {
		p.c.load[i] = p.loads[p.c.pools[i].Name]
	}
	var r Result
	counts := make([]int, len(route.Candidates())+1)
	for range n {
		table.Decide(route, p.c.load, &p.c.in, &r)
		if command == "decide" {
			p.print(table, route, &r)
		} else if counts[r.Choice+1]++; r.Choice >= 0 {
			p.c.load[route.Candidates()[r.Choice].Pool].Depth++
		}
		p.c.in.Sequence++
		p.c.in.Random = mix(p.c.in.Random + 1)
	}
	for i, c := range route.Candidates() {
		p.loads[c.PoolName] = p.c.load[c.Pool]
		if command == "run" {
			fmt.Fprintf(&p.out, "%s/%s %d\n", c.PoolName, c.Model, counts[i+1])
		}
	}
	if command == "run" && counts[0] > 0 {
		fmt.Fprintf(&p.out, "none %d\n", counts[0])
	}
}

func (p *player) print(t *Table, route *Route, r *Result) {
	d := r.Decision(route, p.c.load, &p.c.in)
	switch {
	case r.Choice >= 0 && r.Explored:
		fmt.Fprintf(&p.out, "%d: %s/%s to explore\n", d.Sequence, d.Pool, d.Model)
	case r.Choice >= 0:
		fmt.Fprintf(&p.out, "%d: %s/%s\n", d.Sequence, d.Pool, d.Model)
	default:
		fmt.Fprintf(&p.out, "%d: none, full %v, until %v\n", d.Sequence, r.Full, time.Duration(r.Until))
	}
	for _, c := range d.Candidates {
		fmt.Fprintf(&p.out, "   %s/%s weight %d depth %d", c.Pool, c.Model, c.Weight, c.Depth)
		if c.Excluded != "" {
			fmt.Fprintln(&p.out, "", c.Excluded)
		} else {
			fmt.Fprintf(&p.out, " score %.6g\n", c.Score)
		}
	}
}

// fold feeds the breaker, a track or a window.
func (p *player) fold(command, name string, a args) {
	now := p.c.in.Now
	switch command {
	case "event":
		kind := map[string]EventKind{"start": AttemptStarted, "ok": AttemptSucceeded, "fail": AttemptFailed, "ignore": AttemptIgnored}[name]
		e := Event{Kind: kind, At: now, Started: now, RetryAfter: a.time("retry_after")}
		if a.has("started") {
			e.Started = a.time("started")
		}
		p.breaker = p.breaker.Step(BreakerConfig{}, e)
		var l Load
		p.breaker.Fill(BreakerConfig{}, now, &l)
		fmt.Fprintf(&p.out, "%v %s: %s until %v, %d probes left\n", time.Duration(now), name, l.Circuit, time.Duration(l.OpenUntil), l.Probes)
	case "outcome":
		p.track.Add(TrackConfig{}, Outcome{At: now, OK: name == "ok", TTFTMS: a.float("ttft"), LatencyMS: a.float("latency"), Output: a.num("output")})
		s, v := p.track.Stats(TrackConfig{}, now), p.track.Vital(TrackConfig{}, now)
		fmt.Fprintf(&p.out, "%v: success %.3f of %.2f, ttft %.0f, per token %.1f, peak %.0f; recent %.3f, slowdown %.2f\n", time.Duration(now),
			s.Success, s.Samples, s.TTFT.Mean, s.PerToken.Mean, s.PeakEWMA, v.Success, v.Slowdown)
	case "sent":
		p.window.Add(now, args{"": name}.num(""))
		q := p.window.Quota(now, a.num("limit"))
		fmt.Fprintf(&p.out, "%v: %d of %d, next free at %v\n", time.Duration(now), q.Used, q.Limit, time.Duration(q.Reset))
	}
}

// nopTB lets helpers run outside a test; they only fail on bad tables, which
// were refused before.
type nopTB struct{ testing.TB }

func (nopTB) Helper() {}
