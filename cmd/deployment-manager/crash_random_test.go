package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kills by default, for which every run of the tests has time, and those that
// make check asks for with DM_TEST_KILLS.
const (
	fewKills  = 6
	someKills = 20
)

func crashKills(t *testing.T) int {
	text := os.Getenv("DM_TEST_KILLS")
	if text == "" {
		return fewKills
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("DM_TEST_KILLS is %q, want a number", text)
	}
	return n
}

func crashSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("DM_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("DM_TEST_SEED=%d", seed)
	return seed
}

// killsPerWorld bounds how many kills one data folder sees; more folders are
// worked on side by side.
const killsPerWorld = 50

// TestRandomKills kills the server at random moments under clients that make
// changes of every sort at once, alone or with all its git processes, and also
// while it recovers. After each kill the record must be what the clients were
// told, without anybody's help.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	kills, seed := crashKills(t), crashSeed(t)
	for world := 0; kills > 0; world++ {
		mine := min(kills, killsPerWorld)
		kills -= mine
		t.Run(fmt.Sprint("world", world+1), func(t *testing.T) {
			t.Parallel()
			killRandomly(t, mine, seed+uint64(world))
		})
	}
}

func killRandomly(t *testing.T, kills int, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	follower := newCrashFollower()
	receiver := httptest.NewServer(http.HandlerFunc(follower.receive))
	defer receiver.Close()
	w := newCrashWorld(t, "--package-callback", receiver.URL, "--application-callback", receiver.URL)
	w.follower, follower.w = follower, w
	clients := newCrashClients(w, seed)
	starting := 0
	for kill := 1; kill <= kills; kill++ {
		if random.IntN(8) == 0 {
			starting++
			w.killStarting(time.Duration(random.IntN(150))*time.Millisecond, random.IntN(2) == 0)
		}
		w.start()
		w.check()
		if kill%20 == 0 {
			w.stop()
			w.verify()
			w.start()
		}
		children := random.IntN(2) == 0
		w.load(clients, random.IntN(len(clients)), time.Duration(random.IntN(150))*time.Millisecond, func() { w.server.kill(children) })
		w.died()
	}
	w.start()
	w.finish()
	done, died := 0, 0
	for _, c := range clients {
		done, died = done+c.done, died+c.died
	}
	t.Logf("%d kills under load and %d of a start; %d changes acknowledged, %d broken off; slowest start %v",
		kills, starting, done, died, w.slowest.Round(time.Millisecond))
}

// killStarting starts the server and kills it before or after it is ready.
func (w *crashWorld) killStarting(after time.Duration, children bool) {
	w.t.Helper()
	s := startCrashServer(w.t, w.folder, w.options...)
	<-time.After(after)
	s.kill(children)
	s.awaitExit(w.t, "it was killed")
}

