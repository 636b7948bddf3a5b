package control

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/sluicehq/sluice/broker/budget/account"
	"github.com/sluicehq/sluice/broker/cron"
	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/broker/topology"
	"github.com/sluicehq/sluice/sdk/wire"
)

// adminRequest is the body of an admin request; which fields count depends on
// the operation.
type adminRequest struct {
	Tenant string      `json:"tenant"`
	Job    string      `json:"job"`
	Status wire.Status `json:"status"`
	Batch  string      `json:"batch"`
	Limit  int         `json:"limit"`
	All    bool        `json:"all"`
	Pool   string      `json:"pool"`
	// Rollout, and what is to be done with it.
	Rollout string `json:"rollout"`
	Action  string `json:"action"`
	Spec    string `json:"spec"` // of a pool that is to be added
	// After is the last dead letter of the request before, of several.
	After uint64 `json:"after"`
	Body  []byte `json:"body"`
	// Schedule is a whole one to add, else the one that is meant.
	Schedule cron.Schedule `json:"schedule"`
	Replace  bool          `json:"replace"`
	Model    string        `json:"model"`
	Score    *float64      `json:"score"` // of a quality
	// Budget is one to set, ID that of one to take back.
	Budget *account.Definition `json:"budget"`
	ID     string              `json:"id"`
}

// adminFailure is the answer of an operation that failed.
func adminFailure(code wire.Code, msg string) any {
	return map[string]any{"error": wire.AnswerError{Code: code, Message: msg}}
}

// admin answers one operation; its name is the last part of the subject.
func (s *Service) admin(ctx context.Context, m *nats.Msg) any {
	op := strings.TrimPrefix(m.Subject, s.cfg.Subjects.Admin(""))
	if op == "explain" {
		return s.explain(ctx, m)
	}
	var req adminRequest
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &req); err != nil {
			return adminFailure(wire.CodeInvalidJSON, "the request must be a JSON object: "+err.Error())
		}
	}
	ops := map[string]func(context.Context, adminRequest) (any, error){
		"pools": s.pools, "pool.drain": s.drain, "pool.resume": s.resume,
		"route.captures": s.captures, "quality": s.reportQuality,
		"pool.add": s.addPool, "pool.remove": s.removePool, "routes": s.routes, "experiments": s.experiments, "rollouts": s.rollouts, "rollout.set": s.setRollout, "jobs": s.listJobs, "health": s.health,
		"dead.list": s.deadList, "dead.show": s.deadShow, "dead.edit": s.deadEdit, "dead.requeue": s.deadRequeue,
		"schedule.add": s.addSchedule, "schedule.list": s.listSchedules, "schedule.show": s.showSchedule,
		"alerts": s.alerts, "budgets": s.budgets, "budget.set": s.setBudget, "budget.remove": s.removeBudget,
		"schedule.pause": s.pauseSchedule, "schedule.remove": s.removeSchedule,
	}
	f, ok := ops[op]
	if !ok {
		return adminFailure(wire.CodeInvalidRequest, "no admin operation is called "+strconv.Quote(op))
	}
	answer, err := f(ctx, req)
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return adminFailure(e.Code, e.Message)
	case err != nil:
		return adminFailure(wire.CodeInternal, err.Error())
	}
	return answer
}

func (s *Service) routes(context.Context, adminRequest) (any, error) {
	t := s.cfg.Table()
	type cand struct {
		Pool   string `json:"pool"`
		Model  string `json:"model"`
		Weight int    `json:"weight"`
	}
	type route struct {
		Model      string   `json:"model"`
		Strategy   string   `json:"strategy"`
		Candidates []cand   `json:"candidates"`
		Fallback   []string `json:"fallback,omitempty"`
	}
	routes := []route{}
	for _, r := range t.Routes() {
		out := route{Model: r.Name(), Strategy: r.Strategy(), Candidates: []cand{}}
		for _, c := range r.Candidates() {
			out.Candidates = append(out.Candidates, cand{Pool: c.PoolName, Model: c.Model, Weight: c.Weight})
		}
		for _, step := range s.plan().Chain(r.Name()) {
			out.Fallback = append(out.Fallback, step.String())
		}
		routes = append(routes, out)
	}
	return map[string]any{"routes": routes}, nil
}

// plan is how jobs are steered, nil if they are not.
func (s *Service) plan() *steer.Plan {
	if s.cfg.Plan == nil {
		return nil
	}
	return s.cfg.Plan()
}

// health lists the streams with their sizes, less the messages that nobody takes.
func (s *Service) health(ctx context.Context, _ adminRequest) (any, error) {
	type stream struct {
		Name     string `json:"name"`
		Messages uint64 `json:"messages"`
		Bytes    uint64 `json:"bytes"`
		Replicas int    `json:"replicas"`
	}
	streams := []stream{}
	for _, kind := range []string{wire.StreamJobs, wire.StreamSched, wire.StreamWork, wire.StreamLedger, wire.StreamChunks, wire.StreamDead, wire.StreamHolds} {
		n, i, err := topology.Messages(ctx, s.cfg.JS, s.cfg.Subjects, kind)
		if err != nil {
			return nil, err
		}
		streams = append(streams, stream{Name: i.Config.Name, Messages: n, Bytes: i.State.Bytes, Replicas: i.Config.Replicas})
	}
	return map[string]any{"streams": streams}, nil
}

// listLimit is how many jobs or dead letters a list shows unless asked for
// another number, up to ten times as many.
const listLimit = 100

func limit(n int) int {
	if n <= 0 {
		return listLimit
	}
	return min(n, 10*listLimit)
}
