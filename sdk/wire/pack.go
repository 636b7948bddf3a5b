package wire

import (
	"strconv"
	"strings"
)

// PackEvents is the body of a chunk message that carries events together, and
// the value of its header Sluice-Sizes. One event is its own body and has no
// such header: sizes is empty.
func PackEvents(events [][]byte) (body []byte, sizes string) {
	if len(events) == 1 {
		return events[0], ""
	}
	n := 0
	list := make([]byte, 0, 4*len(events))
	for _, e := range events {
		n += len(e)
		list = append(strconv.AppendInt(list, int64(len(e)), 10), ' ')
	}
	body = make([]byte, 0, n)
	for _, e := range events {
		body = append(body, e...)
	}
	return body, string(list[:max(len(list)-1, 0)])
}

// UnpackEvents are the events of a chunk message, as parts of body, which they
// share. ok is false if sizes is not how body is divided.
func UnpackEvents(sizes string, body []byte) (events [][]byte, ok bool) {
	if sizes == "" {
		return [][]byte{body}, true
	}
	events = make([][]byte, 0, strings.Count(sizes, " ")+1)
	for size := range strings.SplitSeq(sizes, " ") {
		n, err := strconv.ParseUint(size, 10, 31)
		if err != nil || n > uint64(len(body)) {
			return nil, false
		}
		events, body = append(events, body[:n:n]), body[n:]
	}
	return events, len(body) == 0
}

// PackedEvents is how many events a chunk message with that header carries.
func PackedEvents(sizes string) int { return strings.Count(sizes, " ") + 1 }
