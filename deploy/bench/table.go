package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// line is one row of the table.
type line struct {
	what   string
	ours   string // the server's figure
	beside string // the figure of what it is compared with, "" when there is none
	value  float64
	goal   goal
}

// goal is the bound that a line's value is held to.
type goal struct {
	kind  goalKind
	bound float64
	unit  string
}

type goalKind int

const (
	information goalKind = iota // there is no goal
	atLeast
	atMost
	below
)

func (l line) met() bool {
	switch l.goal.kind {
	case atLeast:
		return l.value >= l.goal.bound
	case atMost:
		return l.value <= l.goal.bound
	case below:
		return l.value < l.goal.bound
	}
	return true
}

func (l line) verdict() string {
	switch {
	case l.goal.kind == information:
		return ""
	case l.met():
		return "met"
	}
	return "MISSED"
}

func (g goal) String() string {
	sign := map[goalKind]string{atLeast: "≥", atMost: "≤", below: "<"}[g.kind]
	if sign == "" {
		return "for information"
	}
	return fmt.Sprintf("%s %g%s", sign, g.bound, g.unit)
}

func (l line) figure() string {
	if l.value == 0 {
		return ""
	}
	return significant(l.value) + l.goal.unit
}

func (l line) String() string {
	text := l.what + ": " + l.ours
	if l.beside != "" {
		text += " beside " + l.beside
	}
	return strings.TrimSpace(fmt.Sprintf("%s, %s, %s %s", text, l.figure(), l.goal, l.verdict()))
}

// printTable writes the lines in columns, as a table of Markdown.
func printTable(w io.Writer, lines []line) {
	out := tabwriter.NewWriter(w, 0, 4, 1, ' ', 0)
	fmt.Fprintln(out, "| what\t| ours\t| beside\t| figure\t| goal\t|  \t|")
	fmt.Fprintln(out, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, l := range lines {
		fmt.Fprintf(out, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", l.what, l.ours, l.beside, l.figure(), l.goal, l.verdict())
	}
	_ = out.Flush() // an unwritable standard output has nobody to tell
}

// slower is the ratio of two medians, for goals of the kind "at most so many
// times as long".
func slower(what string, ours, beside []time.Duration, bound float64) line {
	a, b := median(ours), median(beside)
	return line{what: what, ours: show(a), beside: show(b), value: ratio(a, b), goal: goal{atMost, bound, "×"}}
}

// faster is the same for goals of the kind "at least so many times as fast".
func faster(what string, ours, beside []time.Duration, bound float64) line {
	a, b := median(ours), median(beside)
	return line{what: what, ours: show(a), beside: show(b), value: ratio(b, a), goal: goal{atLeast, bound, "×"}}
}

// plain takes the goal from a line that is only for information.
func plain(l line) line {
	l.goal = goal{unit: l.goal.unit}
	return l
}

func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// median is the middle one; of an even number, the mean of the two.
func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// show writes a time with three digits that count.
func show(d time.Duration) string {
	if d >= time.Second {
		return significant(d.Seconds()) + " s"
	}
	return significant(float64(d)/float64(time.Millisecond)) + " ms"
}

// significant keeps three digits, without an exponent.
func significant(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// medianOf is the median of plain numbers.
func medianOf(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
