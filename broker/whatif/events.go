package whatif

import "container/heap"

// kind says what happens.
type kind uint8

const (
	evHere    kind = iota // the router has a job
	evEnd                 // an attempt ends
	evGivesUp             // a job is not waited for any longer
	evLook                // the router looks at the depths
	evTick                // pools are compared
)

// event happens at a time; of those at the same time the first that was pushed
// comes first.
type event struct {
	at     int64
	order  uint64
	kind   kind
	flight *flight
}

// events are what will happen.
type events struct {
	queue  eventQueue
	pushed uint64
}

func (e *events) push(ev event) {
	e.pushed++
	ev.order = e.pushed
	heap.Push(&e.queue, ev)
}

func (e *events) pop() event { return heap.Pop(&e.queue).(event) }

// eventQueue is the heap; see container/heap.
type eventQueue []event

func (q eventQueue) Len() int      { return len(q) }
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q *eventQueue) Push(x any) { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	n := len(*q) - 1
	last := (*q)[n]
	(*q)[n] = event{}
	*q = (*q)[:n]
	return last
}
