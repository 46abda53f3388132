package gitstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// commits are the raw commits of a ref, oldest first.
func (f forger) commits(ref string) (names, raw []string) {
	f.t.Helper()
	for name := range strings.FieldsSeq(f.git("", "rev-list", "--first-parent", "--reverse", ref)) {
		names, raw = append(names, name), append(raw, f.git("", "cat-file", "commit", name)+"\n")
	}
	return names, raw
}

// forged is one commit of a chain that is written anew; an empty text leaves it
// out.
type forged struct{ text, file string }

// rechain writes the commits of a ref anew, consistently: parents, and whatever
// else names one of them. It returns the new names by the old ones.
func (f forger) rechain(ref string, renamed map[string]string, edit func(i int, c forged) forged) {
	f.t.Helper()
	names, raw := f.commits(ref)
	tip := ""
	for i, text := range raw {
		tree := strings.Fields(text)[1]
		c := forged{text: text}
		if strings.HasPrefix(ref, "refs/observed/") {
			c.file = f.git("", "cat-file", "blob", tree+":observed.json") + "\n"
		}
		c = edit(i, c)
		if c.text == "" {
			renamed[names[i]] = tip
			continue
		}
		for old, new := range renamed {
			c.text, c.file = strings.ReplaceAll(c.text, old, new), strings.ReplaceAll(c.file, old, new)
		}
		if c.file != "" {
			blob := f.git(c.file, "hash-object", "-w", "--stdin")
			c.text = strings.Replace(c.text, tree, f.git("100644 blob "+blob+"\tobserved.json\n", "mktree"), 1)
		}
		tip = f.git(c.text, "hash-object", "-w", "-t", "commit", "--literally", "--stdin")
		renamed[names[i]] = tip
	}
	f.point(ref, tip)
}

// application writes the whole history of one anew.
func (f forger) application(change, outcome func(i int, c forged) forged) {
	f.t.Helper()
	renamed := map[string]string{}
	f.rechain("refs/heads/main", renamed, change)
	f.rechain("refs/observed/head", renamed, outcome)
	for line := range strings.Lines(f.git("", "for-each-ref", "--format=%(refname) %(objectname)", "refs/deployments")) {
		ref, old, _ := strings.Cut(strings.TrimSpace(line), " ")
		f.point(ref, renamed[old])
	}
}

func same(_ int, c forged) forged { return c }

// only edits the n-th commit of a chain.
func only(n int, edit func(forged) forged) func(int, forged) forged {
	return func(i int, c forged) forged {
		if i == n {
			c = edit(c)
		}
		return c
	}
}

// every edits every commit of a chain.
func every(edit func(forged) forged) func(int, forged) forged {
	return func(_ int, c forged) forged { return edit(c) }
}

var (
	timeTrailer = regexp.MustCompile(`DM-Time: (\S+)`)
	seconds     = regexp.MustCompile(`> \d+ \+0000`)
	deployedAt  = regexp.MustCompile(`Deployed (\S+) at \S+`)
	jsonTime    = regexp.MustCompile(`"time": "[^"]+"`)
)

// dated dates a commit or a tag differently, everywhere in it.
func dated(by time.Duration) func(forged) forged {
	return func(c forged) forged {
		at, err := time.Parse(time.RFC3339Nano, timeTrailer.FindStringSubmatch(c.text)[1])
		if err != nil {
			panic(err)
		}
		at = at.Add(by)
		c.text = timeTrailer.ReplaceAllString(c.text, "DM-Time: "+at.Format(time.RFC3339Nano))
		c.text = seconds.ReplaceAllString(c.text, fmt.Sprintf("> %d +0000", at.Unix()))
		c.text = deployedAt.ReplaceAllString(c.text, "Deployed $1 at "+at.Format("2006-01-02T15:04:05.000000"))
		c.file = jsonTime.ReplaceAllString(c.file, `"time": "`+at.Format(time.RFC3339Nano)+`"`)
		return c
	}
}

