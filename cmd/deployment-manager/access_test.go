package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// accessLegend stands above each golden table.
const accessLegend = `Who may do what in %s, as a server answered over HTTP. Every route of docs/api.md is a row; a new one
needs a line in access_asks_test.go from a person who has thought about it. Made by:
go test ./cmd/deployment-manager -run TestAccess -update

ana owns the package, the application and the workspace that are asked about. The application delivers to her, to the
user una and to the group class-7, but in the column "everyone", where it delivers to everyone and sid asks about it.
Who changes what is delivered to others needs the right to deliver to them, so an owner does without only in the rows
"for its owner alone".

  nobody     no credential
  wrong      ana with a wrong password
  owner      ana                             user       una, in the audience by name
  group      gus, in it by his group         everyone   sid, about an application for everyone
  stranger   sid                             publisher  pub, of the group publisher
  admin      root, of the group admin        auditor    aud, of the group auditor
%s
  +          the answer holds something of what was delivered
  ok, ng     what a push was told of its ref
  404        of a workspace: the same answer as if there were none
`

const accessTokens = `  for owner  console, an impersonator, with user.name=ana; over git it is itself
  for admin  console with user.name=root
  read, packages, applications   ana with a token of that scope
`

// TestAccess asks every route of docs/api.md as everybody, in every mode, and
// compares the answers with tables that a person can read.
func TestAccess(t *testing.T) {
	if !*update && os.Getenv("DM_TEST_HOSTILE") != "all" {
		t.Skip("skipped: asking everything as everybody is part of make test-crash; DM_TEST_HOSTILE=all asks for it")
	}
	t.Parallel()
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := openAccess(t, mode)
			got := w.table(documented(t))
			path := filepath.Join("testdata", "access", string(mode)+".txt")
			if *update {
				must(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if got != string(want) {
				t.Errorf("%s differs:\n%s", path, differing(string(want), got))
			}
		})
	}
}

// row is one route of the page.
type row struct{ door, method, path string }

func (r row) String() string { return r.method + " " + r.path }

func (r row) key() string { return r.door + " " + r.String() }

// documented reads the routes from docs/api.md, which another test holds equal to
// the tables that the ports are made of. The probes are told in its first words.
func documented(t *testing.T) []row {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	must(t, err)
	doors := map[string]string{"Package repository, port 8888": "packages", "Deployment manager, port 5000": "manager", "Native API, port 5000": "manager", "Files for pods, port 5000": "manager", "Git, port 8099": "git"}
	line := regexp.MustCompile("^\\| ([A-Z]+) `([^`]+)` \\|")
	var rows []row
	door := ""
	for text := range strings.Lines(string(page)) {
		if title, ok := strings.CutPrefix(text, "## "); ok {
			door = doors[strings.TrimSpace(title)]
		}
		if m := line.FindStringSubmatch(text); m != nil {
			r := row{door, m[1], m[2]}
			rows = append(rows, r)
			if r.path += alone; accessAsks[r.key()] != nil {
				rows = append(rows, r)
			}
		}
	}
	for _, door := range doorNames {
		for _, probe := range []string{"/livez", "/readyz", "/metrics"} {
			rows = append(rows, row{door, http.MethodGet, probe})
		}
	}
	if len(rows) < 50 {
		t.Fatalf("the page has %d routes only", len(rows))
	}
	return rows
}

// table asks all and writes the answers.
func (w *accessWorld) table(rows []row) string {
	w.t.Helper()
	var b strings.Builder
	tokens := accessTokens
	if w.mode == dm.InsecurePNDA {
		tokens = "  Names are believed here, without a password. user, group, everyone and auditor may what stranger may.\n"
	}
	fmt.Fprintf(&b, accessLegend, w.mode, tokens)
	width := 0
	for _, r := range rows {
		width = max(width, len(r.String()))
	}
	asked, door := map[string]bool{}, ""
	for _, r := range rows {
		if r.door != door {
			door = r.door
			fmt.Fprintf(&b, "\n%-*s", width, door)
			for _, c := range w.callers {
				fmt.Fprintf(&b, " %-*s", column(c), c.head)
			}
			b.WriteString("\n")
		}
		how := accessAsks[r.key()]
		if how == nil {
			w.t.Errorf("%s: nobody has thought about who may do this", r.key())
			continue
		}
		asked[r.key()] = true
		line := fmt.Sprintf("%-*s", width, r)
		for _, c := range w.callers {
			line += fmt.Sprintf(" %-*s", column(c), w.cell(r, c, how))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	for key := range accessAsks {
		if !asked[key] {
			w.t.Errorf("%s: the page has no such route", key)
		}
	}
	return b.String()
}

func column(c caller) int { return max(len(c.head), 6) }

// differing are the lines of two texts that differ.
func differing(want, got string) string {
	var b strings.Builder
	a, z := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(z)) {
		one, other := "", ""
		if i < len(a) {
			one = a[i]
		}
		if i < len(z) {
			other = z[i]
		}
		if one != other {
			fmt.Fprintf(&b, "- %s\n+ %s\n", one, other)
		}
	}
	return b.String()
}
