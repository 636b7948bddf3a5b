package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/broker/whatif"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// simulateFlags are what to play, and how.
type simulateFlags struct {
	policy, since, until string
	like                 []string
	seed                 uint64
	runs, limit          int
}

func (g *globals) simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate --policy FILE",
		Short: "Say what recorded jobs would have cost and taken under another configuration",
		Long: `Play recorded jobs again under another configuration: the real router decides,
providers answer as they were recorded to, on a virtual clock. Printed are cost,
latency, failures and how attempts are spread, as recorded, as played under the
configuration in force (which tells how far plays can be trusted), and under the
new one. Nothing is changed, and no provider is called.

A pool that was never used has no record to answer by. If it is a simulated one
its configured figures count; else say whose it answers like, with --like.`,
		Example: "  sluice simulate --policy new.yaml --since 7d\n  sluice simulate --policy new.yaml --since 24h --like new-pool=old-pool --like a/big=b/large",
		Args:    exactly(0, "no arguments"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return g.simulate(cmd, &f) },
	}
	p := cmd.Flags()
	p.StringVar(&f.policy, "policy", "", "file with the whole new configuration (required)")
	p.StringVar(&f.since, "since", "7d", "jobs submitted from when on: a duration back from now, an RFC 3339 time, or all")
	p.StringVar(&f.until, "until", "", "jobs finished until when (default now)")
	p.StringArrayVar(&f.like, "like", nil, "let a pool answer as another was recorded to, NEW=OLD or NEW/MODEL=OLD/MODEL; may be repeated")
	p.Uint64Var(&f.seed, "seed", 1, "of everything random: the same seed gives the same answer")
	p.IntVar(&f.runs, "runs", 5, "plays, of which the means are printed")
	p.IntVar(&f.limit, "limit", 500_000, "most jobs, the latest; they are held in memory")
	return cmd
}

func (g *globals) simulate(cmd *cobra.Command, f *simulateFlags) error {
	likes, err := f.check()
	if err != nil {
		return err
	}
	old, next, err := g.policies(cmd, f)
	if err != nil {
		return err
	}
	s := &simulation{g: g, f: f, old: old, next: next, likes: likes}
	if err := s.read(cmd.Context()); err != nil {
		return err
	}
	if err := s.play(cmd.Context()); err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), &s.report)
	}
	for _, n := range s.report.Notes {
		say(cmd.ErrOrStderr(), "note: %s\n", clean(n))
	}
	return s.report.print(cmd.OutOrStdout())
}

// check reads the flags that need no configuration.
func (f *simulateFlags) check() (likes map[whatif.Target]whatif.Target, err error) {
	switch {
	case f.policy == "":
		return nil, usage("sluice simulate --policy new.yaml --since 7d", "--policy is missing: the file with the new configuration")
	case f.runs < 1 || f.runs > 1000:
		return nil, usage("", "--runs is %d: it must be from 1 to 1000", f.runs)
	case f.limit < 1:
		return nil, usage("", "--limit must be at least 1")
	}
	likes = map[whatif.Target]whatif.Target{}
	for _, l := range f.like {
		is, as, ok := strings.Cut(l, "=")
		a, b := targetOf(is), targetOf(as)
		if !ok || a.Pool == "" || b.Pool == "" || (a.Model == "") != (b.Model == "") {
			return nil, usage("for example --like new=old, or --like new/model=old/model", "--like %q is not NEW=OLD", clean(l))
		}
		likes[a] = b
	}
	return likes, nil
}

// targetOf reads pool or pool/model; a model may have slashes of its own.
func targetOf(s string) whatif.Target {
	pool, model, _ := strings.Cut(strings.TrimSpace(s), "/")
	return whatif.Target{Pool: pool, Model: model}
}

// policy is a configuration and what is played of it.
type policy struct {
	cfg *config.Config
	*whatif.Policy
}

