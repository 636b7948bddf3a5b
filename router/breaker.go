package router

// Circuit is the state of a circuit breaker.
type Circuit uint8

// The states: jobs pass, none pass, a few pass as probes.
const (
	Closed Circuit = iota
	Open
	HalfOpen
)

// String is the state's name.
func (c Circuit) String() string {
	switch c {
	case Open:
		return "open"
	case HalfOpen:
		return "half_open"
	}
	return "closed"
}
