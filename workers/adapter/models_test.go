package adapter

import (
	"slices"
	"testing"
)

func TestCatalog(t *testing.T) {
	for _, c := range []struct {
		adapter, body string
		names         []string
		next, path    string // of the next page
	}{
		{adapter: "openai", body: `{"object":"list","data":[{"id":"a","object":"model"},{"id":"org/b"},{"id":""}],"has_more":true,"last_id":"b"}`, names: []string{"a", "org/b"}},
		{adapter: "openai", body: `{"data":[]}`},
		{adapter: "anthropic", body: `{"data":[{"id":"claude","type":"model"}],"has_more":true,"first_id":"claude","last_id":"cla ude"}`,
			names: []string{"claude"}, next: "cla ude", path: "/models?limit=1000&after_id=cla+ude"},
		{adapter: "anthropic", body: `{"data":[{"id":"claude"}],"has_more":false,"last_id":"claude"}`, names: []string{"claude"}},
		{adapter: "gemini", body: `{"models":[{"name":"models/g-1","supportedGenerationMethods":["generateContent","countTokens"]},{"name":"models/embed","supportedGenerationMethods":["embedContent"]}],"nextPageToken":"x&y"}`,
			names: []string{"g-1"}, next: "x&y", path: "/models?pageSize=1000&pageToken=x%26y"},
	} {
		cat, ok := CatalogOf(c.adapter)
		if !ok {
			t.Fatal(c.adapter)
		}
		names, next, err := cat.Decode([]byte(c.body))
		if err != nil || !slices.Equal(names, c.names) || next != c.next {
			t.Errorf("%s: %q, %q, %v", c.body, names, next, err)
		}
		if e := cat.Encode(next); next != "" && e.Path != c.path || e.Method != "GET" {
			t.Errorf("%s %s, want %s", e.Method, e.Path, c.path)
		}
	}
	for _, name := range []string{"openai", "anthropic", "gemini", "simulated"} {
		cat, _ := CatalogOf(name)
		for _, body := range []string{"", "{}", "[]", "<html>", `{"data":{}}`, `{"models":3}`} {
			if names, _, err := cat.Decode([]byte(body)); err == nil {
				t.Errorf("%s takes %s for a list of models: %q", name, body, names)
			}
		}
	}
	if _, ok := CatalogOf("bedrock"); ok {
		t.Error("bedrock has a catalog at another address")
	}
}
