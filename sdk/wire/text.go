package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Text is what was said in an attempt, as it goes from the worker to the table
// texts where its tenant keeps it: already redacted and cut. Where Forget is
// set it is the order to delete what there is of the tenant, or of one job.
type Text struct {
	Tenant  string `json:"t"`
	Job     string `json:"j,omitempty"` // empty: with Forget, all of the tenant's
	Attempt int    `json:"n,omitempty"` // from 1
	Forget  bool   `json:"f,omitempty"`

	Expires int64    `json:"x,omitempty"` // Unix seconds: until when it is kept
	Route   string   `json:"r,omitempty"`
	Pool    string   `json:"p,omitempty"`
	Model   string   `json:"m,omitempty"` // the upstream model
	Status  Status   `json:"s,omitempty"` // of the attempt
	Prompt  string   `json:"q,omitempty"`
	Answer  string   `json:"a,omitempty"` // empty: none came
	Bytes   [2]int64 `json:"b"`           // of prompt and answer, before they were redacted and cut
	// Redacted counts what was left out, by kind.
	Redacted map[string]uint32 `json:"c,omitempty"`
}

// TextBacklog is the default bound, in bytes, of texts that are on their way to
// ClickHouse. What comes when there are so many is dropped.
const TextBacklog = 256 << 20

// MaxText is the most bytes of a prompt, or of an answer, in a text: however
// they are escaped, a message has room for both.
const MaxText = 512 << 10

// EncodeText is a text as a message's body.
func EncodeText(t *Text) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(t)
	return b.Bytes(), err
}

// DecodeText reads what EncodeText made. An error never quotes the body.
func DecodeText(body []byte) (*Text, error) {
	t := &Text{}
	if json.Unmarshal(body, t) != nil {
		return nil, fmt.Errorf("a text of %d bytes is no JSON of one", len(body))
	}
	if !ValidName(t.Tenant) || t.Job != "" && !ValidName(t.Job) || !t.Forget && (t.Job == "" || t.Attempt < 1) {
		return nil, fmt.Errorf("a text of %d bytes names no attempt", len(body))
	}
	return t, nil
}

// ID is the text's own, for the stream's filter of repeated publishes.
func (t *Text) ID() string { return fmt.Sprintf("%s.%s.%d", t.Tenant, t.Job, t.Attempt) }

// ExpiresAt is Expires as a time.
func (t *Text) ExpiresAt() time.Time { return time.Unix(t.Expires, 0).UTC() }
