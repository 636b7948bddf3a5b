package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestDebug(t *testing.T) {
	s, err := Start(t.Context(), fmt.Sprintf(fastPools, 512), false)
	if err != nil {
		t.Fatal(err)
	}
	nc, _ := s.App.Connect("dbg")
	js, _ := jetstream.New(nc)
	ctx, cancel := context.WithCancel(t.Context())
	begin := time.Now()
	go func() {
		for ctx.Err() == nil {
			line := fmt.Sprintf("%6.2f ", time.Since(begin).Seconds())
			for _, n := range []string{"SLUICE_JOBS", "SLUICE_SCHED", "SLUICE_WORK", "SLUICE_LEDGER"} {
				st, err := js.Stream(ctx, n)
				if err != nil {
					return
				}
				line += fmt.Sprintf("%s %d ", n, st.CachedInfo().State.Msgs)
				cl := st.ListConsumers(ctx)
				for c := range cl.Info() {
					if c.NumPending+uint64(c.NumAckPending) > 0 || n == "SLUICE_WORK" {
						line += fmt.Sprintf("[%s pend %d ack %d redel %d wait %d] ", c.Name, c.NumPending, c.NumAckPending, c.NumRedelivered, c.NumWaiting)
					}
				}
			}
			fmt.Println(line)
			time.Sleep(250 * time.Millisecond)
		}
	}()
	body := Prompt(1024)
	n := 0
	for _, err := range s.Client.SubmitMany(ctx, jobsOf(body, 60000)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	fmt.Println("submitted", n, time.Since(begin))
	for time.Since(begin) < 50*time.Second {
		st, err := js.Stream(ctx, "SLUICE_LEDGER")
		if err == nil && st.CachedInfo().State.Msgs >= 120000 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("done", time.Since(begin))
	cancel()
	nc.Close()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
}
