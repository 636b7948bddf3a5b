package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
	"github.com/sluicehq/sluice/workers/adapter"
)

// Bounds of a catalog.
const (
	catalogTimeout = 30 * time.Second
	catalogPages   = 20
	catalogBytes   = 8 << 20 // of a page
)

// Models asks the provider for the upstream names of the models that it
// offers, sorted. It makes a few calls, which cost nothing.
func (e *Endpoint) Models(ctx context.Context) ([]string, error) {
	cat, ok := adapter.CatalogOf(e.cfg.Adapter)
	if !ok {
		return nil, fmt.Errorf("pool %s: adapter %s has no list of models: name them", e.cfg.Pool, e.cfg.Adapter)
	}
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	var all []string
	next := ""
	for range catalogPages {
		names, more, err := e.page(ctx, cat, next)
		if err != nil {
			return nil, fmt.Errorf("pool %s: its provider's models: %w", e.cfg.Pool, err)
		}
		all = append(all, names...)
		if next = more; next == "" {
			break
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (e *Endpoint) page(ctx context.Context, cat adapter.Catalog, next string) ([]string, string, error) {
	req := e.request(ctx, &Call{Meta: &wire.Meta{}}, cat.Encode(next), &sentBody{})
	req.Header.Del("Idempotency-Key")
	req.Body, req.ContentLength = http.NoBody, 0
	resp, err := e.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", fmt.Errorf("no answer within %s", catalogTimeout)
		}
		return nil, "", errors.New("it cannot be reached") // an error of the network may quote the address (I5)
	}
	defer closeBody(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("it answers %d", resp.StatusCode)
	}
	body, err := readAll(resp.Body, catalogBytes, resp.ContentLength)
	if err != nil || len(body) > catalogBytes {
		return nil, "", fmt.Errorf("the answer was cut off, or has more than %d bytes", catalogBytes)
	}
	return cat.Decode(body)
}
