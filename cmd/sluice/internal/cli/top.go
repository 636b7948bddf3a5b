package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/live"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// topView is what one frame of `sluice top` shows.
type topView struct {
	Live    live.Snapshot  `json:"live"`
	Pools   []poolAnswer   `json:"pools"`
	Streams []streamAnswer `json:"streams"`
	alertsAnswer
}

// streamAnswer is what the server says of a stream's size.
type streamAnswer struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
}

// Sequences of a terminal.
const (
	screenOpen  = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor
	screenClose = "\x1b[?25h\x1b[?1049l"
	frameStart  = "\x1b[H"
	lineEnd     = "\x1b[K\n"
	frameEnd    = "\x1b[J"
	bold, plain = "\x1b[1m", "\x1b[0m"
)

func (g *globals) topCommand() *cobra.Command {
	var every, wait time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch pools, queues, rates, times, spend and attempts live",
		Long: "Watch the last minute: pools with their queues and circuits, attempts per second, percentiles,\n" +
			"spend per minute, and the attempts that ended last. Ends with Ctrl-C.",
		Example: "  sluice top\n  sluice top --once --wait 10s --json",
		Args:    exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond || wait < 0 {
				return usage("", "--every must be at least 100ms, and --wait not below 0")
			}
			return g.top(cmd, every, wait, once)
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "between two looks")
	cmd.Flags().DurationVar(&wait, "wait", 3*time.Second, "how long --once listens before it prints")
	cmd.Flags().BoolVar(&once, "once", false, "print one look and end (as when the output is no terminal)")
	return cmd
}

func (g *globals) top(cmd *cobra.Command, every, wait time.Duration, once bool) error {
	a, _, err := g.dialAdmin(cmd)
	if err != nil {
		return err
	}
	defer a.close()
	tenant := g.tenant
	if tenant == "" {
		tenant = "*"
	}
	meter, stop, err := live.Follow(a.nc, a.subjects, tenant)
	if err != nil {
		return failed(err, "", "%v", err)
	}
	defer stop()
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	file, isFile := out.(*os.File)
	if once || g.json || !isFile || !term.IsTerminal(int(file.Fd())) {
		return g.topOnce(ctx, out, a, meter, wait)
	}
	say(out, screenOpen)
	defer say(out, screenClose)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		v, err := look(ctx, a, meter)
		width, height, sizeErr := term.GetSize(int(file.Fd()))
		if sizeErr != nil {
			width, height = 120, 40
		}
		say(out, "%s", frame(v, err, width, height))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// topOnce prints one look, for files and programs.
func (g *globals) topOnce(ctx context.Context, out io.Writer, a *admin, meter *live.Meter, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	v, err := look(ctx, a, meter)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(out, v)
	}
	_, err = io.WriteString(out, strings.Join(topLines(v, 40), "\n")+"\n")
	return err
}

// look asks the server and reads the meter.
func look(ctx context.Context, a *admin, meter *live.Meter) (*topView, error) {
	v := &topView{}
	if err := a.ask(ctx, "pools", nil, v); err != nil {
		return nil, err
	}
	if err := a.ask(ctx, "health", nil, v); err != nil {
		return nil, err
	}
	if err := a.ask(ctx, "alerts", nil, v); err != nil {
		return nil, err
	}
	v.Live = meter.Snapshot(time.Now())
	return v, nil
}

// frame is one whole screen: lines cut to the terminal, the first one bold.
func frame(v *topView, err error, width, height int) string {
	var b strings.Builder
	b.WriteString(frameStart)
	lines := []string{"sluice top · " + time.Now().Format(time.TimeOnly), ""}
	if err != nil {
		lines = append(lines, "error: "+clean(err.Error()))
	} else {
		lines = topLines(v, height)
	}
	for i, line := range lines[:min(len(lines), height-1)] {
		line = cutTo(line, width)
		if i == 0 || strings.HasPrefix(line, "POOL ") || strings.HasPrefix(line, "ENDED ") {
			line = bold + line + plain
		}
		b.WriteString(line + lineEnd)
	}
	b.WriteString(frameEnd)
	return b.String()
}

func cutTo(s string, width int) string {
	r := []rune(s)
	return string(r[:min(len(r), width)])
}

