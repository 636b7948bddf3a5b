package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/cmd/sluice/internal/web"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
	"github.com/spf13/cobra"
)

// batchFlags are the options of batch commands.
type batchFlags struct {
	url string // of the gateway

	endpoint, window, deadline, placement, id string
	labels, metadata                          []string
	watch, dryRun                             bool
	outputTokens                              int64

	out, errs string // where results go
	limit     int
}

func (g *globals) batchCommand() *cobra.Command {
	var f batchFlags
	one := func(use, short string, run func(*cobra.Command, *batchFlags, string) error) *cobra.Command {
		return &cobra.Command{Use: use + " ID", Short: short, Args: exactly(1, "one batch ID"),
			RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, &f, args[0]) }}
	}
	watch := one("watch", "Follow a batch to its end, and then fetch its results", g.watchBatch)
	results := one("results", "Fetch what a batch has come to", g.batchResults)
	for _, c := range []*cobra.Command{watch, results} {
		resultFlags(c, &f)
	}
	list := &cobra.Command{Use: "list", Short: "List the newest batches", Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return g.listBatches(cmd, &f) }}
	list.Flags().IntVar(&f.limit, "limit", 20, "most batches to list (1 to 100)")
	c := group("batch", "Run files of requests in the background",
		g.submitBatchCommand(&f), one("status", "Show a batch", g.batchStatus), watch,
		one("cancel", "Stop a batch; what it has come to by then is kept", g.cancelBatch), results, list)
	c.PersistentFlags().StringVar(&f.url, "url", "", "URL of the gateway (SLUICE_URL; default: where http.listen says)")
	return c
}

// resultFlags say where results go.
func resultFlags(c *cobra.Command, f *batchFlags) {
	c.Flags().StringVar(&f.out, "out", "", "file for the results; - for standard output (default: ID_output.jsonl)")
	c.Flags().StringVar(&f.errs, "errors", "", "file for the lines that failed (default: ID_errors.jsonl)")
}

func (g *globals) submitBatchCommand(f *batchFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a batch: a file with a request a line, or - for standard input",
		Long: "Submit a batch: a file with a request a line, in the format of OpenAI's Batch API\n" +
			`({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {…}}),` + "\n" +
			"or - for standard input. With --watch the command follows it to its end and fetches the\n" +
			"results. To interrupt that does not stop the batch. --dry-run only says what it would cost.",
		Example: "  sluice batch submit requests.jsonl --watch\n" +
			"  sluice batch submit requests.jsonl --dry-run\n" +
			"  make-requests | sluice batch submit - --label team=docs --watch --out answers.jsonl",
		Args: exactly(1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error { return g.submitBatch(cmd, f, args[0]) },
	}
	p := c.Flags()
	p.StringVar(&f.endpoint, "endpoint", "", "API that the requests are written for (default: the url of the first line)")
	p.StringVar(&f.window, "window", "24h", "how long the batch may take")
	p.StringVar(&f.deadline, "deadline", "", "when it expires at the latest: a duration or an RFC 3339 time")
	p.StringVar(&f.placement, "placement", "", "realtime, provider (its own batch API) or auto")
	p.StringVar(&f.id, "key", "", "submitting again with the same key gives the same batch")
	p.StringArrayVar(&f.labels, "label", nil, "label of every job, name=value; may be repeated")
	p.StringArrayVar(&f.metadata, "metadata", nil, "metadata of the batch, name=value; may be repeated")
	p.BoolVar(&f.watch, "watch", false, "follow the batch to its end, and then fetch its results")
	p.BoolVar(&f.dryRun, "dry-run", false, "only print lines, tokens and the expected cost by model")
	p.Int64Var(&f.outputTokens, "output-tokens", 256, "output tokens to expect of a line in a dry run, unless its own bound is lower")
	resultFlags(c, f)
	return c
}

// web is a client of the gateway.
func (g *globals) web(cmd *cobra.Command, f *batchFlags) (*web.Client, *config.Config, error) {
	c, err := g.load(cmd)
	if err != nil {
		return nil, nil, err
	}
	base := firstOf(f.url, g.variable("SLUICE_URL"), "http://"+dialable(c.HTTP.Listen))
	if !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://") {
		return nil, nil, usage("for example --url http://127.0.0.1:8080", "--url %q is no http or https URL", clean(base))
	}
	tenant, key := g.identity(c)
	return web.New(base, tenant, key), c, nil
}

// withWeb lends use a client of the gateway.
func (g *globals) withWeb(cmd *cobra.Command, f *batchFlags, use func(context.Context, *web.Client) error) error {
	client, _, err := g.web(cmd, f)
	if err != nil {
		return err
	}
	defer client.Close()
	return use(cmd.Context(), client)
}

