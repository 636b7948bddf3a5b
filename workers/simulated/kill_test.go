package simulated

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childVar makes the test binary a provider that answers calls until it is
// killed.
const childVar = "SIMULATED_TEST_BOOKS"

// TestI2SurvivesKill runs a provider in a process of its own, kills it at
// several moments, and looks for every call whose answer came out.
func TestI2SurvivesKill(t *testing.T) {
	if path := os.Getenv(childVar); path != "" {
		answerForever(t, path)
		return
	}
	for round := range 5 {
		path := filepath.Join(t.TempDir(), "books")
		cmd := exec.Command(os.Args[0], "-test.run", "^TestI2SurvivesKill$", "-test.v=false")
		cmd.Env = append(os.Environ(), childVar+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(50+70*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		answered := map[string]bool{}
		for s := bufio.NewScanner(out); s.Scan(); {
			if key, ok := strings.CutPrefix(s.Text(), "answered "); ok && strings.HasSuffix(key, ".") {
				answered[strings.TrimSuffix(key, ".")] = true
			}
		}
		kill.Stop()
		if err := cmd.Wait(); err == nil {
			t.Fatal("the provider ended by itself")
		}
		compareAnswered(t, path, answered)
	}
}

func compareAnswered(t *testing.T, path string, answered map[string]bool) {
	t.Helper()
	if len(answered) == 0 {
		return // killed before its first answer
	}
	lines, torn, err := ReadBooks(path)
	if err != nil || torn > 1 {
		t.Fatalf("%d torn lines, %v", torn, err)
	}
	booked := map[string]int{}
	for _, l := range lines {
		booked[l.Key]++
	}
	for key := range answered {
		if booked[key] != 1 {
			t.Errorf("the call %s was answered and booked %d times", key, booked[key])
		}
	}
	if len(lines) > len(answered)+1 {
		t.Errorf("%d lines for %d answers of one client", len(lines), len(answered))
	}
}

// answerForever makes one call after another and says so once each is answered.
func answerForever(t *testing.T, path string) {
	books, err := OpenBooks(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Books: books})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000_000 {
		key := fmt.Sprint("call-", i)
		if status, _, err := ask(t, p, "/chat/completions", key, ping+`,"stream":true}`); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		fmt.Printf("answered %s.\n", key)
	}
}

// TestServeHTTP: whole, streamed, refused and dropped over a real socket.
func TestServeHTTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    Config
		fields string
		status int
		broken bool
		end    string
	}{
		{"whole", Config{}, "}", 200, false, "}}}"},
		{"streamed", Config{}, `,"stream":true}`, 200, false, "data: [DONE]\n\n"},
		{"refused", Config{ErrorShare: 1, Faults: []Fault{ServerError}}, "}", 500, false, "}}"},
		{"dropped", Config{ErrorShare: 1, Faults: []Fault{Drop}}, "}", 200, true, ""},
		{"dropped stream", Config{ErrorShare: 1, Faults: []Fault{Drop}}, `,"stream":true}`, 200, true, ""},
	} {
		p, lines := provider(t, c.cfg)
		srv := httptest.NewServer(p)
		req := request(t.Context(), "/chat/completions", "k", ping+c.fields)
		req.URL.Host = strings.TrimPrefix(srv.URL, "http://")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // read, or broken
		srv.Close()
		if resp.StatusCode != c.status || (err != nil) != c.broken || !strings.HasSuffix(string(body), c.end) {
			t.Errorf("%s: %d, %v, %q", c.name, resp.StatusCode, err, body)
		}
		if len(lines()) != 1 || p.Stats().Running != 0 {
			t.Errorf("%s: %+v, %+v", c.name, lines(), p.Stats())
		}
	}
}

// TestClientGone: a client that goes away in the middle is booked as cut.
func TestClientGone(t *testing.T) {
	p, lines := provider(t, Config{TokensPerSecond: 200, Fill: true})
	srv := httptest.NewServer(p)
	defer srv.Close()
	req := request(t.Context(), "/chat/completions", "k", ping+`,"max_tokens":5000,"stream":true}`)
	req.URL.Host = strings.TrimPrefix(srv.URL, "http://")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // the client goes
	for range 1000 {
		if len(lines()) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // a real socket: there is no signal for its closing
	}
	got := lines()
	if len(got) != 1 || got[0].Outcome != "cut" || got[0].Output == 0 || got[0].Output >= 5000 {
		t.Errorf("%+v", got)
	}
}
