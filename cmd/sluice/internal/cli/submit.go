package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/spf13/cobra"
)

// submitFlags are the options of one job.
type submitFlags struct {
	model, class, endpoint, file, id  string
	deadline, notBefore               string
	affinity, region, maxCost         string
	webhook, batch, trace             string
	labels                            []string
	maxTokens                         int64
	stream, noWait, wait, quietResult bool
	timeout                           time.Duration
}

func (g *globals) submitCommand() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use:   "submit [prompt]",
		Short: "Submit a job and wait for its answer",
		Long: "Submit a job: a prompt as argument or on standard input, or a JSON request with --file\n" +
			"(standard input may be JSON too). The answer is printed when it comes, with --stream\n" +
			"token by token. The job is stored once it is acknowledged: to interrupt the wait does\n" +
			"not end it.",
		Example: "  sluice submit \"Why is the sky blue?\" --stream\n" +
			"  sluice submit --file request.json --class batch --no-wait\n" +
			"  echo \"Why is the sky blue?\" | sluice submit --model chat --label team=docs",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("put the prompt in quotes", "one prompt is taken, not %d words", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return g.submit(cmd, &f, args) },
	}
	p := cmd.Flags()
	p.StringVar(&f.model, "model", "", "route to ask (default \"chat\", or what the JSON request says)")
	p.StringVar(&f.class, "class", string(wire.Standard), "interactive, standard or batch")
	p.StringVar(&f.endpoint, "endpoint", string(wire.ChatCompletions), "API that the request is written for")
	p.StringVar(&f.file, "file", "", "JSON request to submit as it is; - for standard input")
	p.StringVar(&f.id, "id", "", "job ID; the same ID again is the same job (default: a new one)")
	p.BoolVar(&f.stream, "stream", false, "print the answer while it is generated")
	p.BoolVar(&f.wait, "wait", true, "wait for the answer")
	p.BoolVar(&f.noWait, "no-wait", false, "print the job ID as soon as the job is stored")
	p.DurationVar(&f.timeout, "timeout", 0, "how long to wait; the job goes on after it (0: without end)")
	p.StringVar(&f.deadline, "deadline", "", "when the job expires: a duration or an RFC 3339 time")
	p.StringVar(&f.notBefore, "not-before", "", "when the job may start: a duration or an RFC 3339 time")
	p.StringVar(&f.affinity, "affinity", "", "session or user key")
	p.StringVar(&f.region, "region", "", "where the user is")
	p.StringVar(&f.maxCost, "max-cost", "", "most that the job may cost, in dollars")
	p.Int64Var(&f.maxTokens, "max-tokens", 0, "most output tokens for a prompt (0: the model's own bound)")
	p.StringVar(&f.webhook, "webhook", "", "URL to call with the result")
	p.StringVar(&f.batch, "batch", "", "batch that the job belongs to")
	p.StringVar(&f.trace, "traceparent", "", "W3C trace context")
	p.StringArrayVar(&f.labels, "label", nil, "label, name=value; may be repeated")
	p.BoolVar(&f.quietResult, "quiet", false, "print the answer only, nothing about it")
	return cmd
}

func (g *globals) submit(cmd *cobra.Command, f *submitFlags, args []string) error {
	job, err := f.job(cmd, args)
	if err != nil {
		return err
	}
	client, _, err := g.dial(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	h, err := client.Submit(cmd.Context(), *job)
	if err != nil {
		return refused(err)
	}
	if f.noWait || !f.wait {
		if g.json {
			return printJSON(cmd.OutOrStdout(), map[string]string{"job_id": h.ID(), "tenant": h.Tenant()})
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), h.ID())
		return err
	}
	ctx := cmd.Context()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	return g.follow(ctx, cmd, h, job.Stream, f.quietResult)
}

// refused tells a job that can never be right from one that found no broker.
func refused(err error) error {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case wire.CodeInvalidJSON, wire.CodeInvalidRequest, wire.CodeInvalidHeader, wire.CodeInvalidJobID,
		wire.CodeInvalidSubject, wire.CodeUnknownEndpoint, wire.CodeTooLarge:
		return &failure{code: exitUsage, msg: e.Error(), hint: "nothing was submitted; see sluice submit --help", cause: err}
	}
	return err
}