// askWeb asks the gateway one thing, and prints the answer: for programs as it
// is, for people as people does.
func askWeb[T any](g *globals, cmd *cobra.Command, f *batchFlags, ask func(context.Context, *web.Client) (T, error), people func(io.Writer, T) error) error {
	return g.withWeb(cmd, f, func(ctx context.Context, client *web.Client) error {
		answer, err := ask(ctx, client)
		if err != nil {
			return err
		}
		if g.json {
			return printJSON(cmd.OutOrStdout(), answer)
		}
		return people(cmd.OutOrStdout(), answer)
	})
}

// input opens the requests, and finds the endpoint that the first is for.
func (f *batchFlags) input(cmd *cobra.Command, name string) (io.Reader, wire.Endpoint, func(), error) {
	in, done := cmd.InOrStdin(), func() {}
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, "", nil, &failure{code: exitUsage, msg: "the requests cannot be read: " + err.Error(), cause: err}
		}
		in, done = file, func() { _ = file.Close() }
	}
	// The first line is looked at without taking it.
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(1)
	for n := 1 << 10; err == nil && len(head) < 1<<20 && !strings.Contains(strings.TrimLeft(string(head), "\r\n "), "\n"); n *= 2 {
		if head, err = r.Peek(min(n, 1<<20)); n >= 1<<20 {
			break
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		done()
		return nil, "", nil, failed(err, "", "the requests cannot be read: %v", err)
	}
	first, _, _ := strings.Cut(strings.TrimLeft(string(head), "\ufeff\r\n "), "\n")
	e := wire.Endpoint(firstOf(f.endpoint, jsonscan.String(jsonscan.Get([]byte(first), "url")), string(wire.ChatCompletions)))
	if !e.Valid() || e == wire.Messages {
		done()
		return nil, "", nil, usage("", "the endpoint %q is none of /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/completions", clean(string(e)))
	}
	return r, e, done, nil
}

// request is the batch that the flags describe.
func (f *batchFlags) request(e wire.Endpoint) (*web.Request, error) {
	labels, err := pairsOf("label", f.labels)
	if err != nil {
		return nil, err
	}
	r := &web.Request{Endpoint: string(e), Window: f.window, Header: map[string]string{}}
	if r.Metadata, err = pairsOf("metadata", f.metadata); err != nil {
		return nil, err
	}
	for k, v := range labels {
		r.Header[wire.HeaderLabel+k] = v
	}
	for name, v := range map[string]string{wire.HeaderDeadline: f.deadline, "Sluice-Placement": f.placement, "Idempotency-Key": f.id} {
		if v != "" {
			r.Header[name] = v
		}
	}
	return r, nil
}

func (g *globals) submitBatch(cmd *cobra.Command, f *batchFlags, name string) error {
	client, c, err := g.web(cmd, f)
	if err != nil {
		return err
	}
	defer client.Close()
	in, endpoint, done, err := f.input(cmd, name)
	if err != nil {
		return err
	}
	defer done()
	if f.dryRun {
		return g.planBatch(cmd, f, c, in, endpoint)
	}
	r, err := f.request(endpoint)
	if err != nil {
		return err
	}
	file := "stdin.jsonl"
	if name != "-" {
		file = filepath.Base(name)
	}
	up, err := client.Upload(cmd.Context(), file, in)
	if err != nil {
		return err
	}
	r.Input = up.ID
	b, err := client.Create(cmd.Context(), *r)
	if err != nil {
		return err
	}
	if !f.watch {
		if g.json {
			return printJSON(cmd.OutOrStdout(), b)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), b.ID)
		return err
	}
	say(cmd.ErrOrStderr(), "batch %s: %d bytes uploaded\n", b.ID, up.Bytes)
	return g.followBatch(cmd, f, client, b.ID)
}

func (g *globals) batchStatus(cmd *cobra.Command, f *batchFlags, id string) error {
	return askWeb(g, cmd, f, func(ctx context.Context, c *web.Client) (*web.Batch, error) { return c.Batch(ctx, id) }, printBatch)
}

// printBatch shows a batch to people.
func printBatch(w io.Writer, b *web.Batch) error {
	t := newTable("", "")
	stamp := func(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }
	t.row("batch", b.ID)
	t.row("status", b.Status)
	t.row("endpoint", b.Endpoint)
	if b.Model != "" {
		t.row("model", b.Model)
	}
	t.row("created", stamp(b.CreatedAt))
	t.row("expires", stamp(b.ExpiresAt))
	t.row("lines", fmt.Sprintf("%d of %d done, %d failed", b.Counts.Completed+b.Counts.Failed, b.Counts.Total, b.Counts.Failed))
	if kinds := failureKinds(b); kinds != "" {
		t.row("failed", kinds)
	}
	t.row("tokens", fmt.Sprintf("%d in, %d out", b.Usage.Input, b.Usage.Output))
	t.row("cost", batchCost(b))
	if b.Output != "" {
		t.row("output", b.Output)
	}
	if b.ErrorFile != "" {
		t.row("errors", b.ErrorFile)
	}
	if err := t.flush(w); err != nil {
		return err
	}
	return printFaults(w, b)
}