// load lets the clients work and ends the server under them: some time after so
// many changes were carried out.
func (w *crashWorld) load(clients []*crashClient, changes int, after time.Duration, end func()) {
	w.t.Helper()
	var working sync.WaitGroup
	done := make(chan struct{}, changes)
	for _, c := range clients {
		working.Go(func() { c.work(done) })
	}
	if w.follower != nil {
		working.Go(w.follower.follow)
	}
	working.Go(w.askOn)
	for slow := time.After(time.Minute); changes > 0; changes-- {
		select {
		case <-done:
		case <-slow:
			w.t.Error("the server is too slow")
			changes = 1
		}
	}
	<-time.After(after)
	end()
	working.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// crashClient makes changes, one after the other, of things that no other
// client changes. Workspaces it shares with all.
type crashClient struct {
	w      *crashWorld
	random *rand.Rand
	number int
	user   string
	doors  []crashDoor       // one of them is picked for each change
	marks  map[string]string // of versions: a number that was withdrawn takes only the same bytes again
	done   int               // acknowledged and carried out
	died   int               // broken off
}

// crashDoor is a way to make changes; REST is crashWorld itself.
type crashDoor interface {
	publish(user, id, mark string) error
	create(user, app, id, topic string) error
	change(user, app, id, topic, audience string) error
	run(user, app, verb string) error
	destroy(user, app string) error
	mark(text string) string // of new content that comes this way
}

func newCrashClients(w *crashWorld, seed uint64) []*crashClient {
	clients := make([]*crashClient, 6)
	for i := range clients {
		user := []string{"ana", "ben", "cyd"}[i%3]
		clients[i] = &crashClient{
			w: w, random: rand.New(rand.NewPCG(seed, uint64(i+1))), number: i, user: user, doors: []crashDoor{w}, marks: map[string]string{},
		}
	}
	return clients
}

// work goes on until the server is gone.
func (c *crashClient) work(done chan<- struct{}) {
	for {
		name, do := c.choose()
		err := do()
		var gone errGone
		switch {
		case err == nil:
			c.done++
			select {
			case done <- struct{}{}:
			default: // there were enough
			}
		case errors.As(err, &gone):
			c.died++
			return
		default:
			c.w.t.Errorf("%s of client %d: %v", name, c.number, err)
			return
		}
	}
}

func (c *crashClient) door() crashDoor { return c.doors[c.random.IntN(len(c.doors))] }

func (c *crashClient) pick(list ...string) string { return list[c.random.IntN(len(list))] }

// choose picks one of the changes that are legal now.
func (c *crashClient) choose() (name string, do func() error) {
	id := fmt.Sprintf("p%d-%s", c.number, c.pick("1.0.0", "1.1.0", "2.0.0"))
	if c.random.IntN(3) == 0 {
		return c.choosePackage(id)
	}
	app := fmt.Sprintf("a%d-%s", c.number, c.pick("x", "y"))
	topic := c.pick("north", "south", "east")
	deployed, door := c.w.deployment(id).now() != "", c.door()
	switch phase := c.w.app(app).now().Phase; {
	case phase == "NOTCREATED" && deployed:
		return "create", func() error { return door.create(c.user, app, id, topic) }
	case phase == "NOTCREATED":
		return c.choosePackage(id)
	}
	switch c.random.IntN(6) {
	case 0:
		return "destroy", func() error { return door.destroy(c.user, app) }
	case 1, 2:
		verb := map[string]string{"CREATED": "start", "STARTED": "stop"}[c.w.app(app).now().Phase]
		return verb, func() error { return door.run(c.user, app, verb) }
	}
	if !deployed {
		return c.choosePackage(id)
	}
	return "change", func() error { return door.change(c.user, app, id, topic, c.audience()) }
}

// audience is one to four users, and always sorted as the server has it.
func (c *crashClient) audience() string {
	users := []string{"ana", "ben", "cyd", "eva", "fay"}
	c.random.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	users = users[:1+c.random.IntN(4)]
	slices.Sort(users)
	return strings.Join(users, " ")
}

func (c *crashClient) choosePackage(id string) (name string, do func() error) {
	published, deployed := c.w.file(id).now(), c.w.deployment(id).now()
	rarely, door := c.random.IntN(4) == 0, c.door()
	switch {
	case published == "":
		mark := c.marks[id]
		if mark == "" {
			mark = door.mark(fmt.Sprintf("%s upload %d", id, c.random.IntN(1000)))
			if c.random.IntN(6) == 0 {
				mark += broken
			}
			c.marks[id] = mark
		}
		return "publish", func() error { return door.publish(c.user, id, mark) }
	case deployed == "":
		return "deploy", func() error { return c.w.deploy(c.user, id) }
	case rarely:
		return "undeploy", func() error { return c.w.undeploy(c.user, id) }
	case c.random.IntN(2) == 0:
		return "withdraw", func() error { return c.w.withdraw(c.user, id) }
	}
	return "publish again", func() error { return door.publish(c.user, id, published) }
}
