package wire

import "time"

// Placement says where a job of class batch may run. It counts for no other
// class.
type Placement string

// The placements. Without one a job is Realtime.
const (
	Realtime   Placement = "realtime" // a call of its own
	AtProvider Placement = "provider" // only by a provider's own batch API
	Auto       Placement = "auto"     // where it is cheaper, and Realtime when the deadline nears
)

// How long before its deadline a job with Placement Auto leaves the providers'
// batch APIs: a quarter of its time, but at least EscalateLeast, in which the
// provider lets go of it and it can run elsewhere. It goes there only if it can
// stay for BundleLeast.
const (
	EscalateLeast = 15 * time.Minute
	BundleLeast   = 10 * time.Minute
)

// Forever is a time that no clock reaches, in Unix nanoseconds.
const Forever = int64(1<<63 - 1)

// Placed is where the job may run.
func (m *Meta) Placed() Placement {
	if m.Class != Batch || m.Placement == "" {
		return Realtime
	}
	return m.Placement
}

// BundledUntil is until when the job may be at a provider's batch API, in Unix
// nanoseconds; 0: never.
func (m *Meta) BundledUntil() int64 {
	switch m.Placed() {
	case AtProvider:
		if m.Deadline == 0 {
			return Forever
		}
		return m.Deadline
	case Auto:
		if m.Deadline == 0 {
			return Forever
		}
		return m.Deadline - max((m.Deadline-m.SubmittedAt)/4, int64(EscalateLeast))
	}
	return 0
}

// Bundles reports whether the job may go to a provider's batch API now.
func (m *Meta) Bundles(now int64) bool {
	until := m.BundledUntil()
	if m.Placed() == Auto && until != Forever {
		until -= int64(BundleLeast)
	}
	return now < until && !m.Stream
}
