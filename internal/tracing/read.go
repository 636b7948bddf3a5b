package tracing

import (
	"fmt"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Seen is a span as a collector gets it.
type Seen struct {
	Name       string
	Job        string // that it is of; empty: of none
	Start, End time.Time
}

// ReadSpans gives the spans of what was exported (OTLP as protobuf, without
// compression).
func ReadSpans(body []byte) (list []Seen, err error) {
	var data tracepb.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		return nil, fmt.Errorf("spans cannot be read: %w", err)
	}
	for _, r := range data.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				seen := Seen{Name: s.GetName(), Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano()))}
				for _, a := range s.GetAttributes() {
					if a.GetKey() == string(keyJob) {
						seen.Job = a.GetValue().GetStringValue()
					}
				}
				list = append(list, seen)
			}
		}
	}
	return list, nil
}