// topLines is the view as text: a head, the pools, and as many attempts as
// there is room for.
func topLines(v *topView, height int) []string {
	t := &v.Live.Total
	running, places, queued := 0, 0, 0
	for i := range v.Pools {
		running, places, queued = running+v.Pools[i].Running, places+v.Pools[i].Concurrency, queued+v.Pools[i].Queued
	}
	backlog, dead := uint64(0), uint64(0)
	for _, s := range v.Streams {
		switch {
		case strings.HasSuffix(strings.ToUpper(s.Name), "JOBS"):
			backlog = s.Messages
		case strings.HasSuffix(strings.ToUpper(s.Name), "DEAD"):
			dead = s.Messages
		}
	}
	lines := []string{
		fmt.Sprintf("sluice top · %s · the last minute", v.Live.At.Local().Format(time.TimeOnly)),
		fmt.Sprintf("jobs %s/s   attempts %s/s   success %s   tokens out %s/s   spend $%s/min%s", oneDigit(t.Jobs), oneDigit(t.Attempts),
			successText(t), oneDigit(t.Tokens), t.Spend, unknownText(t)),
		fmt.Sprintf("latency p50 %s  p95 %s  p99 %s   first token p50 %s  p95 %s ms", ms(t.Latency.P50), ms(t.Latency.P95), ms(t.Latency.P99), ms(t.TTFT.P50), ms(t.TTFT.P95)),
		fmt.Sprintf("in flight %d of %d   queued at pools %d   backlog %d   dead letters %d", running, places, queued, backlog, dead),
	}
	lines = append(append(lines, alertLines(v.Alerts)...), "")
	pools := newTable("POOL", "STATE", "IN USE", ">", ">QUEUED", ">RATE/S", ">SUCCESS", ">P50 MS", ">P95 MS", ">TTFT P95", ">TOKENS/S", ">USD/MIN")
	for i := range v.Pools {
		p := &v.Pools[i]
		f := figuresOf(v.Live.Pools, p.Name)
		pools.row(p.Name, topState(p), gauge(p.Running, p.Concurrency), fmt.Sprintf("%d/%d", p.Running, p.Concurrency), strconv.Itoa(p.Queued), oneDigit(f.Attempts),
			successText(f), ms(f.Latency.P50), ms(f.Latency.P95), ms(f.TTFT.P95), oneDigit(f.Tokens), f.Spend.String())
	}
	lines = append(lines, tableLines(pools)...)
	room := height - len(lines) - 3
	if room < 1 || len(v.Live.Recent) == 0 {
		return lines
	}
	ended := newTable("ENDED", "JOB", "TENANT", "ROUTE", "CHOSE", "OF", "RESULT", ">MS", ">USD")
	for _, r := range v.Live.Recent[:min(room, len(v.Live.Recent))] {
		result := string(r.Status)
		if r.Error != "" {
			result += " " + string(r.Error)
		}
		of := strconv.Itoa(r.Candidates)
		if r.Excluded > 0 {
			of = fmt.Sprintf("%d−%d", r.Candidates, r.Excluded)
		}
		ended.row(r.At.Local().Format(time.TimeOnly), r.Job, r.Tenant, r.Route, r.Pool+"/"+r.Model, of, result, strconv.FormatInt(r.LatencyMS, 10), usd(r.Cost))
	}
	return append(append(lines, ""), tableLines(ended)...)
}

// mostAlerts are shown, the latest of them.
const mostAlerts = 3

func alertLines(list []wire.Alert) []string {
	var lines []string
	for _, a := range list[:min(len(list), mostAlerts)] {
		lines = append(lines, fmt.Sprintf("ALERT %s: %s", a.Kind, clean(a.Summary)))
	}
	if n := len(list) - mostAlerts; n > 0 {
		lines = append(lines, fmt.Sprintf("and %s more: sluice alert list", count(n, "alert")))
	}
	return lines
}

func tableLines(t *table) []string {
	var b bytes.Buffer
	_ = t.print(&b) // a buffer takes everything
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

var noFigures = live.Figures{Success: -1}

func figuresOf(list []live.Figures, name string) *live.Figures {
	if i := slices.IndexFunc(list, func(f live.Figures) bool { return f.Name == name }); i >= 0 {
		return &list[i]
	}
	return &noFigures
}

func topState(p *poolAnswer) string {
	h := p.Health
	switch {
	case p.Draining:
		return "draining"
	case p.Workers == 0 || h != nil && h.Down:
		return "no worker"
	case h != nil && h.Circuit != "" && h.Circuit != "closed":
		return strings.ReplaceAll(h.Circuit, "_", " ")
	case h != nil && h.Ejected:
		return "ejected"
	}
	return "healthy"
}

// gauge is a bar of ten characters.
func gauge(used, of int) string {
	n := 0
	if of > 0 {
		n = min(10, (10*used+of-1)/of)
	}
	return strings.Repeat("█", n) + strings.Repeat("░", 10-n)
}

func oneDigit(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

func successText(f *live.Figures) string {
	if f.Success < 0 {
		return "–"
	}
	return percent(f.Success)
}

func unknownText(f *live.Figures) string {
	if f.Unknown == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d attempts of unknown cost", f.Unknown)
}

func ms(x float64) string {
	if x == 0 {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}