// policies are the configuration in force and the new one.
func (g *globals) policies(cmd *cobra.Command, f *simulateFlags) (old, next policy, err error) {
	src, err := g.sources(cmd)
	if err != nil {
		return old, next, err
	}
	src.Client = true
	if old.cfg, err = loadAs(src); err != nil {
		return old, next, err
	}
	src.Path, src.Flags = f.policy, nil
	if next.cfg, err = loadAs(src); err != nil {
		return old, next, err
	}
	if old.Policy, err = g.deps.Policy(old.cfg); err == nil {
		next.Policy, err = g.deps.Policy(next.cfg)
	}
	return old, next, err
}

// simulation is a run of the command.
type simulation struct {
	g         *globals
	f         *simulateFlags
	old, next policy
	likes     map[whatif.Target]whatif.Target
	list      []whatif.Recorded
	model     *whatif.Model
	report    simulateReport
}

// read reads what was recorded, and learns from it.
func (s *simulation) read(ctx context.Context) error {
	now := time.Now()
	var since time.Time
	var err error
	if s.f.since != "all" {
		if since, err = ago("since", s.f.since, now); err != nil {
			return err
		}
	}
	until, err := ago("until", s.f.until, now)
	if err != nil {
		return err
	}
	st, err := openStoreOf(s.old.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }() // only read from
	rows, more, err := st.Recorded(ctx, since, until, s.f.limit)
	if err != nil {
		return asked(err)
	}
	if len(rows) == 0 {
		return failed(nil, "take more time with --since, or see what there is: sluice cost jobs --since all", "no job was recorded in that time")
	}
	if more {
		s.note("more than %s were recorded: the latest since %s are played (--limit)", count(s.f.limit, "job"), rows[0].SubmittedAt.UTC().Format(time.RFC3339))
	}
	for i := range rows {
		s.list = append(s.list, recordedOf(&rows[i]))
	}
	s.report.Since, s.report.Until = rows[0].SubmittedAt.UTC().Format(time.RFC3339), rows[len(rows)-1].FinishedAt.UTC().Format(time.RFC3339)
	s.model = whatif.Fit(s.list, s.old.Table)
	return s.complete()
}

func (s *simulation) note(format string, args ...any) {
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(format, args...))
}

// complete gives targets without records a profile, where there is one.
func (s *simulation) complete() error {
	for _, p := range []policy{s.old, s.next} {
		for _, t := range p.Table.Targets() {
			if err := s.assume(p, whatif.Target{Pool: p.Table.Pools()[t.Pool].Name, Model: t.Model}); err != nil {
				return err
			}
		}
		if missing := s.model.Missing(p.Table); len(missing) > 0 {
			t := missing[0]
			return &failure{code: exitUsage, msg: (&whatif.MissingError{Targets: missing}).Error(),
				hint: fmt.Sprintf("say whose records count for it, for example --like %s=POOL/MODEL; recorded are %s", t, words(s.recordedTargets()))}
		}
	}
	return nil
}

// assume finds a profile for a target: that of --like, else its own records,
// else the figures of a simulated pool.
func (s *simulation) assume(p policy, t whatif.Target) error {
	like, ok := s.likes[t]
	if !ok {
		if like, ok = s.likes[whatif.Target{Pool: t.Pool}]; ok {
			like.Model = t.Model
		}
	}
	if ok {
		profile := s.model.Profiles[like]
		if profile == nil || profile.Like != like {
			if profile = s.only(like.Pool); profile == nil {
				return usage("recorded are "+words(s.recordedTargets()), "--like: nothing was recorded of %s", clean(like.String()))
			}
		}
		s.model.Profiles[t] = profile
	}
	if s.model.Profiles[t] == nil {
		if figures, ok := s.g.deps.Simulated(p.cfg, t.Pool); ok {
			s.model.Profiles[t] = whatif.Configure(t, figures)
		}
	}
	return nil
}

// only is the profile of a pool of which one model was recorded.
func (s *simulation) only(pool string) (found *whatif.Profile) {
	for t, p := range s.model.Profiles {
		if t.Pool == pool && p.Like == t && !p.Configured {
			if found != nil {
				return nil
			}
			found = p
		}
	}
	return found
}

