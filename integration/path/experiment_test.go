package path

import (
	"fmt"
	"testing"

	"github.com/sluicehq/sluice/broker/steer"
	"github.com/sluicehq/sluice/sdk/wire"
)

// TestExperimentOnThePath: jobs of a key stay with their variant, over routers
// and retries, the shares are the weights', and each record says which it was.
func TestExperimentOnThePath(t *testing.T) {
	bubble(t, func(t *testing.T, dir string) {
		fails := &script{reply: func(n int, _ string) reply {
			if n%5 == 0 {
				return reply{status: 500}
			}
			return reply{}
		}}
		plan := steer.New(steer.Config{Experiments: map[string]*steer.Experiment{"chat": {Name: "ab", Key: steer.KeyAffinity, Variants: []steer.Variant{
			{Name: "control", Weight: 3}, {Name: "small", Weight: 1, Route: "small"}}}}})
		r := start(t, setup{dir: dir, attempts: 20, plan: plan, pools: []pool{{name: "a", concurrency: 16, provider: fails}, {name: "s", concurrency: 16, provider: &script{}, only: true, routes: []string{"small"}}}})
		r.dispatcher("d2")
		var ids []string
		for i := range 200 {
			ids = append(ids, r.publish(chat, "Sluice-Affinity", fmt.Sprintf("user-%d", i%50)))
		}
		byUser, jobs := map[string]string{}, map[string]int{}
		for i, id := range ids {
			if res := r.result(id); res.Status != wire.Succeeded {
				t.Fatalf("%s: %s", id, res.Body)
			}
			for _, a := range r.attempts(id) {
				d := a.Decision
				if d.Experiment != "ab" || (d.Variant == "small") != (a.Pool == "s") || (d.Variant == "small") != (d.Route == "small") {
					t.Fatalf("%s at %s: %+v", id, a.Pool, d)
				}
				user := fmt.Sprint(i % 50)
				if byUser[user] == "" {
					byUser[user] = d.Variant
				}
				if byUser[user] != d.Variant {
					t.Errorf("user %s was %s, then %s", user, byUser[user], d.Variant)
				}
			}
			jobs[byUser[fmt.Sprint(i%50)]]++
		}
		users := 0
		for _, v := range byUser {
			if v == "small" {
				users++
			}
		}
		if users < 5 || users > 20 { // of 50, 12.5 by the weights; the keys are fixed
			t.Errorf("%d of 50 users, %v jobs", users, jobs)
		}
		r.empty()
	})
}
