package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

const noneAnswers = "none answers"

// listing shows an instance on each line.
func listing(paint painter, found []finding) string {
	rows := [][]string{{"SERVICE", "INSTANCE", "VERSION", "STATE", "UPTIME", "WORKERS", "STORE", "QUEUE", "READY", "CONSUMERS", "METHODS"}}
	for _, f := range found {
		row := []string{f.Service, "", "", noneAnswers, "", "", "", "", count(f.Ready), count(f.Consumers), ""}
		if i := f.Instance; i != nil {
			row[1], row[2], row[3], row[4] = i.Name, i.Version, i.State, uptime(i.Uptime())
			if i.Info != nil {
				row[5], row[6], row[7] = strconv.Itoa(i.Info.Workers), i.Info.Store, i.Info.QueueType
				row[10] = methods(i.Info.Methods, i.Info.MoreMethods, 4)
			}
		}
		rows = append(rows, row)
	}
	return grid(paint, rows)
}

// counters shows what each instance has counted.
func counters(paint painter, found []finding) string {
	rows := [][]string{{
		"SERVICE", "INSTANCE", "STATE", "UPTIME", "RUNNING", "ANSWERED", "REPLAYED", "FAILED", "REJECTED", "EXPIRED", "DROPPED", "PANICS",
		"PARKED", "READY", "CONSUMERS",
	}}
	for _, f := range found {
		row := make([]string, len(rows[0]))
		row[0], row[2], row[13], row[14] = f.Service, noneAnswers, count(f.Ready), count(f.Consumers)
		if i := f.Instance; i != nil {
			row[1], row[2], row[3] = i.Name, i.State, uptime(i.Uptime())
			if s := i.Stats; s != nil {
				row[4] = fmt.Sprintf("%d/%d", s.Running, s.Limit)
				for n, counted := range []uint64{s.Answered, s.Replayed, s.Failed, s.Rejected + s.Refused, s.Expired, s.Dropped, s.Panics, s.Parked} {
					row[5+n] = strconv.FormatUint(counted, 10)
				}
			}
		}
		rows = append(rows, row)
	}
	return grid(paint, rows)
}

// details shows an instance as a paragraph.
func details(paint painter, found []finding) string {
	var out strings.Builder
	for n, f := range found {
		if n > 0 {
			out.WriteString("\n")
		}
		w := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
		line := func(name, value string) { fmt.Fprintf(w, "  %s\t%s\n", name, cell(value)) }
		if i := f.Instance; i == nil {
			fmt.Fprintln(&out, paint(red, f.Service+": "+noneAnswers))
		} else {
			fmt.Fprintln(&out, paint(bold, f.Service+" "+printable(i.Name, "")))
			line("id", i.ID)
			line("version", i.Version)
			line("library", i.Library)
			line("state", i.State)
			line("uptime", uptime(i.Uptime()))
			if i.Info != nil {
				line("methods", methods(i.Info.Methods, i.Info.MoreMethods, len(i.Info.Methods)))
				line("workers", strconv.Itoa(i.Info.Workers))
				line("store", i.Info.Store)
				line("queue", i.Info.Queue+", "+i.Info.QueueType)
				line("plain queue", i.Info.PlainQueue)
			}
		}
		line("ready", count(f.Ready))
		line("consumers", count(f.Consumers))
		w.Flush()
	}
	return out.String()
}

// grid puts rows, the first of which is the head, in columns.
func grid(paint painter, rows [][]string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	for n, line := range lines { // not before: the columns would count the colours
		switch {
		case n == 0:
			lines[n] = paint(bold, line)
		case strings.Contains(line, noneAnswers):
			lines[n] = paint(red, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// methods names as many as asked for.
func methods(names []string, more, most int) string {
	if len(names) > most {
		names, more = names[:most], more+len(names)-most
	}
	text := strings.Join(names, " ")
	if more > 0 {
		text += fmt.Sprintf(" +%d", more)
	}
	return text
}

func count(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// uptime is a time of two units, such as 3d4h.
func uptime(d time.Duration) string {
	switch days := d / (24 * time.Hour); {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, (d%(24*time.Hour))/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.Truncate(time.Second).String()
}

// objects shows an object on each line; at is when, with --watch.
func objects(found []finding, at string) string {
	var out strings.Builder
	for _, f := range found {
		f.At = at
		writeLine(&out, f)
	}
	return out.String()
}
