package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/sluicehq/sluice/sdk/wire"
	"gopkg.in/yaml.v3"
)

// scraped are the metrics that /metrics serves, each with the names of its
// labels.
func scraped(t *testing.T, url string) map[string]map[string]bool {
	t.Helper()
	res, err := http.Get(url + "/metrics") //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]bool{}
	for name, f := range families {
		labels := map[string]bool{"instance": true, "job": true} // Prometheus adds them
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
		}
		out[name] = labels
		if f.GetType().String() == "HISTOGRAM" {
			labels["le"] = true
			out[name+"_bucket"], out[name+"_sum"], out[name+"_count"] = labels, labels, labels
		}
	}
	return out
}

// prometheusQueries are the expressions of the dashboard's panels and of the
// alert rules, each by where it stands.
func prometheusQueries(t *testing.T) map[string]string {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile("../../../../deploy/grafana/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read("sluice-live.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(read("alerts.yaml"), &rules); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			out["panel "+p.Title+": "+q.Expr] = strings.ReplaceAll(q.Expr, "$__rate_interval", "1m")
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			out["alert "+r.Alert] = r.Expr
		}
	}
	if len(out) < 30 {
		t.Fatalf("%d expressions: %v", len(out), out)
	}
	return out
}

// raiseAlert writes one into the bucket, as package alert does.
func raiseAlert(t *testing.T, tm *terminal) {
	t.Helper()
	nc, err := nats.Connect("nats://" + tm.variable("SLUICE_NATS_EMBEDDED_LISTEN"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: wire.Subjects{}.Stream(wire.BucketAlerts)})
	if err == nil {
		_, err = kv.PutString(t.Context(), "k", `{"kind":"unpriced","subject":{"model":"m"},"raised":true,"told":true}`)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Every PromQL expression in deploy/grafana is one, and asks for metrics and
// labels that a running Sluice serves; docs/metrics.md lists all of ours.
func TestPrometheusQueriesAskForWhatIsServed(t *testing.T) {
	tm := startBroker(t, "", "budgets: [{scope: global, limit_jobs: 4, window: total}]\n")
	url := "http://" + tm.variable("SLUICE_HTTP_LISTEN")
	for _, body := range []string{`{"model":"chat","messages":[{"role":"user","content":"x"}]}`, `{"model":"chat","stream":true,"messages":[{"role":"user","content":"x"}]}`} {
		res, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body)) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
			t.Fatalf("%d %s %v", res.StatusCode, b, err)
		}
		_ = res.Body.Close()
	}
	raiseAlert(t, tm)
	var served map[string]map[string]bool
	eventually(t, "half of the budget raises an event, and an alert is raised", func() bool {
		served = scraped(t, url)
		return served["sluice_budget_events_total"] != nil && served["sluice_alert_raised"] != nil
	})

	asked := map[string]bool{}
	for where, q := range prometheusQueries(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			v, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			labels := served[v.Name]
			if asked[v.Name] = true; labels == nil {
				t.Errorf("%s: nothing serves %s", where, v.Name)
				return nil
			}
			for _, m := range v.LabelMatchers {
				if m.Name != "__name__" && !labels[m.Name] {
					t.Errorf("%s: %s has no label %s", where, v.Name, m.Name)
				}
			}
			return nil
		})
		groupsBy(expr, func(selected, label string) {
			if labels := served[selected]; labels != nil && !labels[label] {
				t.Errorf("%s: grouped by %s, which %s does not have", where, label, selected)
			}
		})
	}
	docs, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("`(sluice_[a-z_]+)`").FindAllStringSubmatch(string(docs), -1) {
		documented[name[1]] = true
		if served[name[1]] == nil {
			t.Errorf("docs/metrics.md lists %s, which is not served", name[1])
		}
	}
	for name := range served {
		base := regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(name, "")
		if strings.HasPrefix(name, "sluice_") && !documented[name] && !documented[base] {
			t.Errorf("docs/metrics.md does not list %s", name)
		}
		if strings.HasPrefix(name, "sluice_") && !asked[name] && !asked[base] && !asked[base+"_bucket"] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// groupsBy tells each label that metrics are grouped by.
func groupsBy(expr parser.Expr, each func(selected, label string)) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		a, ok := n.(*parser.AggregateExpr)
		if !ok {
			return nil
		}
		parser.Inspect(a.Expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				for _, label := range a.Grouping {
					each(v.Name, label)
				}
			}
			return nil
		})
		return nil
	})
}
