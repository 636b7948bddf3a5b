package openapi

import (
	"encoding/json"
	"strings"
	"testing"
)

const text = `{"components":{"schemas":{
	"Pet":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"age":{"type":"integer"},
		"kind":{"enum":["cat","dog"]},"owner":{"anyOf":[{"$ref":"#/components/schemas/Person"},{"type":"null"}]},"toys":{"type":"array","items":{"type":"string"}}}},
	"Person":{"allOf":[{"type":"object","required":["id"]},{"properties":{"id":{"type":["string","null"]}}}]}}}}`

func TestFaults(t *testing.T) {
	d := new(Document)
	if err := json.Unmarshal([]byte(text), d); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		`{"name":"a","age":2,"kind":"cat","owner":null,"toys":["x"],"more":1}`: "",
		`{"name":"a","owner":{"id":null}}`:                                     "",
		`{}`:                                                                   "Pet.name is missing",
		`{"name":1}`:                                                           "Pet.name is float64, want string",
		`{"name":"a","age":1.5}`:                                               "Pet.age is float64, want integer",
		`{"name":"a","kind":"cow"}`:                                            "Pet.kind is cow, want one of [cat dog]",
		`{"name":"a","owner":{}}`:                                              "Pet.owner.id is missing",
		`{"name":"a","toys":[true]}`:                                           "Pet.toys[0] is bool, want string",
		`[]`:                                                                   "Pet is []interface {}, want object",
		`{`:                                                                    "Pet: unexpected end of JSON input",
	} {
		if got := strings.Join(d.Faults("Pet", []byte(value)), "; "); got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
	if got := d.Faults("Cow", []byte(`{}`)); len(got) != 1 {
		t.Errorf("a schema that is not there: %q", got)
	}
	if _, err := Load("nothing.json"); err == nil {
		t.Error("a file that is not there is read")
	}
}