// follow prints the answer of a job: as it comes, or when it is whole.
func (g *globals) follow(ctx context.Context, cmd *cobra.Command, h *sdk.Handle, stream, quiet bool) error {
	if stream && !g.json {
		if err := printChunks(ctx, cmd, h); err != nil {
			return goesOn(err, h)
		}
	}
	r, err := h.Wait(ctx)
	if err != nil {
		return goesOn(err, h)
	}
	if g.json {
		if err := printJSON(cmd.OutOrStdout(), resultJSON(r)); err != nil {
			return err
		}
		if r.Err != nil {
			return silent(exitFailed)
		}
		return nil
	}
	if r.Err == nil && !stream {
		if err := printAnswer(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	}
	if !quiet {
		say(cmd.ErrOrStderr(), "%s\n", clean(summary(r)))
	}
	return ended(r)
}

// ended is the error of a job that did not succeed.
func ended(r *sdk.Result) error {
	if r.Err == nil {
		return nil
	}
	hint := hintFor(r.Err.Code)
	if r.Attempts > 0 {
		hint = "see what each attempt met with: sluice job trace " + r.Job
	}
	return failed(r.Err, hint, "job %s %s: %s: %s", r.Job, r.Status, r.Err.Code, r.Err.Message)
}

// goesOn says of an interrupted wait that the job is not.
func goesOn(err error, h *sdk.Handle) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failed(err, "follow it with: sluice job watch "+h.ID()+"; end it with: sluice job cancel "+h.ID(),
			"the wait ended, job %s goes on", h.ID())
	}
	return err
}

// printChunks prints a streamed answer as it comes. What went wrong with the
// job itself is left to its result.
func printChunks(ctx context.Context, cmd *cobra.Command, h *sdk.Handle) error {
	out, open := cmd.OutOrStdout(), false
	for chunk, err := range h.Chunks(ctx) {
		if err != nil {
			if open {
				say(out, "\n")
			}
			if ctx.Err() != nil {
				return err
			}
			break // the result says it
		}
		if chunk.Restarted && open {
			say(out, "\n")
			say(cmd.ErrOrStderr(), "[attempt %d starts the answer again]\n", chunk.Attempt)
			open = false
		}
		if text := chunk.Text(); text != "" {
			if _, err := io.WriteString(out, cleanLines(text)); err != nil {
				return err
			}
			open = true
		}
	}
	if open {
		say(out, "\n")
	}
	return nil
}

// printAnswer prints the text of an answer, or its JSON where it has none.
func printAnswer(w io.Writer, r *sdk.Result) error {
	text := cleanLines(r.Text())
	if text == "" {
		text = string(r.Body)
	}
	_, err := io.WriteString(w, strings.TrimSuffix(text, "\n")+"\n")
	return err
}

// summary is one line about a result.
func summary(r *sdk.Result) string {
	s := fmt.Sprintf("job %s %s", r.Job, r.Status)
	if r.Pool != "" {
		s += fmt.Sprintf(" · %s/%s", r.Pool, r.Model)
	}
	if r.Attempts > 1 {
		s += fmt.Sprintf(" · %d attempts", r.Attempts)
	}
	if u := r.Usage; u.Total() > 0 {
		s += fmt.Sprintf(" · %d tokens in, %d out", u.Input+u.CacheRead+u.CacheWrite, u.Output+u.Reasoning)
	}
	if r.Attempts > 0 {
		s += " · " + cost(&r.Cost, r.CostKnown)
	}
	return s
}

// cost is an amount for people, with a sign where a part of it is not known.
func cost(c *wire.NanoUSD, known bool) string {
	switch {
	case c == nil || !known && *c == 0:
		return "cost unknown"
	case !known:
		return "$" + c.String() + " and an unknown part"
	}
	return "$" + c.String()
}

// resultJSON is a result for programs.
func resultJSON(r *sdk.Result) any {
	out := struct {
		Job      string          `json:"job_id"`
		Tenant   string          `json:"tenant"`
		Status   wire.Status     `json:"status"`
		Error    *sdk.Error      `json:"-"`
		Code     wire.Code       `json:"error_code,omitempty"`
		Attempts int             `json:"attempts"`
		Pool     string          `json:"pool,omitempty"`
		Provider string          `json:"provider,omitempty"`
		Model    string          `json:"model,omitempty"`
		Cost     *wire.NanoUSD   `json:"cost_nano_usd,omitempty"`
		Usage    usageJSON       `json:"usage"`
		Finished string          `json:"finished_at"`
		Answer   json.RawMessage `json:"answer"`
	}{Job: r.Job, Tenant: r.Tenant, Status: r.Status, Attempts: r.Attempts, Pool: r.Pool, Provider: r.Provider, Model: r.Model,
		Usage: usageJSON(r.Usage), Finished: r.FinishedAt.UTC().Format(time.RFC3339Nano), Answer: json.RawMessage("null")}
	if r.Err != nil {
		out.Code = r.Err.Code
	}
	if r.CostKnown {
		out.Cost = &r.Cost
	}
	if json.Valid(r.Body) {
		out.Answer = r.Body
	}
	return out
}

// usageJSON spells the buckets out, as the tables do.
type usageJSON struct {
	Input      int64 `json:"input_tokens"`
	CacheRead  int64 `json:"cache_read_tokens"`
	CacheWrite int64 `json:"cache_write_tokens"`
	Output     int64 `json:"output_tokens"`
	Reasoning  int64 `json:"reasoning_tokens"`
}

