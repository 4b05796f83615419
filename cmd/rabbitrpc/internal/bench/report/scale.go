package report

import (
	"fmt"
	"math"
	"slices"
)

// A scale places values between 0, the bottom, and 1.
type scale struct {
	low, high float64
	log       bool
}

func (p *panel) scale(cells []CellResult, sides int) scale {
	var all []float64
	for i := range cells {
		for side := range sides {
			for _, mark := range p.marks {
				all = append(all, cells[i].values(side, mark)...)
			}
		}
	}
	if !p.log {
		return scale{high: nice(slices.Max(all))}
	}
	return scale{power(slices.Min(all), math.Floor), power(slices.Max(all), math.Ceil), true}
}

func (s scale) place(v float64) float64 {
	if s.log {
		return math.Log10(max(v, s.low)/s.low) / math.Log10(s.high/s.low)
	}
	return v / s.high
}

func (s scale) ticks() (all []float64) {
	if s.log {
		for t := s.low; t <= s.high*1.01; t *= 10 {
			all = append(all, t)
		}
		return all
	}
	for i := range 5 {
		all = append(all, s.high*float64(i)/4)
	}
	return all
}

// nice returns the next number whose quarters are short.
func nice(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1))))
	for _, f := range [...]float64{1, 2, 4, 6, 8} {
		if v <= f*unit {
			return f * unit
		}
	}
	return 10 * unit
}

// power returns a power of ten at v, at least one of microseconds. Two of them are never the same unless v is one.
func power(v float64, round func(float64) float64) float64 {
	return math.Pow(10, round(math.Log10(max(v, 1.1))))
}

func compact(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprintf("%g", v)
}

// roundTime writes a power of ten of microseconds.
func roundTime(us float64) string {
	switch {
	case us >= 999_999:
		return fmt.Sprintf("%.0f s", us/1e6)
	case us >= 999:
		return fmt.Sprintf("%.0f ms", us/1e3)
	}
	return fmt.Sprintf("%.0f µs", us)
}
