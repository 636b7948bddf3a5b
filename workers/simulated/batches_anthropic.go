package simulated

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// This file speaks Anthropic's /v1/messages/batches.

type messageBatchObject struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Status     string         `json:"processing_status"`
	Counts     map[string]int `json:"request_counts"`
	Ended      *time.Time     `json:"ended_at"`
	Created    time.Time      `json:"created_at"`
	Expires    time.Time      `json:"expires_at"`
	Archived   *time.Time     `json:"archived_at"`
	Cancelling *time.Time     `json:"cancel_initiated_at"`
	Results    *string        `json:"results_url"`
}

func (b *batch) messageObject() messageBatchObject {
	o := messageBatchObject{ID: b.id, Type: "message_batch", Status: "in_progress", Created: b.created.UTC(), Expires: b.expires.UTC(),
		Counts: map[string]int{"processing": len(b.items), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}}
	if !b.cancelling.IsZero() {
		at := b.cancelling.UTC()
		o.Status, o.Cancelling = "canceling", &at
	}
	if !b.ended.IsZero() { // until then, everything counts as being processed
		at, url := b.ended.UTC(), "https://api.anthropic.com/v1/messages/batches/"+b.id+"/results"
		o.Status, o.Ended, o.Results = "ended", &at, &url
		o.Counts["processing"] = 0
		for why, n := range b.sums {
			o.Counts[why] = n
		}
	}
	return o
}

func (p *Provider) messageBatchCall(req *http.Request, raw []byte, id, verb string) (answer any, content []byte, _ *refusal) {
	switch {
	case req.Method == http.MethodPost && id == "":
		b, r := p.createMessageBatch(raw)
		if r != nil {
			return nil, nil, r
		}
		return b.messageObject(), nil, nil
	case req.Method == http.MethodGet && id == "":
		page, more := p.pageOf(req.URL.Query(), "after_id", true)
		data := []messageBatchObject{}
		for _, b := range page {
			data = append(data, b.messageObject())
		}
		list := map[string]any{"data": data, "has_more": more, "first_id": nil, "last_id": nil}
		if len(data) > 0 {
			list["first_id"], list["last_id"] = data[0].ID, data[len(data)-1].ID
		}
		return list, nil, nil
	}
	b := p.find(id, true)
	switch {
	case b == nil:
		return nil, nil, noSuch("message batch", id)
	case req.Method == http.MethodGet && verb == "":
		return b.messageObject(), nil, nil
	case req.Method == http.MethodGet && verb == "results" && !b.ended.IsZero():
		return nil, slices.Clone(b.output.content), nil
	case req.Method == http.MethodPost && verb == "cancel" && b.ended.IsZero():
		if b.cancelling.IsZero() {
			b.cancelling = time.Now()
		}
		p.advance(b, time.Now())
		return b.messageObject(), nil, nil
	case req.Method == http.MethodDelete && verb == "" && !b.ended.IsZero():
		p.batches.list = slices.DeleteFunc(p.batches.list, func(x *batch) bool { return x == b })
		return map[string]any{"id": id, "type": "message_batch_deleted"}, nil, nil
	case verb == "results", verb == "cancel", req.Method == http.MethodDelete:
		return nil, nil, invalid("", "The batch's processing status does not allow that.")
	}
	return nil, nil, errNoURL
}

// itemID is the form of a custom_id.
var itemID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func (p *Provider) createMessageBatch(raw []byte) (*batch, *refusal) {
	var q struct {
		Requests []struct {
			ID     string          `json:"custom_id"`
			Params json.RawMessage `json:"params"`
		} `json:"requests"`
	}
	if json.Unmarshal(raw, &q) != nil || len(q.Requests) == 0 || len(q.Requests) > maxItems {
		return nil, invalid("requests", "requests must be a list of 1 to 100000 requests.")
	}
	b := &batch{anthropic: true, endpoint: "/v1/messages"}
	seen := map[string]bool{}
	for _, r := range q.Requests {
		if !itemID.MatchString(r.ID) || seen[r.ID] {
			return nil, invalid("custom_id", "Each custom_id must be unique and match "+itemID.String()+".")
		}
		seen[r.ID] = true
		b.items = append(b.items, item{id: r.ID, path: b.endpoint, body: r.Params})
	}
	p.add(b, "msgbatch_")
	return b, nil
}
