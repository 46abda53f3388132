package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/hooks/dispatch"
)

// crashDrive is one sort of change. Each run works on names of its own.
type crashDrive struct {
	name    string
	prepare func(d *driving) error // acknowledged before the server may die
	act     func(d *driving) error
}

// driving is one run of a drive.
type driving struct {
	*crashWorld
	id   string // unlike that of any other run
	user string
}

func (d *driving) pkg(version string) string { return "p" + d.id + "-" + version }
func (d *driving) appName() string           { return "a" + d.id }

// published publishes and deploys packages; those of version 9 are broken.
func (d *driving) published(versions ...string) error {
	for _, v := range versions {
		mark := "first " + d.pkg(v)
		if v == "9.0.0" {
			mark += broken
		}
		if err := errors.Join(d.publish(d.user, d.pkg(v), mark), d.deploy(d.user, d.pkg(v))); err != nil {
			return err
		}
	}
	return nil
}

func (d *driving) created(versions ...string) error {
	return errors.Join(d.published(versions...), d.create(d.user, d.appName(), d.pkg(versions[0]), "one"))
}

// crashDrives are all sorts of changes that reach the disk.
var crashDrives = []crashDrive{
	{"publish a package", nothing, func(d *driving) error { return d.publish(d.user, d.pkg("1.0.0"), "first") }},
	{"publish a second version", func(d *driving) error { return d.publish(d.user, d.pkg("1.0.0"), "first") },
		func(d *driving) error { return d.publish(d.user, d.pkg("1.1.0"), "second") }},
	{"replace a version", func(d *driving) error { return d.created("1.0.0") },
		func(d *driving) error { return d.publish(d.user, d.pkg("1.0.0"), "replaced") }},
	{"withdraw a version", func(d *driving) error { return d.published("1.0.0", "1.1.0") },
		func(d *driving) error { return d.withdraw(d.user, d.pkg("1.1.0")) }},
	{"deploy", func(d *driving) error { return d.publish(d.user, d.pkg("1.0.0"), "first") },
		func(d *driving) error { return d.deploy(d.user, d.pkg("1.0.0")) }},
	{"deploy what was never published", nothing, func(d *driving) error { return d.deploy(d.user, d.pkg("1.0.0")) }},
	{"undeploy", func(d *driving) error { return d.published("1.0.0") },
		func(d *driving) error { return d.undeploy(d.user, d.pkg("1.0.0")) }},
	{"create for a new user", func(d *driving) error { d.user = "u" + d.id; return d.published("1.0.0") },
		func(d *driving) error { return d.create(d.user, d.appName(), d.pkg("1.0.0"), "one") }},
	{"create for a user who has something", func(d *driving) error { return d.created("1.0.0") },
		func(d *driving) error { return d.create(d.user, d.appName()+"-2", d.pkg("1.0.0"), "two") }},
	{"create again", func(d *driving) error { return errors.Join(d.created("1.0.0"), d.destroy(d.user, d.appName())) },
		func(d *driving) error { return d.create(d.user, d.appName(), d.pkg("1.0.0"), "two") }},
	{"create and fail", func(d *driving) error { return d.published("9.0.0") },
		func(d *driving) error { return d.create(d.user, d.appName(), d.pkg("9.0.0"), "one") }},
	{"change the package", func(d *driving) error { return d.created("1.0.0", "1.1.0") },
		func(d *driving) error { return d.change(d.user, d.appName(), d.pkg("1.1.0"), "two", d.user) }},
	{"change the audience", func(d *driving) error {
		return errors.Join(d.created("1.0.0"), d.change(d.user, d.appName(), d.pkg("1.0.0"), "one", "ana ben"))
	}, func(d *driving) error { return d.change(d.user, d.appName(), d.pkg("1.0.0"), "two", "ana cyd w"+d.id) }},
	{"change and fail", func(d *driving) error { return d.created("1.0.0", "9.0.0") },
		func(d *driving) error { return d.change(d.user, d.appName(), d.pkg("9.0.0"), "two", "ana ben") }},
	{"start", func(d *driving) error { return d.created("1.0.0") }, func(d *driving) error { return d.run(d.user, d.appName(), "start") }},
	{"stop", func(d *driving) error { return errors.Join(d.created("1.0.0"), d.run(d.user, d.appName(), "start")) },
		func(d *driving) error { return d.run(d.user, d.appName(), "stop") }},
	{"destroy", func(d *driving) error { return d.created("1.0.0") }, func(d *driving) error { return d.destroy(d.user, d.appName()) }},
	{"ask for the first time", func(d *driving) error { d.user = "u" + d.id; return d.created("1.0.0") }, (*driving).ask},
	{"ask after a change", func(d *driving) error {
		return errors.Join(d.created("1.0.0"), d.ask(), d.change(d.user, d.appName(), d.pkg("1.0.0"), "two", d.user))
	}, (*driving).ask},
	{"push a package", nothing, func(d *driving) error {
		p := d.pusher()
		return p.publish(d.user, d.pkg("1.0.0"), p.mark("first"))
	}},
	{"push a second version", func(d *driving) error { return d.publish(d.user, d.pkg("1.0.0"), "first") }, func(d *driving) error {
		p := d.pusher()
		return p.publish(d.user, d.pkg("1.1.0"), p.mark("second"))
	}},
	{"push a new application", func(d *driving) error { d.user = "u" + d.id; return d.published("1.0.0") },
		func(d *driving) error { return d.pusher().create(d.user, d.appName(), d.pkg("1.0.0"), "one") }},
	{"push another package", func(d *driving) error { return d.created("1.0.0", "1.1.0") },
		func(d *driving) error { return d.pusher().change(d.user, d.appName(), d.pkg("1.1.0"), "two", d.user) }},
	{"push a start", func(d *driving) error { return d.created("1.0.0") },
		func(d *driving) error { return d.pusher().run(d.user, d.appName(), "start") }},
}

