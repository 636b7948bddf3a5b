package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicehq/sluice/analytics/store"
	"github.com/sluicehq/sluice/analytics/store/storetest"
	"github.com/sluicehq/sluice/cmd/sluice/internal/app"
	"github.com/sluicehq/sluice/cmd/sluice/internal/config"
	"github.com/sluicehq/sluice/router"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// safe is a buffer for logs.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// chatty is a provider that streams a card number in three pieces.
func chatty(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range []string{"pay with 4111 11", "11 1111 11", "11 soon"} {
		fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", word)
	}
	fmt.Fprint(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

const textsConfig = `
nats: {embedded: {listen: "127.0.0.1:0"}}
clickhouse: {dsn: "%s"}
http: {listen: "127.0.0.1:0", admin_key: env:ROOT}
data_dir: %s
analytics: {flush_interval: 50ms}
pools:
  - {name: up, adapter: openai, base_url: "%s/v1", models: {m: {price: {input: 1, output: 2}}}}
routes:
  - {model: chat, strategy: round_robin, candidates: [{pool: up, model: m}]}
tenants:
  - {name: acme, key: env:KEY_A, text: {keep: 1h}}
  - {name: globex, key: env:KEY_G}
`

// textsRig is a whole Sluice on the real ClickHouse.
type textsRig struct {
	t    *testing.T
	url  string
	logs safe
}

// ask makes a request with a key.
func (x *textsRig) ask(method, path, key, body string) (int, string, http.Header) {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), method, x.url+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// texts are those that a question finds.
func (x *textsRig) texts(path, key string) (out []store.TextJSON) {
	x.t.Helper()
	status, body, _ := x.ask("GET", path, key, "")
	var answer struct{ Texts []store.TextJSON }
	if status != 200 || json.Unmarshal([]byte(body), &answer) != nil {
		x.t.Fatalf("%s: %d %s", path, status, body)
	}
	return answer.Texts
}

// within waits for something in another process.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// On the real engine: what a tenant says is in ClickHouse, redacted, for it and
// the administrator to read, search and delete. What another says, who does not
// keep it, is in no table; nor is what was left out, nor is either in a log.
func TestTextsOnEngine(t *testing.T) {
	dsn := storetest.DSN(t)
	upstream := httptest.NewServer(http.HandlerFunc(chatty))
	defer upstream.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, textsConfig, dsn, filepath.Join(dir, "data"), upstream.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	src := config.Sources{Path: path, Adapters: app.Adapters(), Environ: []string{"ROOT=root", "KEY_A=key-a", "KEY_G=key-g"}}
	for _, s := range router.Strategies() {
		src.Strategies = append(src.Strategies, s.Name)
	}
	cfg, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	x := &textsRig{t: t}
	ready, ended := make(chan *app.App, 1), make(chan error, 1)
	go func() { // ends with ctx, and is waited for below
		ended <- app.Run(ctx, cfg, app.Options{Roles: app.Roles(), Sources: src, Logger: slog.New(slog.NewTextHandler(&x.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Ready: func(a *app.App) { ready <- a }})
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case a := <-ready:
		x.url = "http://" + a.HTTPAddr()
	case err := <-ended:
		ended <- nil
		t.Fatalf("it does not start: %v", err)
	}
	x.use(dsn)
}

func (x *textsRig) use(dsn string) {
	t := x.t
	t.Helper()
	say := func(key, what string) string {
		t.Helper()
		status, body, h := x.ask("POST", "/v1/chat/completions", key, `{"model":"chat","stream":true,"messages":[{"role":"user","content":"`+what+`"}]}`)
		if status != 200 || !strings.Contains(body, "soon") {
			t.Fatalf("%d %s", status, body)
		}
		return h.Get("Sluice-Job")
	}
	other := say("key-g", "globexwhisper")
	job := say("key-a", "I am jo@ex.org, zanzibar ![x](data:image/png;base64,iVBORw0KGgoAAAAN)")
	say("key-a", "tombola")
	within(t, "the tables are there", func() bool { status, _, _ := x.ask("GET", "/admin/v1/texts", "root", ""); return status == 200 })
	within(t, "both texts are there", func() bool { return len(x.texts("/admin/v1/texts?words=soon", "key-a")) == 2 })
	got := x.texts("/admin/v1/jobs/"+job+"/text", "key-a")
	if len(got) != 1 || got[0].Prompt != "user: I am [email], zanzibar ![x]([data image/png, 12 bytes])" || got[0].Answer != "pay with [card] soon" ||
		got[0].Redactions["card"] != 1 || time.Until(got[0].ExpiresAt) > time.Hour || time.Until(got[0].ExpiresAt) < 50*time.Minute {
		t.Errorf("%+v", got)
	}
	for path, want := range map[string]map[string]int{
		"/admin/v1/texts?words=zanzibar":                            {"key-a": 1, "key-g": 0, "root": 1},
		"/admin/v1/texts?words=zanzibar&tenant=acme":                {"key-a": 1, "key-g": 0, "root": 1},
		"/admin/v1/texts":                                           {"key-a": 2, "key-g": 0, "root": 2},
		"/admin/v1/jobs/" + job + "/text?tenant=acme":               {"key-a": 1, "key-g": 0, "root": 1},
		"/admin/v1/jobs/" + other + "/text?tenant=globex":           {"key-a": 0, "key-g": 0, "root": 0},
		"/admin/v1/texts?words=zanzibar&since=2999-01-01T00:00:00Z": {"key-a": 0},
	} {
		for key, n := range want {
			if got := x.texts(path, key); len(got) != n {
				t.Errorf("%s finds %d for %s, want %d", path, len(got), key, n)
			}
		}
	}
	for path, want := range map[string]int{"/admin/v1/texts": 401, "/admin/v1/jobs/x/text": 401} {
		if status, _, _ := x.ask("GET", path, "", ""); status != want {
			t.Errorf("%s without a key: %d", path, status)
		}
	}
	for path, want := range map[string]int{"/admin/v1/texts?limit=1000": 400, "/admin/v1/texts?words=%3F": 400, "/admin/v1/jobs/a%20b/text": 400} {
		if status, body, _ := x.ask("GET", path, "root", ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, metrics, _ := x.ask("GET", "/metrics", "", ""); !strings.Contains(metrics, "sluice_texts_kept_total 2\n") || !strings.Contains(metrics, `sluice_texts_redactions_total{kind="card"} 2`) ||
		!strings.Contains(metrics, "sluice_texts_rows_total 2\n") {
		t.Error("metrics say other things of texts")
	}
	x.nowhere(dsn, "globexwhisper", "jo@ex.org", "4111 1111", "iVBORw0KGgo")
	x.forget(job)
	if logs := x.logs.String(); strings.Contains(logs, "zanzibar") || strings.Contains(logs, "tombola") || strings.Contains(logs, "globexwhisper") || strings.Contains(logs, "4111 11") {
		t.Error("what was said is in the log")
	}
}

// nowhere checks that no row of any table has these words.
func (x *textsRig) nowhere(dsn string, words ...string) {
	x.t.Helper()
	s, err := store.Open(store.Config{DSN: dsn})
	if err != nil {
		x.t.Fatal(err)
	}
	defer s.Close()
	column := func(sql string) (out []string) {
		x.t.Helper()
		rows, err := s.Query(x.t.Context(), sql)
		if err != nil {
			x.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			out = append(out, fmt.Sprint(rows.Values()[0]))
		}
		if err := rows.Err(); err != nil {
			x.t.Fatal(err)
		}
		return out
	}
	within(x.t, "three jobs are there", func() bool { return column("SELECT count() FROM jobs")[0] == "3" })
	tables := column("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
	if len(tables) < 4 {
		x.t.Errorf("tables %v", tables)
	}
	found := func(table, word string) string {
		return column("SELECT count() FROM " + table + " WHERE position(toString(tuple(*)), '" + word + "') > 0")[0]
	}
	if n := found("texts", "zanzibar"); n != "1" {
		x.t.Errorf("the check itself finds %s rows, where one is", n)
	}
	for _, table := range tables {
		for _, word := range append(words, "zanzibar") {
			if n := found(table, word); n != "0" && !(table == "texts" && word == "zanzibar") {
				x.t.Errorf("%s has %q in %s rows", table, word, n)
			}
		}
	}
}

// forget deletes one job's text as its tenant, and then all as administrator.
func (x *textsRig) forget(job string) {
	t := x.t
	t.Helper()
	for _, c := range []struct {
		path, key string
		status    int
		left      int
	}{
		{"?job=" + job, "key-g", 200, 2}, // of its own, where there is none
		{"", "root", 400, 2},             // whose?
		{"?job=a%20b", "key-a", 400, 2},
		{"", "", 401, 2},
		{"?job=" + job, "key-a", 200, 1},
		{"?tenant=acme", "root", 200, 0},
	} {
		status, body, _ := x.ask("DELETE", "/admin/v1/texts"+c.path, c.key, "")
		if status == 202 { // ClickHouse is slow today
			status = 200
		}
		if status != c.status {
			t.Errorf("DELETE %s as %q: %d %s", c.path, c.key, status, body)
		}
		within(t, fmt.Sprintf("%d texts are left after %+v", c.left, c), func() bool { return len(x.texts("/admin/v1/texts", "key-a")) == c.left })
	}
}