// replaced replaces texts in a commit and its file.
func replaced(pairs ...string) func(forged) forged {
	r := strings.NewReplacer(pairs...)
	return func(c forged) forged { return forged{r.Replace(c.text), r.Replace(c.file)} }
}

// tree gives a commit another tree.
func tree(f forger, name string) func(forged) forged {
	return func(c forged) forged {
		return forged{strings.Replace(c.text, strings.Fields(c.text)[1], f.git("", "rev-parse", name), 1), c.file}
	}
}

// TestConsistentForgeriesAreFound writes histories anew so that every signature,
// parent and trailer fits: what still contradicts is the order of things. With
// known-refs all of it is found, by the ref that leads to what never was there.
func TestConsistentForgeriesAreFound(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	const (
		app, flow = "applications/app.git", "packages/flow.git"
		decided   = "refs/deployed/1.0.0"
		day       = 24 * time.Hour
	)
	another := func(f forger) {
		eve := replaced("root <root@pnda>", "eve <eve@pnda>", "DM-User: root", "DM-User: eve")
		f.application(only(1, eve), only(1, eve))
	}
	for _, c := range []struct {
		name, repository string
		forge            func(forger)
		want             string // without known-refs; "" for what nothing inside can tell
	}{
		{"a change dated back", app, func(f forger) { f.application(only(1, dated(-day)), same) }, "before commit"},
		{"an outcome dated back", app, func(f forger) { f.application(same, only(1, dated(-day))) }, "is dated 24h0m0s before commit"},
		{"a change dated after its outcome", app, func(f forger) { f.application(only(1, dated(time.Hour)), same) }, "is dated 1h0m0s before commit"},
		{"all dated back", app, func(f forger) { f.application(every(dated(-day)), every(dated(-day))) }, "before the deploy of flow-1.0.0"},
		{"all dated ahead", app, func(f forger) { f.application(every(dated(day)), every(dated(day))) }, " from now"},
		{"another author", app, another, "which is not on main of app"},
		{"another author, and no workspace that tells", app, func(f forger) {
			another(f)
			check(t, os.RemoveAll(filepath.Join(f.dir, "../../users/ana.git"))) // it is derived anew
		}, ""},
		{"another verb", app, func(f forger) {
			stop := replaced("Start app", "Stop app", "DM-Action: start", "DM-Action: stop")
			f.application(only(2, stop), same)
		}, `in application.json, a stop leads to "created"`},
		{"a verb at the wrong time", app, func(f forger) {
			again := replaced("Change app to", "Create app from", "DM-Action: change", "DM-Action: create", "root", "ana")
			f.application(only(1, again), only(1, again))
		}, "is a create of what is CREATED"},
		{"another subject", app, func(f forger) { f.application(only(1, replaced("Change app to flow", "Change app to slow")), same) }, "is called"},
		{"a change left out", app, func(f forger) {
			gone := func(forged) forged { return forged{} }
			f.application(only(1, gone), only(1, gone))
		}, "has other content than"},
		{"outcomes in another order", app, func(f forger) {
			_, raw := f.commits("refs/observed/head")
			desired := regexp.MustCompile(`DM-Desired: (\S+)`)
			a, b := desired.FindStringSubmatch(raw[0])[1], desired.FindStringSubmatch(raw[1])[1]
			swap := replaced(a, b, b, a, "DM-Action: create", "DM-Action: change", "DM-Action: change", "DM-Action: create")
			f.application(same, every(swap))
		}, "which stands before that of the outcome before it"},
		{"another phase", app, func(f forger) {
			f.application(same, only(0, replaced("Observe app CREATED", "Observe app STARTED", "DM-Phase: CREATED", "DM-Phase: STARTED", `"phase": "CREATED"`, `"phase": "STARTED"`)))
		}, `ends STARTED, a create to "created" ends CREATED`},
		{"another number", app, func(f forger) { f.application(same, only(1, replaced(`"deployment": 2`, `"deployment": 1`))) }, "is of deployment 1, its change is of 2"},
		{"a start with other content", app, func(f forger) {
			f.git("", "update-ref", "refs/heads/other", "main~2")
			blob := f.git("", "rev-parse", "main:application.json")
			top := f.git("100644 blob "+blob+"\tapplication.json\n"+f.git("", "ls-tree", "main~2", "components", "package")+"\n", "mktree")
			f.git("", "update-ref", "-d", "refs/heads/other")
			f.application(only(2, tree(f, top)), same)
		}, "has other content than commit"},
		{"files that were never deployed", app, func(f forger) {
			lines := f.git("", "ls-tree", "main~1", "application.json", "components")
			top := f.git(lines+"\n040000 tree "+f.git("", "rev-parse", "main:components")+"\tpackage\n", "mktree")
			f.application(only(1, tree(f, top)), same)
		}, "has files in package/ with which flow-1.0.0 was never deployed"},

		{"a deploy dated back", flow, func(f forger) { f.rechain(decided, map[string]string{}, every(dated(-day))) }, "is dated 24h0m0s before tag"},
		{"a second deploy dated back", flow, func(f forger) { f.rechain(decided, map[string]string{}, only(2, dated(-time.Hour))) }, "is dated 1h0m0s before commit"},
		{"an undeploy left out", flow, func(f forger) {
			f.rechain(decided, map[string]string{}, only(1, func(forged) forged { return forged{} }))
		}, "deploys what is DEPLOYED"},
		{"a deploy of other files", flow, func(f forger) {
			f.rechain(decided, map[string]string{}, only(2, tree(f, "refs/superseded/1.1.0/1^{tree}")))
		}, "deploys files that nobody uploaded as 1.0.0"},
		{"an undeploy of other files", flow, func(f forger) {
			f.rechain(decided, map[string]string{}, only(1, tree(f, "refs/superseded/1.1.0/1^{tree}")))
		}, "undeploys other files than were deployed"},
		{"a deploy that says another time", flow, func(f forger) {
			f.rechain(decided, map[string]string{}, only(2, replaced("Deployed flow-1.0.0 at 2", "Deployed flow-1.0.0 at 1")))
		}, `says "Deployed flow-1.0.0 at 1`},
		{"a withdrawal dated back", flow, func(f forger) {
			const ref = "refs/superseded/1.1.0/1"
			raw := f.git("", "cat-file", "tag", ref) + "\n"
			f.point(ref, f.git(dated(-day)(forged{text: raw}).text, "hash-object", "-w", "-t", "tag", "--literally", "--stdin"))
		}, "is dated 24h0m0s before tag"},
		{"a version dated back", flow, func(f forger) {
			renamed := map[string]string{}
			f.rechain("refs/heads/main", renamed, only(1, dated(-day)))
			const ref = "refs/superseded/1.1.0/1"
			withdrawal := f.git("", "cat-file", "tag", ref) + "\n"
			old := strings.Fields(withdrawal)[1]
			tag := f.git("", "cat-file", "tag", old) + "\n"
			for from, to := range renamed {
				tag = strings.ReplaceAll(tag, from, to)
			}
			anew := f.git(dated(-day)(forged{text: tag}).text, "hash-object", "-w", "-t", "tag", "--literally", "--stdin")
			f.point(ref, f.git(strings.ReplaceAll(withdrawal, old, anew), "hash-object", "-w", "-t", "tag", "--literally", "--stdin"))
		}, "before commit"},
		{"nothing", app, func(f forger) { f.application(same, same) }, ""},
	} {
		for _, known := range []bool{false, true} {
			name := c.name
			if known {
				name += ", with known-refs"
				if c.want != "" {
					continue // found by other means as well
				}
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				check(t, os.CopyFS(dir, os.DirFS(record)))
				c.forge(forger{t, filepath.Join(dir, c.repository)})
				if !known {
					check(t, os.Remove(filepath.Join(dir, "known-refs")))
				}
				h := openStill(t, dir)
				switch {
				case known && c.name != "nothing":
					h.wantFound(", where known-refs has it")
				case c.want == "":
					h.sound()
				default:
					h.wantFound(c.want)
				}
			})
		}
	}
}