func (s *simulation) recordedTargets() (list []string) {
	for t, p := range s.model.Profiles {
		if p.Like == t && !p.Configured {
			list = append(list, t.String())
		}
	}
	slices.Sort(list)
	return list
}

// words lists a few words.
func words(list []string) string {
	const most = 10
	if len(list) > most {
		list = append(slices.Clone(list[:most]), "…")
	}
	return strings.Join(list, ", ")
}

// play plays both policies.
func (s *simulation) play(ctx context.Context) error {
	jobs := whatif.Replay(s.list)
	s.report.Recorded = whatif.Told(s.list).Figures()
	for _, x := range []struct {
		p  policy
		to *played
	}{{s.old, &s.report.Old}, {s.next, &s.report.New}} {
		var runs []whatif.Figures
		for i := range s.f.runs {
			o, err := whatif.Play(x.p.Policy, s.model, jobs, s.f.seed+uint64(i), func() bool { return ctx.Err() != nil })
			if err == nil && o == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			runs = append(runs, o.Figures())
		}
		x.to.Figures, x.to.CostSpread, x.to.P95Spread = whatif.Mean(runs)
	}
	s.notes()
	s.report.finish(s)
	return nil
}

// notes says what the figures do not.
func (s *simulation) notes() {
	routes := map[string]int{}
	kept := 0
	for i := range s.list {
		r := &s.list[i]
		if r.Status == wire.Failed && len(r.Attempts) == 0 {
			kept++
		} else if _, ok := s.next.Table.Route(r.Route); !ok {
			routes[r.Route]++
		}
	}
	if kept > 0 {
		s.note("%s failed before any attempt: they fail again", count(kept, "job"))
	}
	for _, r := range slices.Sorted(maps.Keys(routes)) {
		s.note("the new configuration has no route %q: %s fail", r, count(routes[r], "job"))
	}
	for _, share := range s.report.Recorded.Targets {
		if s.old.cfg.Pool(share.Pool) == nil {
			s.note("pool %s has recorded attempts and is not in the configuration in force: the old policy is played without it", share.Pool)
		}
	}
	if len(s.next.cfg.Budgets) > 0 || len(s.old.cfg.Budgets) > 0 {
		s.note("budgets are not played")
	}
	if len(s.next.cfg.Rollouts) > 0 {
		s.note("rollouts are played at their first step, all jobs on the route as it is")
	}
	for _, t := range s.next.Table.Targets() {
		k := whatif.Target{Pool: s.next.Table.Pools()[t.Pool].Name, Model: t.Model}
		if p := s.model.Profiles[k]; p != nil && !p.Configured {
			if n, _ := p.Samples(); n < fewAttempts {
				s.note("only %s of %s recorded: how it answers is a guess", count(n, "attempt"), p.Like)
			}
		}
	}
}

// fewAttempts is below how many a profile is doubted.
const fewAttempts = 50

// recordedOf is a row as a play takes it.
func recordedOf(r *store.RecordedJob) whatif.Recorded {
	ms := func(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }
	j := whatif.Recorded{Tenant: r.Tenant, ID: r.ID, Route: r.Route, Class: wire.Class(r.Class), Batch: r.Batch, Labels: r.Labels,
		Submitted: r.SubmittedAt.UnixNano(), Finished: r.FinishedAt.UnixNano(), Status: wire.Status(r.Status), Code: wire.Code(r.Error),
		BodyBytes: int(r.BodyBytes), MaxTokens: int64(r.MaxTokens), Region: r.Region, Needs: wire.Needs(r.Needs)}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		j.Attempts = append(j.Attempts, whatif.Attempt{Target: whatif.Target{Pool: a.Pool, Model: a.Model}, Endpoint: wire.Endpoint(a.Endpoint), N: int(a.N),
			Ended: a.EndedAt.UnixNano(), Queue: ms(a.QueueMS), TTFT: ms(a.TTFTMS), Taken: ms(a.LatencyMS), Status: wire.Status(a.Status), Code: wire.Code(a.Error),
			HTTP: int(a.HTTP), Usage: a.Usage, Cost: a.Cost, Depth: int(a.Depth), Crowded: a.Crowded})
	}
	return j
}
