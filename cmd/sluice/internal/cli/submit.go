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
