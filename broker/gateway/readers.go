package gateway

import "sync"

// readers counts who waits for the same job in this process, so that one who
// goes does not take the others' job with him. Only jobs with a chosen ID can
// have several.
type readers struct {
	mu sync.Mutex
	of map[string]int // by tenant and job
}

func (r *readers) join(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[key]++
}

// part counts one out and returns how many are left.
func (r *readers) part(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.of[key] - 1
	if n > 0 {
		r.of[key] = n
	} else {
		delete(r.of, key)
	}
	return n
}
