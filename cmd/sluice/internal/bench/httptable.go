package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Err is nil if Sluice answered every request. What the gateways of others
// leave unanswered is in the table.
func (r *HTTPReport) Err() error {
	for _, row := range r.Rows {
		if row.Own && row.Failed > 0 {
			return fmt.Errorf("sluice left %d requests without a whole answer: %w", row.Failed, row.Fault)
		}
	}
	return nil
}

// Print writes the table, then the aims and whether they are met.
func (r *HTTPReport) Print(w io.Writer) error {
	o := &r.Options
	fmt.Fprintf(w, "prompts of 1 KiB, answers of %d words, streams of %d events; medians of %d rounds in turn.\n"+
		"Added latency at %d requests/s, against the upstream in the same round; the rest at %d connections.\n"+
		"CPU and peak memory of the process + of its children (Sluice: ClickHouse).\n\n", upstreamWords, upstreamWords+4, o.Rounds, o.Rate, o.Connections)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	line := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")+"\t") }
	line("", "added p50 ms", "p99 ms", "requests/s", "CPU s/1,000", "streams/s", "CPU s/1,000", "peak MiB")
	for _, row := range r.Rows {
		cpu, stream, peak := "", "", ""
		if row.Peak > 0 {
			cpu, stream = seconds(row.RequestCPU, row.RequestBelow), seconds(row.StreamCPU, row.StreamBelow)
			peak = mib(row.Peak, row.PeakBelow)
		}
		p50, p99 := fmt.Sprintf("%.2f", ms(row.Added.P50)), fmt.Sprintf("%.2f", ms(row.Added.P99))
		if row.Name == r.Rows[0].Name {
			p50, p99 = "("+p50+")", "("+p99+")" // what it takes, not what is added
		}
		line(row.Name, p50, p99, fmt.Sprintf("%.0f", row.Requests), cpu, fmt.Sprintf("%.0f", row.Streams), stream, peak)
	}
	line("Sluice's aim", "1.00", "", "", seconds(aimRequest, 0), "", seconds(aimStream, 0), "")
	err := t.Flush()
	for _, row := range r.Rows {
		if row.Failed > 0 {
			fmt.Fprintf(w, "%s left %d requests without a whole answer, such as: %v\n", row.Name, row.Failed, row.Fault)
		}
	}
	fmt.Fprintln(w)
	for _, row := range r.Rows {
		if row.Streamed > 0 {
			fmt.Fprintf(w, "cut     %d of %d streams: %s\n", row.Cut, row.Streamed, row.Name)
		}
	}
	for _, aim := range r.Aims() {
		word := "missed"
		if aim.Met {
			word = "met   "
		}
		fmt.Fprintln(w, word, aim.Text)
	}
	for _, row := range r.Rows {
		err = errors.Join(err, printHops(w, row.Hops))
	}
	return err
}

func seconds(own, below time.Duration) string {
	if below == 0 {
		return fmt.Sprintf("%.3f", own.Seconds())
	}
	return fmt.Sprintf("%.3f + %.3f", own.Seconds(), below.Seconds())
}

// Aim is something that Sluice means to reach, and whether it does.
type Aim struct {
	Text string
	Met  bool
}

// Aims holds Sluice's row to its aims. CPU counts ClickHouse's too.
func (r *HTTPReport) Aims() []Aim {
	var own *HTTPRow
	for i := range r.Rows {
		if r.Rows[i].Own {
			own = &r.Rows[i]
		}
	}
	if own == nil {
		return nil
	}
	var aims []Aim
	aim := func(part, text string, met bool) {
		if len(r.Options.Parts) == 0 || slices.Contains(r.Options.Parts, part) {
			aims = append(aims, Aim{text, met})
		}
	}
	aim(partLatency, fmt.Sprintf("adds %.2f ms at the median, aim %.2f", ms(own.Added.P50), ms(aimAdded)), own.Added.P50 <= aimAdded)
	aim(partRequests, fmt.Sprintf("CPU %.3f s per 1,000 requests, aim %.3f", (own.RequestCPU+own.RequestBelow).Seconds(), aimRequest.Seconds()), own.RequestCPU+own.RequestBelow <= aimRequest)
	aim(partStreams, fmt.Sprintf("CPU %.3f s per 1,000 streams, aim %.3f", (own.StreamCPU+own.StreamBelow).Seconds(), aimStream.Seconds()), own.StreamCPU+own.StreamBelow <= aimStream)
	for _, row := range r.Rows {
		if row.Full {
			aims = append(aims, Aim{fmt.Sprintf("faster than %s: latency, requests/s and streams/s", row.Name),
				own.Added.P50 < row.Added.P50 && own.Requests > row.Requests && own.Streams > row.Streams})
		}
	}
	return aims
}
