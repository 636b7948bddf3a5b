package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/sdk/wire"
)

const hook = "https://hooks.example.com/in?token=t0p"

// verify is a receiver's check, from the specification's own words.
func verify(t *testing.T, secret string, c call) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%s.%s", c.head.Get("Webhook-Id"), c.head.Get("Webhook-Timestamp"), c.body)
	if got, want := c.head.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if d := at(t, c.head.Get("Webhook-Timestamp")).Sub(c.at).Abs(); d > time.Second {
		t.Errorf("the timestamp is %s off", d)
	}
}

// The specification's example of a signature.
func TestSignatureOfTheSpecification(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), `{"test": 2432232314}`)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestDelivered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.end("acme", "a", hook, wire.Succeeded, `{"choices":[]}`)
		w.end("globex", "b", hook, wire.Failed, `{"error":{"message":"no"}}`)
		w.end("acme", "silent", "", wire.Succeeded, `{}`)
		time.Sleep(time.Second)
		calls := w.seen()
		if len(calls) != 2 {
			t.Fatalf("%d calls", len(calls))
		}
		s := w.service()
		for _, c := range calls {
			var e Event
			if err := json.Unmarshal([]byte(c.body), &e); err != nil {
				t.Fatal(err)
			}
			verify(t, s.Secret(e.Data.Tenant), c)
			if c.url != hook || c.head.Get("Content-Type") != "application/json" || e.Data.Labels["team"] != "x" || *e.Data.Cost != 7 {
				t.Errorf("%s %v %+v", c.url, c.head, e)
			}
			switch e.Data.Job {
			case "a":
				if e.Type != "job.succeeded" || string(e.Data.Result) != `{"choices":[]}` || e.Data.Error != "" {
					t.Errorf("%s", c.body)
				}
			case "b":
				if e.Type != "job.failed" || e.Data.Error != wire.CodeProviderError || !strings.Contains(string(e.Data.Result), "no") {
					t.Errorf("%s", c.body)
				}
			}
		}
		if s.Secret("acme") == s.Secret("globex") {
			t.Error("tenants can sign for each other")
		}
		if list := w.deliveries("acme", ""); len(list) != 1 || list[0].Outcome != "delivered" || list[0].Status != 204 || list[0].Host != "hooks.example.com" {
			t.Errorf("log %+v", list)
		}
		if list := w.deliveries("", ""); len(list) != 2 {
			t.Errorf("everybody's log %+v", list)
		}
	})
}

// A delivery is tried again at growing intervals, always as the same event,
// and given up after its time, here ten minutes.
func TestRetried(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answer = func(n int, r *http.Request) (int, error) {
			if n%2 == 0 {
				return 0, errors.New("dial tcp: https://hooks.example.com/in?token=t0p refused")
			}
			return 503, nil
		}
		w.end("acme", "a", hook, wire.Succeeded, `{}`)
		time.Sleep(15 * time.Minute)
		calls := w.seen()
		if len(calls) < 6 || len(calls) > 10 {
			t.Fatalf("%d calls in ten minutes", len(calls))
		}
		last := time.Duration(0)
		for i := 1; i < len(calls); i++ {
			d := calls[i].at.Sub(calls[i-1].at)
			if d < 4*time.Second || d > 40*time.Minute || d < last*3/5 {
				t.Errorf("call %d comes %s after %s", i, d, last)
			}
			last = d
			if calls[i].head.Get("Webhook-Id") != calls[0].head.Get("Webhook-Id") || calls[i].body != calls[0].body {
				t.Errorf("call %d is another event", i)
			}
			verify(t, w.service().Secret("acme"), calls[i])
		}
		if total := calls[len(calls)-1].at.Sub(calls[0].at); total < 3*time.Minute || total > 10*time.Minute {
			t.Errorf("tried for %s", total)
		}
		list := w.deliveries("acme", "a")
		if len(list) != len(calls) || list[0].Outcome != "later" || list[0].Next == "" || list[len(list)-1].Outcome != "given_up" {
			t.Errorf("log of %d calls: %+v … %+v", len(list), list[0], list[len(list)-1])
		}
		for _, d := range list {
			if strings.Contains(d.Error, "t0p") {
				t.Errorf("the URL is in the log: %s", d.Error) // I3
			}
		}
		if strings.Contains(w.log.String(), "t0p") {
			t.Error("the URL is in the process's log") // I3
		}
	})
}

func TestGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answer = func(int, *http.Request) (int, error) { return 410, nil }
		w.end("acme", "a", hook, wire.Succeeded, `{}`)
		time.Sleep(5 * time.Minute)
		if n := len(w.seen()); n != 1 {
			t.Errorf("%d calls of an endpoint that is gone", n)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) { // I2
	inWorld(t, func(w *world) {
		w.answer = func(n int, _ *http.Request) (int, error) { return map[bool]int{true: 302, false: 200}[n == 1], nil }
		w.end("acme", "a", hook, wire.Succeeded, `{}`)
		time.Sleep(time.Minute)
		if list := w.deliveries("acme", "a"); len(list) != 2 || list[0].Status != 302 || list[0].Outcome != "later" || list[1].Outcome != "delivered" {
			t.Errorf("log %+v", list)
		}
	})
}

