package router

import "slices"

// filter excludes candidates, in the order of Reason (I5). What needs no look
// at the job or the load was excluded when the table was compiled.
type filter struct {
	// reasons that the filter gives, for the documentation.
	reasons []Reason
	// applies reports whether there is anything to test, and prepares what
	// candidates share.
	applies func(s *scratch) bool
	// test is the reason to exclude candidate i, Eligible for none.
	test func(s *scratch, i int32) Reason
	// sweep does the work of test for all candidates; nil: filter does it.
	sweep func(s *scratch)
	// soft filters exclude only while someone remains (I6).
	soft bool
}

// filters are applied in this order.
var filters = [...]filter{
	accessFilter,
	labelFilter,
	abilityFilter,
	priceFilter,
	barredFilter,
	misfitFilter,
	placementFilter,
	scheduleFilter,
	closedFilter,
	loadFilter,
	ejectedFilter,
	triedFilter,
	preferredFilter,
}

func (s *scratch) filter() {
	for i := range filters {
		f := &filters[i]
		if len(s.eligible) == 0 {
			return
		}
		if !f.applies(s) || f.soft && !s.someRemain(f) {
			continue
		}
		if f.sweep != nil {
			f.sweep(s)
			continue
		}
		kept, test, eligible := 0, f.test, s.eligible
		for _, c := range eligible {
			r := test(s, c)
			if r != Eligible {
				s.verdicts[c].Excluded = r
				continue
			}
			eligible[kept] = c
			kept++
		}
		s.eligible = eligible[:kept]
	}
}

func (s *scratch) someRemain(f *filter) bool {
	for _, c := range s.eligible {
		if f.test(s, c) == Eligible {
			return true
		}
	}
	return false
}

// accessFilter holds pools to the tenants and tiers they are for.
var accessFilter = filter{
	reasons: []Reason{WrongTenant, WrongTier},
	applies: func(s *scratch) bool { return s.route.traits.restricted },
	test: func(s *scratch, i int32) Reason {
		a := &s.route.traits.access[s.route.compiled[i].access]
		if len(a.tenants) > 0 && !slices.Contains(a.tenants, s.in.Meta.Tenant) {
			return WrongTenant
		}
		if len(a.tiers) > 0 && !slices.Contains(a.tiers, s.in.Tier) {
			return WrongTier
		}
		return Eligible
	},
}

// labelFilter holds candidates to the labels that rules require of them.
var labelFilter = filter{
	reasons: []Reason{WrongLabels},
	applies: func(s *scratch) bool {
		if len(s.in.Require) == 0 {
			return false
		}
		s.labels = matchLabels(s.labels[:0], s.route.traits.labels, s.in.Require)
		return true
	},
	test: func(s *scratch, i int32) Reason {
		if !s.labels[s.route.compiled[i].labels] {
			return WrongLabels
		}
		return Eligible
	},
}

// preferredFilter leaves out what lacks a preferred label.
var preferredFilter = filter{
	reasons: []Reason{NotPreferred},
	soft:    true,
	applies: func(s *scratch) bool {
		if len(s.in.Prefer) == 0 {
			return false
		}
		s.preferred = matchLabels(s.preferred[:0], s.route.traits.labels, s.in.Prefer)
		return true
	},
	test: func(s *scratch, i int32) Reason {
		if !s.preferred[s.route.compiled[i].labels] {
			return NotPreferred
		}
		return Eligible
	},
}

func matchLabels(out []bool, sets []map[string]string, want []Label) []bool {
	for _, set := range sets {
		out = append(out, hasLabels(set, want))
	}
	return out
}

// abilityFilter holds candidates to what the request needs of the model.
var abilityFilter = filter{
	reasons: []Reason{NoEndpoint, NoCapability, TooLong},
	applies: func(s *scratch) bool {
		tr := &s.route.traits
		return tr.bounded || endpointBit(s.in.Meta.Endpoint)&^tr.endpoints != 0 || s.needs()&^tr.capabilities != 0
	},
	test: func(s *scratch, i int32) Reason {
		c := &s.route.compiled[i]
		switch {
		case endpointBit(s.in.Meta.Endpoint)&^c.endpoints != 0:
			return NoEndpoint
		case s.needs()&^c.capabilities != 0:
			return NoCapability
		case c.context > 0 && s.job.input+s.job.maxOutput > c.context:
			return TooLong
		}
		return Eligible
	},
}

func (s *scratch) needs() Capability {
	if s.in.Meta.Stream {
		return s.in.Needs | Streaming
	}
	return s.in.Needs
}

// scheduleFilter holds candidates to their hours.
var scheduleFilter = filter{
	reasons: []Reason{OffSchedule},
	applies: func(s *scratch) bool {
		if !s.route.traits.scheduled {
			return false
		}
		s.minutes = s.minutes[:0]
		list := s.route.traits.schedules
		for i := range list {
			switch {
			case list[i].windows == nil:
				s.minutes = append(s.minutes, 0)
			case i > 0 && list[i].location == list[i-1].location:
				s.minutes = append(s.minutes, s.minutes[i-1])
			default:
				s.minutes = append(s.minutes, minuteOfWeek(s.in.Now, list[i].location))
			}
		}
		return true
	},
	test: func(s *scratch, i int32) Reason {
		place := s.route.compiled[i].schedule
		if !s.route.traits.schedules[place].active(s.minutes[place]) {
			return OffSchedule
		}
		return Eligible
	},
}