// pusher is the other door for this run.
func (d *driving) pusher() *crashPusher { return newCrashPusher(d.crashWorld, "pusher-"+d.id) }

func nothing(*driving) error { return nil }

// ask has the user ask for their workspace; a server that dies of it says nothing.
func (d *driving) ask() error {
	status, answer, err := d.send(http.MethodGet, "git", "/jupyter-"+d.user+"/head", "", "")
	if err == nil && status != http.StatusOK {
		return fmt.Errorf("the head of %s: status %d: %s", d.user, status, answer)
	}
	return nil
}

// ready makes a run of a drive up to the change itself.
func (c crashDrive) ready(w *crashWorld, number int) *driving {
	w.t.Helper()
	d := &driving{crashWorld: w, id: fmt.Sprint(number), user: "ana"}
	if err := c.prepare(d); err != nil {
		w.t.Fatalf("prepare %q: %v", c.name, err)
	}
	return d
}

// deathAt is one kill: during the drive, when it reaches the step for the n-th
// time.
type deathAt struct {
	drive crashDrive
	step  string
	n     int
}

// TestFailpoints kills the server at every named step of the write protocol and
// of the dispatcher, in changes of every sort that reach it, and starts it
// again; where a push gets to, one dies in a push as well. Which change reaches
// which step is found out by running all of them once, so that no step is named
// in vain. With few kills only a random quarter of the steps is played.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	kills := crashKills(t)
	times := 1
	if kills > someKills {
		times = 3
	}
	sequences := recordDrives(t)
	var plan []deathAt
	for _, step := range slices.Concat(repo.Steps(), dispatch.Steps()) {
		chances := chancesAt(sequences, step)
		if len(chances) == 0 {
			t.Errorf("no change reaches the step %q: drop it from Steps, or add a change that does", step)
			continue
		}
		for i := range times {
			// Far apart in the list, so that the changes are different ones.
			plan = append(plan, chances[(i*len(chances)/times+len(plan))%len(chances)])
		}
		pushed := slices.DeleteFunc(chances, func(d deathAt) bool { return !strings.HasPrefix(d.drive.name, "push ") })
		if len(pushed) > 0 {
			plan = append(plan, pushed[len(plan)%len(pushed)])
		}
	}
	if kills < someKills {
		random := rand.New(rand.NewPCG(crashSeed(t), 0))
		random.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
		plan = plan[:len(plan)/4]
	}
	const worlds = 2
	for i := range worlds {
		t.Run(fmt.Sprint("world", i+1), func(t *testing.T) {
			t.Parallel()
			var mine []deathAt
			for j := i; j < len(plan); j += worlds {
				mine = append(mine, plan[j])
			}
			killAt(t, mine)
		})
	}
}

// recordDrives runs each drive to its end and returns the steps it reached.
func recordDrives(t *testing.T) [][]string {
	t.Helper()
	w := newCrashWorld(t, "--packages-versions", "replace")
	w.start()
	var sequences [][]string
	for i, drive := range crashDrives {
		d := drive.ready(w, i)
		before := len(w.reached(0))
		if err := drive.act(d); err != nil {
			t.Fatalf("%s: %v", drive.name, err)
		}
		sequences = append(sequences, w.reached(before))
	}
	w.finish()
	return sequences
}

// reached waits until a dispatcher that began a pass has ended it, and returns
// the steps after the first skip ones.
func (w *crashWorld) reached(skip int) []string {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(3 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(w.folder, reachedFile))
		if err != nil {
			w.t.Fatal(err)
		}
		steps := strings.Fields(string(data))
		if strings.Count(string(data), "dispatch-taken\n") == strings.Count(string(data), "dispatch-observed\n") {
			return steps[skip:]
		}
		if time.Now().After(deadline) {
			w.t.Fatal("a pass of the dispatcher does not end")
		}
	}
}

// chancesAt lists when a step is reached: every drive's first time, then every
// drive's second time, and so on.
func chancesAt(sequences [][]string, step string) []deathAt {
	var chances []deathAt
	for n, found := 1, true; found; n++ {
		found = false
		for i, sequence := range sequences {
			count := 0
			for _, s := range sequence {
				if s == step {
					count++
				}
			}
			if count >= n {
				chances = append(chances, deathAt{crashDrives[i], step, n})
				found = true
			}
		}
	}
	return chances
}

// killAt carries out a plan on one data folder.
func killAt(t *testing.T, plan []deathAt) {
	t.Helper()
	w := newCrashWorld(t, "--packages-versions", "replace")
	w.start()
	for i, death := range plan {
		d := death.drive.ready(w, i)
		if err := os.WriteFile(filepath.Join(w.folder, killFile), fmt.Appendf(nil, "%s %d", death.step, death.n), 0o600); err != nil {
			t.Fatal(err)
		}
		w.failing.Store(true) // git's client does not tell that from a refusal
		var gone errGone
		if err := death.drive.act(d); err != nil && !errors.As(err, &gone) {
			t.Fatalf("%s: %v", death.drive.name, err)
		}
		w.server.awaitExit(t, fmt.Sprintf("%q does not reach the step %s for the %d. time", death.drive.name, death.step, death.n))
		w.died()
		w.failing.Store(false)
		w.start()
		w.check()
		if t.Failed() {
			t.Fatalf("after a kill at %s (%d) of %q", death.step, death.n, death.drive.name)
		}
	}
	w.finish()
	t.Logf("%d kills, slowest start %v", len(plan), w.slowest.Round(time.Millisecond))
}
