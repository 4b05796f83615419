package frame

import "strings"

// tables are headers that were read of late. Many messages have the same, as requests do that have the same time left: these
// share what was read of the first. Its order differs from one to the next, so a few are kept.
type tables struct {
	kept [4]keptTable
	next int
}

type keptTable struct {
	text  string
	table map[string]any
}

// maxKept bounds what is kept, and compared.
const maxKept = 256

// read reads headers as readTable does.
func (k *tables) read(t *text) map[string]any {
	begin := t.rest
	if text := (&cursor[string]{rest: begin, bad: t.bad}).long(); text != "" {
		for i := range k.kept {
			if k.kept[i].text == text {
				t.long()
				return k.kept[i].table
			}
		}
	}
	table := readTable(t, 0)
	if text := begin[:len(begin)-len(t.rest)]; !t.bad && len(text) <= maxKept && unchangeable(table) {
		text = strings.Clone(text[4:]) // without the length, and what comes before and after it
		k.kept[k.next] = keptTable{text, table}
		k.next = (k.next + 1) % len(k.kept)
	}
	return table
}

// unchangeable reports whether values can be shared without a risk.
func unchangeable(table map[string]any) bool {
	for _, v := range table {
		switch v.(type) {
		case map[string]any, []any, []byte:
			return false
		}
	}
	return len(table) > 0
}
