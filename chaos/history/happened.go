package history

import "slices"

// Happened tells how often something happened that shows that faults had an effect. What can be asked for:
//
//	faults      faults that had an effect
//	reconnects  sessions of the callers' process beyond its first
//	resends     attempts beyond the first of their call
//	replays     calls that were answered from a server's memory
//	lost calls  calls whose caller was killed
//	failures    see [Call.Failure]
//
// Any other name is that of a kind of fault, such as "kill": how often those had an effect; or a text that was looked for
// in the logs of the broker and the servers: how often it was there.
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
	case "lost calls":
		for i := range h.Calls {
			if h.Calls[i].Outcome == Lost {
				n++
			}
		}
	case "failures":
		for i := range h.Calls {
			if h.Calls[i].Failure() {
				n++
			}
		}
	default:
		for _, i := range h.Inventories {
			if i.When == InLogs {
				n += i.Count[what]
			}
		}
		for _, f := range h.Faults {
			if f.Name == what {
				n += f.Bites
			}
		}
	}
	return n
}

// Failure reports whether a call has failed its caller: it did not end ok, and that was neither the answer of the handler nor
// what a misused ID deserves.
func (c *Call) Failure() bool {
	refused := c.Outcome == Failed && c.Code == "failed_precondition"
	return c.Outcome != OK && !refused && c.Kind != Misuse
}