// job makes the job that flags and arguments describe.
func (f *submitFlags) job(cmd *cobra.Command, args []string) (*sdk.Job, error) {
	if f.noWait && f.stream {
		return nil, usage("", "--no-wait and --stream exclude each other")
	}
	body, err := f.body(cmd, args)
	if err != nil {
		return nil, err
	}
	job := &sdk.Job{ID: f.id, Class: wire.Class(f.class), Endpoint: wire.Endpoint(f.endpoint), Body: body, Stream: f.stream,
		Affinity: f.affinity, Region: f.region, Webhook: f.webhook, Batch: f.batch, Traceparent: f.trace}
	if !job.Class.Valid() {
		return nil, usage("", "--class %q is not interactive, standard or batch", clean(f.class))
	}
	if job.Deadline, job.Timeout, err = moment("deadline", f.deadline); err != nil {
		return nil, err
	}
	if job.NotBefore, job.Delay, err = moment("not-before", f.notBefore); err != nil {
		return nil, err
	}
	if f.maxCost != "" {
		if job.MaxCost, err = sdk.Dollars(f.maxCost); err != nil {
			return nil, usage("for example --max-cost 0.05", "--max-cost %q is no decimal number of dollars", clean(f.maxCost))
		}
	}
	job.Labels, err = pairsOf("label", f.labels)
	return job, err
}

// moment reads an RFC 3339 time, or a duration.
func moment(flag, s string) (time.Time, time.Duration, error) {
	if s == "" {
		return time.Time{}, 0, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, 0, nil
	}
	if d, err := config.ParseDuration(s); err == nil && d > 0 {
		return time.Time{}, d, nil
	}
	return time.Time{}, 0, usage("for example 90s, 2h or 2026-01-31T09:00:00Z", "--%s %q is neither a duration above 0 nor an RFC 3339 time", flag, clean(s))
}

// pairsOf reads name=value flags.
func pairsOf(flag string, words []string) (map[string]string, error) {
	var out map[string]string
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, usage("for example --"+flag+" team=docs", "--%s %q is not name=value", flag, clean(w))
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[k] = v
	}
	return out, nil
}

// body is the request: the JSON given, or one made of a prompt.
func (f *submitFlags) body(cmd *cobra.Command, args []string) ([]byte, error) {
	switch {
	case len(args) == 1 && f.file != "":
		return nil, usage("", "a prompt and --file exclude each other")
	case len(args) == 1 && args[0] != "-":
		return f.prompt(args[0])
	case f.file != "" && f.file != "-":
		b, err := os.ReadFile(f.file)
		if err != nil {
			return nil, &failure{code: exitUsage, msg: "the request cannot be read: " + err.Error(), cause: err}
		}
		return f.request(b)
	}
	b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), wire.MaxBody+1))
	if err != nil {
		return nil, failed(err, "", "standard input: %v", err)
	}
	text := strings.TrimSpace(string(b))
	switch {
	case text == "":
		return nil, usage("sluice submit \"Why is the sky blue?\"", "there is no prompt: give it as an argument, on standard input, or a request with --file")
	case f.file == "-" || strings.HasPrefix(text, "{") && json.Valid(b):
		return f.request(b)
	}
	return f.prompt(text)
}

// request is a JSON request as it is, but for the model when it has none or
// --model says another.
func (f *submitFlags) request(b []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil || fields == nil {
		return nil, usage("a request is a JSON object, such as {\"model\": \"chat\", \"messages\": [...]}", "the request is not a JSON object")
	}
	if _, has := fields["model"]; has && f.model == "" {
		return b, nil
	}
	model, err := json.Marshal(f.route())
	if err != nil {
		return nil, err
	}
	fields["model"] = model
	return json.Marshal(fields)
}

func (f *submitFlags) route() string { return firstOf(f.model, config.DefaultRoute) }

// prompt is the request of a prompt, in the shape of the endpoint.
func (f *submitFlags) prompt(text string) ([]byte, error) {
	request := map[string]any{"model": f.route()}
	messages := []sdk.Message{{Role: "user", Content: text}}
	limit := ""
	switch wire.Endpoint(f.endpoint) {
	case wire.ChatCompletions:
		request["messages"], limit = messages, "max_completion_tokens"
	case wire.Messages:
		request["messages"], limit = messages, "max_tokens"
		request[limit] = 1024 // this API demands a bound
	case wire.Completions:
		request["prompt"], limit = text, "max_tokens"
	case wire.Responses:
		request["input"], limit = text, "max_output_tokens"
	case wire.Embeddings:
		request["input"] = text
	default:
		return nil, usage("", "--endpoint %q is none of /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/completions, /v1/messages", clean(f.endpoint))
	}
	if f.maxTokens != 0 && limit != "" {
		request[limit] = f.maxTokens
	}
	return json.Marshal(request)
}
