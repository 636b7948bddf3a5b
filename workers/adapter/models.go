package adapter

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Catalog asks a provider which models it offers, a page at a time. It is a
// pure codec like Codec.
type Catalog struct {
	path   string            // of the first page
	after  string            // the parameter that names what the page begins behind
	header []Field           // beside the key
	decode func([]byte) page // of one page
}

// page is a part of the list of models.
type page struct {
	names []string
	next  string // where the next one begins; empty: there is none
	bad   bool
}

// CatalogOf is the catalog of an adapter's providers; false if they have none
// at their base URL.
func CatalogOf(name string) (Catalog, bool) {
	c, ok := map[string]Catalog{
		"openai":    {path: "/models", decode: openAIModels},
		"simulated": {path: "/models", decode: openAIModels},
		"anthropic": {path: "/models?limit=1000", after: "after_id", header: anthropicHeader[:1], decode: anthropicModels},
		"gemini":    {path: "/models?pageSize=1000", after: "pageToken", decode: geminiModels},
	}[name]
	return c, ok
}

// Encode is the request for the page that begins at next; empty: the first.
func (c Catalog) Encode(next string) Encoded {
	e := Encoded{Method: "GET", Path: c.path, Header: c.header}
	if next != "" {
		e.Path += "&" + c.after + "=" + url.QueryEscape(next)
	}
	return e
}

// Decode reads a page: the models' upstream names, and where the next begins.
func (c Catalog) Decode(body []byte) (names []string, next string, err error) {
	p := c.decode(body)
	if p.bad {
		return nil, "", errors.New("the answer is no list of models")
	}
	p.names = slices.DeleteFunc(p.names, func(n string) bool { return n == "" || len(n) > maxModelName })
	if c.after == "" {
		p.next = ""
	}
	return p.names, p.next, nil
}

// maxModelName is the most bytes of a model's name.
const maxModelName = 256

func openAIModels(body []byte) (p page) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
		More bool   `json:"has_more"`
		Last string `json:"last_id"`
	}
	p.bad = json.Unmarshal(body, &list) != nil || list.Data == nil
	for _, m := range list.Data {
		p.names = append(p.names, m.ID)
	}
	if list.More {
		p.next = list.Last
	}
	return p
}

// anthropicModels have the same shape.
func anthropicModels(body []byte) page { return openAIModels(body) }

// geminiModels are those that write text.
func geminiModels(body []byte) (p page) {
	var list struct {
		Models []struct {
			Name    string   `json:"name"`
			Methods []string `json:"supportedGenerationMethods"`
		} `json:"models"`
		Next string `json:"nextPageToken"`
	}
	p.bad = json.Unmarshal(body, &list) != nil || list.Models == nil
	for _, m := range list.Models {
		if slices.Contains(m.Methods, "generateContent") {
			p.names = append(p.names, strings.TrimPrefix(m.Name, "models/"))
		}
	}
	p.next = list.Next
	return p
}
