package router

// loadFilter looks at everything that Load says, in one pass and without a
// call for a candidate that nothing is the matter with: its tests are the only
// ones that every decision makes for all.
var loadFilter = filter{
	reasons: []Reason{Draining, Down, Unhealthy, CircuitOpen, RateLimited, Full},
	applies: func(*scratch) bool { return true },
	sweep: func(s *scratch) {
		compiled, load, eligible := s.route.compiled, s.load, s.eligible
		now, tokens, class, kept, ejected := s.in.Now, s.job.input+s.job.output, s.class, 0, false
		for _, i := range eligible {
			c, l := &compiled[i], &s.idle
			if int(c.pool) < len(load) {
				l = &load[c.pool]
			}
			r := c.stopped
			if r == Eligible && (l.Draining || l.Down || l.Unhealthy || l.Circuit != Closed || now < l.LimitedUntil ||
				!l.Requests.admits(1) || !l.Tokens.admits(tokens)) {
				r = l.trouble(now, tokens)
			}
			if r == Eligible && l.Depth >= c.allowance[class] {
				r = Full
			}
			if r != Eligible {
				s.verdicts[i].Excluded = r
				continue
			}
			ejected = ejected || l.Ejected
			eligible[kept] = i
			kept++
		}
		s.eligible, s.ejected = eligible[:kept], ejected
	},
}

// trouble is why the pool takes no job of so many tokens now, beside its
// depth.
func (l *Load) trouble(now, tokens int64) Reason {
	switch {
	case l.Draining:
		return Draining
	case l.Down:
		return Down
	case l.Unhealthy:
		return Unhealthy
	case l.Circuit == Open && now < l.OpenUntil, l.Circuit == HalfOpen && l.Probes <= 0:
		return CircuitOpen
	case now < l.LimitedUntil, !l.Requests.admits(1), !l.Tokens.admits(tokens):
		return RateLimited
	}
	return Eligible
}

// limitedUntil is when a rate limit that holds now ends, 0 if not known.
func (l *Load) limitedUntil(now int64) int64 {
	if now < l.LimitedUntil {
		return l.LimitedUntil
	}
	return max(l.Requests.Reset, l.Tokens.Reset)
}

// ejectedFilter leaves out outliers.
var ejectedFilter = filter{
	reasons: []Reason{Ejected},
	soft:    true,
	applies: func(s *scratch) bool { return s.ejected },
	test: func(s *scratch, i int32) Reason {
		if s.loadOf(i).Ejected {
			return Ejected
		}
		return Eligible
	},
}

// triedFilter sends a retry elsewhere first.
var triedFilter = filter{
	reasons: []Reason{Tried},
	soft:    true,
	applies: func(s *scratch) bool {
		if s.in.Progress == nil {
			return false
		}
		s.tried = s.tried[:0]
		for _, name := range s.in.Progress.Tried {
			if p, ok := s.table.index[name]; ok {
				s.tried = append(s.tried, int32(p))
			}
		}
		return len(s.tried) > 0
	},
	test: func(s *scratch, i int32) Reason {
		pool := s.route.compiled[i].pool
		for _, p := range s.tried {
			if p == pool {
				return Tried
			}
		}
		return Eligible
	},
}