// printFaults lists why a batch failed.
func printFaults(w io.Writer, b *web.Batch) error {
	if b.Errors == nil {
		return nil
	}
	t := newTable(">line", "code", "fault")
	for _, e := range b.Errors.Data {
		line := ""
		if e.Line != nil {
			line = fmt.Sprint(*e.Line)
		}
		t.row(line, e.Code, e.Message)
	}
	return t.print(w)
}

func batchCost(b *web.Batch) string {
	if b.Sluice.Unknown > 0 && b.Counts.Completed+b.Counts.Failed > 0 {
		return cost(&b.Sluice.Cost, false)
	}
	return cost(&b.Sluice.Cost, true)
}

// failureKinds is the failed lines by what they failed of, the most first.
func failureKinds(b *web.Batch) string {
	type kind struct {
		code string
		n    int64
	}
	var kinds []kind
	for code, n := range b.Sluice.Codes {
		kinds = append(kinds, kind{code, n})
	}
	for code, n := range map[string]int64{"cancelled": b.Sluice.Cancelled, "expired": b.Sluice.Expired} {
		if n > 0 {
			kinds = append(kinds, kind{code, n})
		}
	}
	slices.SortFunc(kinds, func(a, b kind) int {
		if a.n != b.n {
			return int(b.n - a.n)
		}
		return strings.Compare(a.code, b.code)
	})
	var out []string
	for _, k := range kinds {
		out = append(out, fmt.Sprintf("%s %d", k.code, k.n))
	}
	return strings.Join(out, ", ")
}

func (g *globals) listBatches(cmd *cobra.Command, f *batchFlags) error {
	if f.limit < 1 || f.limit > 100 {
		return usage("", "--limit must be from 1 to 100")
	}
	return askWeb(g, cmd, f, func(ctx context.Context, c *web.Client) (*batchList, error) {
		list, err := c.Batches(ctx, f.limit)
		return &batchList{list}, err
	}, printBatches)
}

// batchList is what batch list prints.
type batchList struct {
	Batches []web.Batch `json:"batches"`
}

// printBatches shows batches to people.
func printBatches(w io.Writer, list *batchList) error {
	t := newTable("batch", "status", "created", ">lines", ">done", ">failed", ">cost")
	for i := range list.Batches {
		b := &list.Batches[i]
		t.row(b.ID, b.Status, time.Unix(b.CreatedAt, 0).UTC().Format(time.RFC3339), fmt.Sprint(b.Counts.Total),
			fmt.Sprint(b.Counts.Completed), fmt.Sprint(b.Counts.Failed), batchCost(b))
	}
	return t.print(w)
}

func (g *globals) cancelBatch(cmd *cobra.Command, f *batchFlags, id string) error {
	return askWeb(g, cmd, f, func(ctx context.Context, c *web.Client) (*web.Batch, error) { return c.Cancel(ctx, id) },
		func(w io.Writer, b *web.Batch) error {
			_, err := fmt.Fprintf(w, "batch %s is %s\n", b.ID, b.Status)
			return err
		})
}

func (g *globals) batchResults(cmd *cobra.Command, f *batchFlags, id string) error {
	return g.withWeb(cmd, f, func(ctx context.Context, client *web.Client) error {
		b, err := client.Batch(ctx, id)
		if err != nil {
			return err
		}
		if !b.Ended() {
			return failed(nil, "follow it with: sluice batch watch "+id, "batch %s is %s: it has no results yet", id, b.Status)
		}
		return g.fetchResults(ctx, cmd, f, client, b)
	})
}

// fetchResults writes the results to files, and says where they are.
func (g *globals) fetchResults(ctx context.Context, cmd *cobra.Command, f *batchFlags, client *web.Client, b *web.Batch) error {
	for _, x := range []struct{ what, file, to, name string }{
		{"results", b.Output, f.out, b.ID + "_output.jsonl"}, {"failed lines", b.ErrorFile, f.errs, b.ID + "_errors.jsonl"},
	} {
		if x.file == "" {
			continue
		}
		to := firstOf(x.to, x.name)
		if to == "-" {
			if err := client.Content(ctx, x.file, cmd.OutOrStdout()); err != nil {
				return err
			}
			continue
		}
		if err := fetch(ctx, client, x.file, to); err != nil {
			return failed(err, "fetch them again with: sluice batch results "+b.ID, "the %s are not in %s: %v", x.what, to, err)
		}
		say(cmd.ErrOrStderr(), "%s in %s\n", x.what, clean(to))
	}
	if g.json && f.out != "-" && f.errs != "-" {
		return printJSON(cmd.OutOrStdout(), b)
	}
	return nil
}

// fetch writes a file's content to a path, which has all of it or is as it
// was.
func fetch(ctx context.Context, client *web.Client, file, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = client.Content(ctx, file, tmp)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
