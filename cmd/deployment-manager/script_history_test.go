package main

import (
	"fmt"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdCapture: capture NAME REGEXP sets $NAME to what the first group matches
// in the last output, which must match.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	output := ts.ReadFile("stdout")
	found := pattern.FindStringSubmatch(output)
	if len(found) < 2 {
		ts.Fatalf("no match of %s in: %s", args[1], output)
	}
	ts.Setenv(args[0], found[1])
}

var (
	changeBreak = regexp.MustCompile(`(\[|,)(\{"(?:revision|name|path)")`)
	unsteady    = []struct {
		pattern *regexp.Regexp
		word    string
	}{
		{regexp.MustCompile(`[0-9a-f]{40}`), "REVISION"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+(Z|\b)`), "TIME"},
		{regexp.MustCompile(`_size":\d+`), `_size":N`},
		{regexp.MustCompile(`"request_id":"[^"]+"`), `"request_id":"ID"`},
	}
)

// cmdMask: mask prints the last output again, each element of a list of
// objects on a line of its own, and a word for what differs from run to run.
func cmdMask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: mask")
	}
	text := changeBreak.ReplaceAllString(ts.ReadFile("stdout"), "$1\n$2")
	for _, u := range unsteady {
		text = u.pattern.ReplaceAllString(text, u.word)
	}
	fmt.Fprint(ts.Stdout(), text)
}
