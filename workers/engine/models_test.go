package engine

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// trip answers requests from a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answerWith(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

// TestModels: all pages of a provider's list, asked for with the pool's key and
// the API's version; a failure says what happened, without the key.
func TestModels(t *testing.T) {
	asked := 0
	e, err := New(Config{Pool: "p", Adapter: "anthropic", APIKey: "top-secret", BaseURL: "https://example.test/v1", Transport: trip(func(r *http.Request) (*http.Response, error) {
		if asked++; r.Method != "GET" || r.URL.Path != "/v1/models" || r.Header.Get("X-Api-Key") != "top-secret" || r.Header.Get("Anthropic-Version") == "" || r.Header.Get("Idempotency-Key") != "" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		if r.URL.Query().Get("after_id") == "" {
			return answerWith(200, `{"data":[{"id":"z"},{"id":"b"}],"has_more":true,"last_id":"b"}`)
		}
		return answerWith(200, `{"data":[{"id":"a"},{"id":"b"}],"has_more":false,"last_id":"b"}`)
	})})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Models(t.Context()); err != nil || !slices.Equal(got, []string{"a", "b", "z"}) || asked != 2 {
		t.Errorf("%q, %v, %d requests", got, err, asked)
	}
	for want, answer := range map[string]trip{
		"answers 401":       func(*http.Request) (*http.Response, error) { return answerWith(401, "top-secret") },
		"cannot be reached": func(*http.Request) (*http.Response, error) { return nil, errors.New("dial top-secret") },
		"no list":           func(*http.Request) (*http.Response, error) { return answerWith(200, "<html>top-secret") },
		"more than": func(*http.Request) (*http.Response, error) {
			return answerWith(200, strings.Repeat(" ", catalogBytes+1))
		},
	} {
		e, err := New(Config{Pool: "p", Adapter: "openai", APIKey: "top-secret", Transport: answer})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Models(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "top-secret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	e, err = New(Config{Pool: "p", Adapter: "bedrock", BaseURL: "https://example.test", Transport: trip(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Models(t.Context()); err == nil || !strings.Contains(err.Error(), "name them") {
		t.Errorf("%v", err)
	}
}
