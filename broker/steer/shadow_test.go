package steer

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/sdk/wire"
)

func TestMirror(t *testing.T) {
	tab, now := table(t), time.Unix(0, submitted)
	p := New(Config{Shadows: map[string]*Shadow{"main": {Name: "try", Share: 0.2, To: "small"}}})
	none, got := wire.Progress{}, 0
	const n = 10_000
	for i := range n {
		m := meta()
		m.ID = fmt.Sprintf("job-%d", i)
		c := p.Steer(tab, m, "", 1, now)
		if s := p.Mirror(m, &none, &c, now); s != nil {
			if got++; p.Mirror(m, &none, &c, now).ID != s.ID {
				t.Fatal("mirrored otherwise the second time")
			}
		}
	}
	if math.Abs(float64(got)/n-0.2) > 0.015 {
		t.Errorf("%d of %d mirrored", got, n)
	}
	all := New(Config{Shadows: map[string]*Shadow{"main": {Name: "try", Share: 1, To: "small"}}})
	m := meta()
	cost := wire.NanoUSD(5)
	m.ID, m.Webhook, m.Batch, m.MaxCost, m.NotBefore, m.AskedClass, m.Class = strings.Repeat("x", 64), "https://h", "b1", &cost, 9, wire.Standard, wire.Interactive
	before := *m
	s := all.Mirror(m, &none, &Course{Route: "small", Base: "main"}, now)
	if s.Shadow != "try" || len(s.ID) != 64 || !strings.HasSuffix(s.ID, "-shadow") || !s.Valid() || s.Class != wire.Batch || s.AskedClass != "" || s.Webhook+s.Batch != "" ||
		s.MaxCost != nil || s.NotBefore != 0 || s.Deadline <= now.UnixNano() || s.Tenant != "acme" || s.Route != "main" {
		t.Errorf("%+v", s)
	}
	if m.ID != before.ID || m.Webhook != before.Webhook || m.Shadow != "" {
		t.Errorf("the job was changed: %+v", m)
	}
	if all.Mirror(s, &none, &Course{Base: "main"}, now) != nil || all.Mirror(m, &wire.Progress{Attempts: 1}, &Course{Base: "main"}, now) != nil ||
		all.Mirror(m, &none, &Course{Base: "tiny"}, now) != nil || (*Plan)(nil).Mirror(m, &none, &Course{Base: "main"}, now) != nil {
		t.Error("mirrored what is a copy, a retry, of another route, or by no plan")
	}
	if c := all.Steer(tab, s, "", 1, now); c.Route != "small" || c.Base != "" || c.Rules != nil {
		t.Errorf("a copy goes by %+v", c)
	}
	s.Shadow = "gone"
	if c := all.Steer(tab, s, "", 1, now); c.Route != "" {
		t.Errorf("a copy for a shadow that is gone goes by %+v", c)
	}
}