// What ends while no service runs is told when one does; what was under way
// when a process died is told again; a restart of the server changes nothing.
func TestNothingIsLost(t *testing.T) { // I1
	inWorld(t, func(w *world) {
		w.stop()
		w.end("acme", "while-down", hook, wire.Succeeded, `{}`)
		w.answer = func(n int, r *http.Request) (int, error) {
			if n > 1 {
				return 200, nil
			}
			return 500, nil
		}
		w.run()
		time.Sleep(time.Second)
		if n := len(w.seen()); n != 1 {
			t.Fatalf("%d calls after the start", n)
		}
		w.close() // with a delivery that waits, and one that was never collected
		w.open()
		w.end("acme", "later", hook, wire.Succeeded, `{}`)
		time.Sleep(10 * time.Minute)
		told := map[string]bool{}
		for _, d := range w.deliveries("acme", "") {
			told[d.Job] = told[d.Job] || d.Outcome == "delivered"
		}
		if !told["while-down"] || !told["later"] {
			t.Errorf("delivered: %v", told)
		}
	})
}

// An endpoint that hangs takes no more than its share.
func TestSlowHostLeavesRoom(t *testing.T) { // I4
	inWorld(t, func(w *world) {
		w.answer = func(_ int, r *http.Request) (int, error) {
			if r.URL.Host == "slow.example.com" {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			return 200, nil
		}
		for i := range 100 {
			w.end("acme", fmt.Sprintf("slow%d", i), "https://slow.example.com", wire.Succeeded, `{}`)
		}
		w.end("acme", "fast", hook, wire.Succeeded, `{}`)
		time.Sleep(5 * time.Second)
		slow, fast := 0, 0
		for _, c := range w.seen() {
			if strings.Contains(c.url, "slow") {
				slow++
			} else {
				fast++
			}
		}
		if slow != 2 || fast != 1 {
			t.Errorf("%d calls of the slow host at a time, %d of the other", slow, fast)
		}
		if list := w.deliveries("acme", "fast"); len(list) != 1 {
			t.Errorf("log %+v", list)
		}
		time.Sleep(11 * time.Second)
		if list := w.deliveries("acme", "slow0"); len(list) == 0 || list[0].Error != "no answer in time" {
			t.Errorf("log of a slow one: %+v", list)
		}
	})
}

func TestPauses(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{0: firstPause, time.Minute: time.Minute, 10 * time.Hour: longestPause} {
		if low, high := pauseAfter(age, 0), pauseAfter(age, 1); low != want || high <= want || high > want*13/10 {
			t.Errorf("after %s: %s to %s", age, low, high)
		}
	}
	tries, age := 1, time.Duration(0)
	for ; age < 24*time.Hour; tries++ {
		age += pauseAfter(age, 0.5)
	}
	if tries < 25 || tries > 45 {
		t.Errorf("%d tries in a day", tries)
	}
}

// An alert's delivery is signed with the operator's secret, and goes where the
// operator says: a job's goes nowhere private.
func TestOperatorsURLs(t *testing.T) {
	inWorld(t, func(w *world) {
		id := "wh_alert"
		if _, err := w.js.PublishMsg(w.t.Context(), &nats.Msg{Subject: w.sub.Webhook(wire.AlertsTenant, id), Data: []byte(`{"type":"alert.raised"}`),
			Header: nats.Header{wire.HeaderWebhook: {"http://10.0.0.1/in"}, wire.HeaderMsgID: {id}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		calls := w.seen()
		if len(calls) != 1 || calls[0].url != "http://10.0.0.1/in" || calls[0].body != `{"type":"alert.raised"}` || calls[0].head.Get("Webhook-Id") != id {
			t.Fatalf("%+v", calls)
		}
		verify(t, w.service().Secret(wire.AlertsTenant), calls[0])
		if list := w.deliveries(wire.AlertsTenant, ""); len(list) != 1 || list[0].Outcome != "delivered" {
			t.Errorf("log %+v", list)
		}
	})
	s := New(Config{Secret: "master"})
	for name, x := range map[string]struct {
		transport http.RoundTripper
		private   bool
	}{"a job's": {s.cfg.Transport, false}, "the operator's": {s.cfg.Operator, true}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:1/", nil) // nobody listens there
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.transport.RoundTrip(req)
		if refused := errors.Is(err, errPrivate); err == nil || refused == x.private {
			t.Errorf("%s call of a private address: %v", name, err)
		}
		cancel()
	}
}
