package sdk

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sluicehq/sluice/sdk/wire"
)

// What a Job says is what the broker reads.
func TestMessageRoundTrip(t *testing.T) {
	b := newServer(t, serverOptions(t))
	c := b.dial()
	cost, err := Dollars("0.05")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	job := Job{
		ID: "mine", Class: Interactive, Endpoint: Messages, Request: Prompt("chat", "hi"), Stream: true, Pack: true,
		Deadline: at.Add(time.Hour), Delay: time.Minute, Affinity: "user 7", Region: "us-east", MaxCost: cost,
		Webhook: "https://example.com/hook", Batch: "b1", Labels: map[string]string{"Team": "red", "x": ""},
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	msg, id, bad := c.message(&job)
	if bad != nil || id != "mine" {
		t.Fatal(bad, id)
	}
	tenant, class, _ := b.sub.SplitJobs(msg.Subject)
	got, werr := wire.ParseJob(tenant, class, msg.Header, msg.Data, 1, at)
	if werr != nil {
		t.Fatal(werr)
	}
	if got.Tenant != "acme" || got.Class != Interactive || got.ID != "mine" || got.Endpoint != Messages || got.Route != "chat" ||
		!got.Stream || !got.Pack || got.Deadline != job.Deadline.UnixNano() || got.NotBefore != at.Add(time.Minute).UnixNano() ||
		got.Affinity != job.Affinity || got.Region != job.Region || *got.MaxCost != *cost || got.Webhook != job.Webhook ||
		got.Batch != "b1" || got.Trace != job.Traceparent {
		t.Errorf("the broker reads %+v", got.Meta)
	}
	if !maps.Equal(got.Labels, map[string]string{"team": "red", "x": ""}) {
		t.Errorf("labels are %v", got.Labels)
	}
}

func TestJobDefaults(t *testing.T) {
	c := newServer(t, serverOptions(t)).dial()
	job := ask()
	msg, id, bad := c.message(&job)
	if bad != nil {
		t.Fatal(bad)
	}
	if msg.Subject != "sluice.jobs.acme.standard" || len(msg.Header) != 2 {
		t.Errorf("subject %s, headers %v", msg.Subject, msg.Header)
	}
	if u, err := uuid.Parse(id); err != nil || u.Version() != 7 || msg.Header.Get(wire.HeaderJobID) != id {
		t.Errorf("the ID is %s", id)
	}
	again, other, _ := c.message(&job)
	if other == id || again.Header.Get(wire.HeaderMsgID) == msg.Header.Get(wire.HeaderMsgID) {
		t.Error("two jobs share an ID")
	}
}

func TestJobsRefusedBeforeTheyAreSent(t *testing.T) {
	opts := serverOptions(t)
	opts.MaxPayload = 4096
	c := newServer(t, opts).dial()
	negative := NanoUSD(-1)
	for name, tc := range map[string]struct {
		change func(j *Job)
		code   Code
		param  string
	}{
		"ID with a dot":              {func(j *Job) { j.ID = "a.b" }, wire.CodeInvalidJobID, ""},
		"ID of a wildcard":           {func(j *Job) { j.ID = "*" }, wire.CodeInvalidJobID, ""},
		"ID too long":                {func(j *Job) { j.ID = strings.Repeat("a", 65) }, wire.CodeInvalidJobID, ""},
		"ID of the broker's":         {func(j *Job) { j.ID = "j12" }, wire.CodeInvalidJobID, ""},
		"ID j0":                      {func(j *Job) { j.ID = "j0" }, wire.CodeInvalidJobID, ""},
		"class":                      {func(j *Job) { j.Class = "urgent" }, wire.CodeInvalidSubject, ""},
		"class with dots":            {func(j *Job) { j.Class = "a.b" }, wire.CodeInvalidSubject, ""},
		"endpoint":                   {func(j *Job) { j.Endpoint = "/v1/images" }, wire.CodeUnknownEndpoint, wire.HeaderEndpoint},
		"no body":                    {func(j *Job) { j.Request = nil }, wire.CodeInvalidJSON, ""},
		"empty body":                 {func(j *Job) { j.Body = []byte{} }, wire.CodeInvalidJSON, ""},
		"body not JSON":              {func(j *Job) { j.Body = []byte("hello") }, wire.CodeInvalidJSON, ""},
		"body not UTF-8":             {func(j *Job) { j.Body = []byte("{\"model\":\"\xff\"}") }, wire.CodeInvalidJSON, ""},
		"no marshalling":             {func(j *Job) { j.Request = math.Inf }, wire.CodeInvalidJSON, ""},
		"no route":                   {func(j *Job) { j.Request = Prompt("", "hi") }, wire.CodeInvalidRequest, "model"},
		"negative tokens":            {func(j *Job) { j.Request = ChatRequest{Model: "m", Messages: []Message{{}}, MaxTokens: -1} }, wire.CodeInvalidRequest, "max_completion_tokens"},
		"two deadlines":              {func(j *Job) { j.Deadline, j.Timeout = time.Now(), time.Second }, wire.CodeInvalidHeader, wire.HeaderDeadline},
		"negative timeout":           {func(j *Job) { j.Timeout = -1 }, wire.CodeInvalidHeader, wire.HeaderDeadline},
		"two starts":                 {func(j *Job) { j.NotBefore, j.Delay = time.Now(), time.Second }, wire.CodeInvalidHeader, wire.HeaderNotBefore},
		"far delay":                  {func(j *Job) { j.Delay = 367 * 24 * time.Hour }, wire.CodeInvalidHeader, wire.HeaderNotBefore},
		"negative cost":              {func(j *Job) { j.MaxCost = &negative }, wire.CodeInvalidHeader, wire.HeaderMaxCost},
		"webhook":                    {func(j *Job) { j.Webhook = "file:///etc/passwd" }, wire.CodeInvalidHeader, wire.HeaderWebhook},
		"batch":                      {func(j *Job) { j.Batch = "a b" }, wire.CodeInvalidHeader, wire.HeaderBatch},
		"affinity of lines":          {func(j *Job) { j.Affinity = "a\r\nNats-Rollup: all" }, wire.CodeInvalidHeader, wire.HeaderAffinity},
		"label name":                 {func(j *Job) { j.Labels = map[string]string{"a:b": "c"} }, wire.CodeInvalidHeader, wire.HeaderLabel + "<name>"},
		"label value":                {func(j *Job) { j.Labels = map[string]string{"a": "b\nc"} }, wire.CodeInvalidHeader, wire.HeaderLabel + "a"},
		"more than the server takes": {func(j *Job) { j.Request = Prompt("m", strings.Repeat("x", 4000)) }, wire.CodeTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			job := ask()
			tc.change(&job)
			_, err := c.Submit(t.Context(), job)
			if e, ok := err.(*Error); !ok || e.Code != tc.code || e.Param != tc.param {
				t.Errorf("gives %#v", err)
			}
		})
	}
	if got := c.nc.Stats().OutMsgs; got != 0 {
		t.Errorf("%d messages were sent", got)
	}
}

func TestMessageSizeIsTheServers(t *testing.T) {
	opts := serverOptions(t)
	opts.MaxPayload = 4096
	b := newServer(t, opts)
	b.streams()
	c := b.dial()
	for n, fits := 3000, true; n < 4096; n++ {
		job := Job{ID: "a", Request: Prompt("m", strings.Repeat("x", n))}
		msg, _, bad := c.message(&job)
		if bad == nil != fits {
			if fits = false; bad.Code != wire.CodeTooLarge {
				t.Fatal(bad)
			}
			_, id, _ := c.message(&job)
			t.Logf("job %s no longer fits at %d", id, n)
			break
		}
		if n > 3750 {
			if _, err := c.js.PublishMsg(t.Context(), msg); err != nil {
				t.Fatalf("the server refuses what fits: %v", err)
			}
		}
	}
}

func TestDollars(t *testing.T) {
	for _, s := range []string{"-1", "1e3", "", "0.0000000001", "x"} {
		if _, err := Dollars(s); CodeOf(err) != wire.CodeInvalidRequest {
			t.Errorf("%q gives %v", s, err)
		}
	}
}
