package main

import (
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// abreast is how many hostile pushes come at a time.
const abreast = 4

// slow is how long an answer takes that is worth a line.
const slow = 2 * time.Second

// few is how many of the hostile pushes to each of the two repositories every
// run of the tests has time for. DM_TEST_HOSTILE=all asks for all of them.
const few = 18

// TestHostilePushes pushes what no record may hold, byte by byte through the
// server's own door. Each is refused in a sentence that gives nothing away and
// leaves nothing; in between and afterwards good pushes work.
func TestHostilePushes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(crashSeed(t), 0))
	b := startBesieged(t)
	common := slices.Concat(pushtest.Trees(), pushtest.Heads(), pushtest.Packs(), pushtest.Protocol())
	for _, siege := range []struct {
		front  *front
		always []pushtest.Case
		cases  []pushtest.Case
	}{
		{&front{name: windPackage, user: "ana"}, pushtest.Bombs(), common},
		{&front{name: noonRun, user: "ana"}, nil, slices.Concat(common, pushtest.Applications())},
	} {
		cases := siege.cases
		if os.Getenv("DM_TEST_HOSTILE") != "all" {
			slices.SortFunc(cases, func(a, b pushtest.Case) int { return strings.Compare(a.Name, b.Name) })
			random.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
			cases = cases[:few]
		}
		cases = slices.Concat(siege.always, cases)
		for group := range slices.Chunk(cases, 50) {
			b.repel(siege.front, group)
			b.pushGood(siege.front)
		}
		t.Logf("%s refused %d pushes", siege.front.name, len(cases))
	}
	if peak := b.peak(); peak > 600 {
		t.Errorf("the server had %d MiB of memory", peak)
	}
	b.verify()
}

// progress is what git says while it works on deltas.
var progress = regexp.MustCompile(`Resolving deltas: [^\r\n]*\r`)

// repel sends hostile pushes to one repository and wants it to stay as it is.
func (b *besieged) repel(f *front, cases []pushtest.Case) {
	b.t.Helper()
	target, before := b.target(f), b.holdings(f.name)
	queue := make(chan pushtest.Case)
	var clients sync.WaitGroup
	for range abreast {
		clients.Go(func() {
			for c := range queue {
				body := c.Body(target)
				begin := time.Now()
				got, err := b.push(f.name, f.user, body)
				if took := time.Since(begin); took > slow {
					b.t.Logf("%s, %s took %v", f.name, c.Name, took.Round(time.Millisecond))
				}
				if err != nil {
					b.t.Errorf("%s, %s: %v", f.name, c.Name, err)
					continue
				}
				b.wantRefused(f, c, target, got)
				if after := b.holdings(f.name); after != before {
					b.t.Errorf("%s, %s: the repository has changed", f.name, c.Name)
				}
			}
		})
	}
	for _, c := range cases {
		queue <- c
	}
	close(queue)
	clients.Wait()
	if left := b.tmp(); len(left) > 0 {
		b.t.Errorf("left behind: %q", left)
	}
}

// wantRefused judges the answer to a hostile push.
func (b *besieged) wantRefused(f *front, c pushtest.Case, target pushtest.Target, got answer) {
	if strings.Contains(got.report, "ok refs/") || got.accepted(target.Ref) {
		b.t.Errorf("%s, %s: accepted: %s", f.name, c.Name, got)
	}
	if c.Text != "" && !strings.Contains(got.raw, c.Text) {
		b.t.Errorf("%s, %s: %s; want %q in it", f.name, c.Name, got, c.Text)
	}
	b.wantDiscreet(c, got)
}

// wantDiscreet wants no path of this machine, no inner error and no control
// character in what a push is told.
func (b *besieged) wantDiscreet(c pushtest.Case, got answer) {
	for _, secret := range []string{b.folder, "/tmp", "/data/", "objects/pack", "internal error", "goroutine", "panic"} {
		if strings.Contains(got.raw, secret) {
			b.t.Errorf("%s: the answer names %q: %s", c.Name, secret, got)
		}
	}
	// git's own progress goes back to the start of its line, and its report
	// repeats the names of refs, by which the client knows them.
	told := progress.ReplaceAllString(got.said, "")
	for line := range strings.Lines(got.report) {
		if rest, ok := strings.CutPrefix(line, "ng "); ok {
			_, line, _ = strings.Cut(rest, " ")
		}
		told += line
	}
	if got.status != http.StatusOK {
		told = got.raw
	}
	if strings.ContainsFunc(told, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		b.t.Errorf("%s: the answer holds a control character: %s", c.Name, got)
	}
}

// pushGood makes a change that is fine and waits until it is carried out.
func (b *besieged) pushGood(f *front) {
	b.t.Helper()
	target := b.target(f)
	got, err := b.push(f.name, f.user, target.Good())
	if err != nil || !got.accepted(target.Ref) {
		b.t.Fatalf("%s: a good push was refused: %v, %s", f.name, err, got)
	}
	b.settle(f)
}

// settle waits until nothing is being done.
func (b *besieged) settle(f *front) {
	b.t.Helper()
	if f.name == noonRun {
		b.await("/applications/noon-run/status", "STARTED")
	}
	if left := b.tmp(); len(left) > 0 {
		b.t.Errorf("left behind: %q", left)
	}
}
