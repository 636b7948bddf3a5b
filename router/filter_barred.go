package router

// The caller rules candidates out, each for a reason: it knows of budgets,
// which no table and no load tells of. Reasons that never pass come first (I5).
var (
	barredFilter = filter{
		reasons: []Reason{PriceUnknown, BeyondBudget},
		applies: func(s *scratch) bool { return len(s.in.Barred) > 0 },
		test:    func(s *scratch, i int32) Reason { return s.barred(i, false) },
	}
	closedFilter = filter{
		reasons: []Reason{OverBudget},
		applies: func(s *scratch) bool { return len(s.in.Barred) > 0 },
		test:    func(s *scratch, i int32) Reason { return s.barred(i, true) },
	}
)

// misfitFilter leaves out candidates that refused the request.
var misfitFilter = filter{
	reasons: []Reason{Misfit},
	applies: func(s *scratch) bool { return s.in.Progress != nil && len(s.in.Progress.Misfits) > 0 },
	test: func(s *scratch, i int32) Reason {
		c := &s.route.candidates[i]
		for _, key := range s.in.Progress.Misfits {
			if pool := len(c.PoolName); len(key) == pool+1+len(c.Model) && key[:pool] == c.PoolName && key[pool] == '/' && key[pool+1:] == c.Model {
				return Misfit
			}
		}
		return Eligible
	},
}

// barred is the caller's reason for candidate i, if it is of that kind.
func (s *scratch) barred(i int32, temporary bool) Reason {
	if int(i) >= len(s.in.Barred) || s.in.Barred[i].Temporary() != temporary {
		return Eligible
	}
	return s.in.Barred[i]
}
