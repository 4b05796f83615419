package history

import "slices"

// Happened tells how often something happened that shows that faults had an effect. What can be asked for:
//
//	faults      faults that had an effect
//	reconnects  sessions of the callers' process beyond its first
//	resends     attempts beyond the first of their call
//	replays     calls that were answered from a server's memory
//	failures    calls that did not end ok, but for misuse
//
// Any other name is that of a kind of fault, such as "kill": how often those had an effect.
func (h *History) Happened(what string) int {
	n := 0
	switch what {
	case "faults":
		for _, f := range h.Faults {
			n += min(1, f.Bites)
		}
	case "reconnects":
		var seen []string
		for _, s := range h.Sessions {
			if slices.Contains(seen, s.Process) {
				n++
			} else {
				seen = append(seen, s.Process)
			}
		}
	case "resends":
		for i := range h.Calls {
			n += max(0, h.Calls[i].Attempts-1)
		}
	case "replays":
		for i := range h.Calls {
			if h.Calls[i].Replayed {
				n++
			}
		}
	case "failures":
		for i := range h.Calls {
			if c := &h.Calls[i]; c.Outcome != OK && c.Kind != Misuse {
				n++
			}
		}
	default:
		for _, f := range h.Faults {
			if f.Name == what {
				n += f.Bites
			}
		}
	}
	return n
}
