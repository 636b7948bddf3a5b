package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sluicehq/sluice/router"
	"github.com/sluicehq/sluice/sdk/ledger"
	"github.com/sluicehq/sluice/sdk/wire"
)

// Quality is what has been reported of a pool's model: a mean in which a report
// counts half after a week.
type Quality struct {
	Pool    string  `json:"pool"`
	Model   string  `json:"model"` // upstream
	Score   float64 `json:"score"` // 0 (useless) to 1 (best)
	Reports int     `json:"reports"`

	Mean router.Mean `json:"mean"`
}

const (
	qualityHalfLife = int64(7 * 24 * time.Hour)
	qualityTries    = 20                 // of a compare-and-set
	reportedFor     = 7 * 24 * time.Hour // that a job's report is remembered
	worstQuality    = 0.001              // 0 would mean that it is not known
)

// modelKey is what the keys of models start with; those of jobs are
// ledger.ScoreKey.
const modelKey = "model."

// ErrReported says that the quality of the job's answer was reported before.
var ErrReported = errors.New("the quality of this job's answer was reported already")

// Report adds a report of the quality of a model's answers, and gives the mean
// that follows. If it is about a job (tenant and ID, both or neither), only the
// job's first report counts: the others fail with ErrReported.
func Report(ctx context.Context, js jetstream.JetStream, s wire.Subjects, pool, model string, score float64, tenant, job string) (*Quality, error) {
	kv, err := js.KeyValue(ctx, s.Stream(wire.BucketQuality))
	if err != nil {
		return nil, err
	}
	if job != "" {
		b, err := json.Marshal(ledger.Score{Score: score})
		if err == nil {
			_, err = kv.Create(ctx, ledger.ScoreKey(tenant, job), b, jetstream.KeyTTL(reportedFor))
		}
		if errors.Is(err, jetstream.ErrKeyExists) {
			return nil, ErrReported
		}
		if err != nil {
			return nil, err
		}
	}
	key := modelKey + pool + "." + wire.Token(model)
	for range qualityTries {
		q, revision := Quality{Pool: pool, Model: model}, uint64(0)
		e, err := kv.Get(ctx, key)
		switch {
		case err == nil:
			revision = e.Revision()
			if json.Unmarshal(e.Value(), &q) != nil || q.Pool != pool || q.Model != model {
				q = Quality{Pool: pool, Model: model}
			}
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return nil, err
		}
		q.Mean = q.Mean.Add(time.Now().UnixNano(), score, qualityHalfLife)
		q.Score = q.Mean.Value()
		q.Reports++
		b, err := json.Marshal(q)
		if err != nil {
			return nil, err
		}
		if _, err = kv.Update(ctx, key, b, revision); err == nil {
			return &q, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // what a wrong revision is called
			return nil, err
		}
	}
	return nil, fmt.Errorf("quality of %s/%s keeps changing, try again", pool, model)
}

// watchQuality keeps the reported qualities.
func (o *Observer) watchQuality(ctx context.Context) error {
	return o.watch(ctx, wire.BucketQuality, func(e jetstream.KeyValueEntry) {
		if e == nil || !strings.HasPrefix(e.Key(), modelKey) {
			return
		}
		var q Quality
		if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &q) == nil && q.Reports > 0 {
			o.state.quality[target{q.Pool, q.Model}] = q
			o.state.statsAt = 0
		}
	})
}
