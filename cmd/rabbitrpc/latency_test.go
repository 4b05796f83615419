package main

import "testing"

func TestRounded(t *testing.T) {
	for _, tt := range []struct {
		x    float64
		want string
	}{{0, "0"}, {0.309, "0.309"}, {26, "26"}, {45.94, "45.9"}, {3776.4, "3780"}, {24_216.9, "24200"}, {1e9 + 1, "1000000000"}} {
		if got := rounded(tt.x, 3); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.x, got, tt.want)
		}
	}
}
