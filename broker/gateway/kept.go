package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/sdk/wire/jsonscan"
)

// kept is what is stored of a response in the background beside its job, for
// as long as records are.
type kept struct {
	Input   json.RawMessage `json:"input,omitempty"` // of its request
	Deleted bool            `json:"deleted,omitempty"`
}

func keptKey(tenant, id string) string { return tenant + "." + id }

// keptBucket is where they are; nil: the broker has none yet.
func (g *Gateway) keptBucket(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := g.js.KeyValue(ctx, g.cfg.Subjects.Stream(wire.BucketResponses))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil //nolint:nilnil // see the comment
	}
	if err != nil {
		return nil, fmt.Errorf("bucket of responses: %w", err)
	}
	return kv, nil
}

// keep stores what a response in the background was asked with, unless its ID
// stands for one already.
func (g *Gateway) keep(ctx context.Context, m *wire.Meta, input json.RawMessage) error {
	kv, err := g.keptBucket(ctx)
	if err != nil || kv == nil {
		return err
	}
	if _, err = kv.Create(ctx, keptKey(m.Tenant, m.ID), mustJSON(kept{Input: input})); errors.Is(err, jetstream.ErrKeyExists) {
		return nil
	}
	return err
}

// keptOf is what is stored of a response; empty if nothing is.
func (g *Gateway) keptOf(ctx context.Context, tenant, id string) (k kept, err error) {
	kv, err := g.keptBucket(ctx)
	if err != nil || kv == nil {
		return k, err
	}
	e, err := kv.Get(ctx, keptKey(tenant, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &k)
	}
	return k, err
}

// deleteResponse makes a response one that is not there, ends it if it is not
// done, and removes its chunks and its request. The answer in its record lies
// there until records are removed.
func (g *Gateway) deleteResponse(w http.ResponseWriter, r *http.Request) {
	g.withResponse(w, r, func(ctx context.Context, c *call, s *snapshot) *wire.Error {
		if !s.done() {
			if f := c.end(ctx); f != nil {
				return f
			}
		}
		kv, err := g.keptBucket(ctx)
		if err == nil && kv != nil {
			_, err = kv.Put(ctx, keptKey(c.job.Tenant(), c.job.ID()), mustJSON(kept{Deleted: true}))
		}
		if err != nil {
			return faultOf(reason(ctx, err))
		}
		chunks, err := g.js.Stream(ctx, g.cfg.Subjects.Stream(wire.StreamChunks))
		if err == nil {
			err = chunks.Purge(ctx, jetstream.WithPurgeSubject(g.cfg.Subjects.Chunks(c.job.Tenant(), c.job.ID())))
		}
		if err != nil {
			return faultOf(reason(ctx, err))
		}
		writeJSON(w, http.StatusOK, mustJSON(map[string]any{"id": c.job.ID(), "object": "response", "deleted": true}))
		return nil
	})
}

// end cancels the response's job and waits until it has ended.
func (c *call) end(ctx context.Context) *wire.Error {
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	if _, err := c.job.Cancel(ctx); err != nil && sdk.CodeOf(err) != wire.CodeFinished {
		return faultOf(reason(ctx, err))
	}
	if _, err := c.job.Wait(ctx); err != nil { // a running attempt takes a moment to stop
		return faultOf(reason(ctx, err))
	}
	return nil
}

// serveInputItems lists what a response in the background was asked with.
func (g *Gateway) serveInputItems(w http.ResponseWriter, r *http.Request) {
	g.withResponse(w, r, func(ctx context.Context, c *call, _ *snapshot) *wire.Error {
		p, f := pageOf(r.URL.Query(), "after", "", 20, 100)
		if f != nil {
			return f
		}
		k, err := g.keptOf(ctx, c.job.Tenant(), c.job.ID())
		if err != nil {
			return faultOf(reason(ctx, err))
		}
		if len(k.Input) == 0 {
			return wire.Errorf(wire.CodeNotFound, "response_id", "the input of the response %.80q is not kept: it is of responses in the background", c.job.ID())
		}
		items := inputItems(c.job.ID(), k.Input)
		if !p.Oldest {
			slices.Reverse(items)
		}
		if p.After != "" {
			i := slices.IndexFunc(items, func(o object) bool { return itemID(o) == p.After })
			if i < 0 {
				return wire.Errorf(wire.CodeNotFound, "after", "the response has no input item %.80q", p.After)
			}
			items = items[i+1:]
		}
		more := len(items) > p.Limit
		items = items[:min(len(items), p.Limit)]
		list := object{"object": mustJSON("list"), "data": mustJSON(items), "has_more": mustJSON(more), "first_id": mustJSON(""), "last_id": mustJSON("")}
		if n := len(items); n > 0 {
			list["first_id"], list["last_id"] = items[0]["id"], items[n-1]["id"]
		}
		writeJSON(w, http.StatusOK, mustJSON(list))
		return nil
	})
}

func itemID(o object) string { return jsonscan.String(o["id"]) }

// prefixes are how IDs of items begin, by type.
var prefixes = map[string]string{"message": "msg_", "function_call": "fc_", "function_call_output": "fco_", "reasoning": "rs_"}

// inputItems are the items of a request's input, oldest first, each with what
// a client may leave out: type, ID, status, and the form of a text.
func inputItems(id string, input json.RawMessage) []object {
	items := []object{}
	if jsonscan.Kind(input) == '"' {
		items = append(items, object{"role": mustJSON("user"), "content": input})
	} else {
		var list []json.RawMessage
		_ = json.Unmarshal(input, &list) // what is no list has no items
		for _, raw := range list {
			var o object
			if json.Unmarshal(raw, &o) == nil && o != nil {
				items = append(items, o)
			}
		}
	}
	for i, o := range items {
		if len(o["type"]) == 0 {
			o["type"] = mustJSON("message")
		}
		kind := jsonscan.String(o["type"])
		prefix, known := prefixes[kind]
		if !known {
			prefix = "item_"
		}
		if itemID(o) == "" {
			o["id"] = mustJSON(prefix + id + "_" + strconv.Itoa(i))
		}
		if known && kind != "reasoning" && len(o["status"]) == 0 {
			o["status"] = mustJSON("completed")
		}
		if kind == "message" && jsonscan.Kind(o["content"]) == '"' {
			part := object{"type": mustJSON("input_text"), "text": o["content"]}
			if jsonscan.String(o["role"]) == "assistant" {
				part = object{"type": mustJSON("output_text"), "text": o["content"], "annotations": mustJSON([]any{}), "logprobs": mustJSON([]any{})}
			}
			o["content"] = mustJSON([]object{part})
		}
	}
	return items
}
