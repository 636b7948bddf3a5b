package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/sdk/wire"
)

// benchmark sends one request after the other on each of many connections.
func benchmark(b *testing.B, play script, body, end string) {
	f := newBroker(b, b.TempDir(), play).newFront()
	f.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := f.Client().Post(f.URL+"/v1/chat/completions", "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			data, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || !strings.HasSuffix(string(data), end) {
				b.Errorf("%s (%v)", data, err)
				return
			}
		}
	})
}

// BenchmarkChat is a whole answer: what the scripted broker costs is in it.
func BenchmarkChat(b *testing.B) {
	benchmark(b, answer(completion("hello")), chatBody, completion("hello"))
}

// BenchmarkStream is an answer of 24 chunks.
func BenchmarkStream(b *testing.B) {
	chunks := []string{opening}
	for range 20 {
		chunks = append(chunks, delta("word"))
	}
	chunks = append(chunks, closing, counted, doneSSE)
	benchmark(b, func(b *broker, job wire.Job) {
		b.claim(job, 1)
		b.chunks(job, 1, 0, true, chunks...)
		b.succeed(job, 1, completion("x"))
	}, streamBody, sse(doneSSE))
}
