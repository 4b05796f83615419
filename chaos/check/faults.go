package check

import "github.com/rabbitrpc/rabbitrpc/chaos/history"

// checkSecrets is I18. It does not repeat the secret.
func checkSecrets(x *index, r *ruling) {
	for _, f := range x.Findings {
		if f.Kind == secret {
			r.breaks("a secret in %s", short(f.Where))
		}
	}
	x.searched(r)
}

// searched says what was looked at for findings. It is nothing where the run did not come so far.
func (x *index) searched(r *ruling) {
	if x.inventory(history.InLogs) == nil {
		r.note("no log was searched")
	} else {
		r.saw(len(x.Calls), "call")
	}
	r.note("%s of any kind", count(len(x.Findings), "finding"))
}

const secret = "secret"

// checkFindings is I19, and for whatever else must not be found.
func checkFindings(x *index, r *ruling) {
	for _, f := range x.Findings {
		if f.Kind != secret {
			r.breaks("%s in %s: %s", f.Kind, short(f.Where), short(f.Text))
		}
	}
	x.searched(r)
}

// checkBites is I20: a run whose faults had no effect has shown nothing, and neither has one without calls. Of those that chance
// has picked, which may have picked somebody who was down, half must have had one.
func checkBites(x *index, r *ruling) {
	bites, chance, idle := 0, 0, 0
	for i := range x.Faults {
		f := &x.Faults[i]
		bites += f.Bites
		if f.Chance {
			chance++
		}
		switch {
		case f.Chance && (f.Error != "" || f.Bites < 1):
			idle++
		case f.Error != "":
			r.doubts("%s of %s at %s went wrong itself: %s", f.Name, f.Target, at(f.From), short(f.Error))
		case f.Bites < 1:
			r.doubts("%s of %s from %s to %s had no effect: %s", f.Name, f.Target, at(f.From), at(f.To), short(f.Text))
		}
	}
	if idle > 0 {
		r.note("%s that chance has picked had no effect", count(idle, "fault"))
	}
	if 2*idle > chance {
		r.doubts("%d of the %d faults that chance has picked had no effect", idle, chance)
	}
	for _, what := range x.Run.MustBite {
		n := x.Happened(what)
		r.note("%s: %s", what, digits(n))
		if n < 1 {
			r.doubts("no %s, which the run is about", what)
		}
	}
	if len(x.Calls) == 0 {
		r.doubts("no call was made")
	}
	if len(x.Faults)+len(x.Run.MustBite) == 0 {
		r.doubts("nothing was broken")
	}
	r.saw(len(x.Faults), "fault")
	r.seen += len(x.Run.MustBite)
	r.note("%s", count(bites, "effect"))
}

// checkFailures is I21, for runs that say so: rolling restarts, drains, and what else no caller may notice.
func checkFailures(x *index, r *ruling) {
	if !x.Run.MustBeOK {
		r.note("some may")
		return
	}
	for i := range x.Calls {
		if c := &x.Calls[i]; c.Failure() {
			r.breaks("%s", ending(c))
		}
	}
	r.saw(len(x.Calls), "call")
}
