package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+(Z|\b)`), "TIME"},
		{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "REVISION"},
		{regexp.MustCompile(`\b[0-9a-f]{7}\b`), "SHORT"},
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
	fmt.Fprint(ts.Stdout(), masked(changeBreak.ReplaceAllString(ts.ReadFile("stdout"), "$1\n$2")))
}

func masked(text string) string {
	for _, u := range unsteady {
		text = u.pattern.ReplaceAllString(text, u.word)
	}
	return text
}

// historyPage is the page whose commands the script history-git runs.
var historyPage = filepath.Join("..", "..", "docs", "history.md")

// block is a piece of code on a page: commands, and what they print.
type block struct{ commands, prints string }

// blocks returns the code of a page by heading.
func blocks(page string) (map[string]block, error) {
	found := map[string]block{}
	heading, language, inside := "", "", false
	for line := range strings.SplitSeq(page, "\n") {
		b := found[heading]
		title, isHeading := strings.CutPrefix(line, "## ")
		tag, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence:
			if inside = !inside; inside {
				language = tag
			}
			continue
		case !inside && isHeading:
			heading = title
			continue
		case !inside:
			continue
		case language == "sh":
			b.commands += line + "\n"
		case language == "":
			b.prints += line + "\n"
		default:
			return nil, fmt.Errorf("%s: code in %s is not run by anybody", heading, language)
		}
		found[heading] = b
	}
	return found, nil
}

// cmdPage: page HEADING runs the commands that docs/history.md has under the
// heading. What they print must be what the page shows, where it shows it.
func cmdPage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: page HEADING")
	}
	// testscript runs in the folder of the package.
	page, err := os.ReadFile(historyPage)
	ts.Check(err)
	all, err := blocks(string(page))
	ts.Check(err)
	b := all[args[0]]
	if b.commands == "" {
		ts.Fatalf("the page has no commands under %q", args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-u", "-c", b.commands)
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), &output, ts.Stderr()
	cmd.Env = append(environment(ts), "GIT="+ts.Getenv("GIT"), "DATA="+ts.Getenv("DATA"))
	err = cmd.Run()
	fmt.Fprint(ts.Stdout(), output.String())
	ts.Check(err)
	if got, want := masked(output.String()), masked(b.prints); b.prints != "" && got != want {
		ts.Fatalf("the commands under %q print\n%s\nthe page says\n%s", args[0], got, want)
	}
}

// TestHistoryPageIsRun: no command of the page is left out of the script.
func TestHistoryPageIsRun(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(historyPage)
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "script", "history-git.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := blocks(string(page))
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for heading, b := range all {
		if b.commands == "" {
			t.Errorf("%q shows output without commands", heading)
		}
		if !strings.Contains(string(script), "\npage '"+heading+"'\n") {
			t.Errorf("no script runs the commands under %q", heading)
		}
		run++
	}
	if run < 10 {
		t.Errorf("got %d headings with commands, want at least 10", run)
	}
}
