package wire

import (
	"testing"
	"time"
)

func TestNeeds(t *testing.T) {
	for body, want := range map[string]Needs{
		`{"model":"m","messages":[{"role":"user","content":"hi"}]}`:                                                              0,
		`{"model":"m","messages":[{"role":"user","content":"say \"image_url\" and \"input_audio\""}]}`:                           0,
		`{"model":"m","messages":[1],"tools":[]}`:                                                                                0,
		`{"model":"m","messages":[1],"tools":[{"type":"function"}]}`:                                                             NeedTools,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`:                    NeedVision,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}],"response_format":{"type":"json_schema"}}`: NeedAudio | NeedJSONSchema,
		`{"model":"m","messages":[1],"response_format":{"type":"json_object"},"reasoning_effort":"high"}`:                        NeedThinking,
		`{"model":"m","messages":[1],"thinking":{"type":"disabled"},"functions":[{}]}`:                                           NeedTools,
	} {
		j, err := ParseJob("acme", Standard, nil, []byte(body), 1, time.Unix(1, 0))
		if err != nil || j.Needs != want {
			t.Errorf("%s: %b, %v; want %b", body, j.Needs, err, want)
		}
	}
}
