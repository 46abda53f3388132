package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// topicModel is one register: the topic of an application's overrides. A change
// that is refused has no effect.
var topicModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(topicChange), output.(topicAnswer)
		switch {
		case in.write == "":
			return out.read == state, state
		case out.accepted:
			return true, in.write
		}
		return true, state
	},
}

// topicChange writes a topic, or reads it when write is empty.
type topicChange struct{ write string }

type topicAnswer struct {
	accepted bool
	read     string
}

// topicHistory collects what clients did, and when.
type topicHistory struct {
	house *house
	begin time.Time
	mu    sync.Mutex
	list  []porcupine.Operation
	left  atomic.Int64 // accepted pushes to come
}

// do runs one operation of a client.
func (h *topicHistory) do(client int, in topicChange, run func() topicAnswer) topicAnswer {
	call := time.Since(h.begin).Nanoseconds()
	out := run()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, porcupine.Operation{
		ClientId: client, Input: in, Call: call, Output: out, Return: time.Since(h.begin).Nanoseconds(),
	})
	return out
}

const topicApp = "/api/v1/applications/noon?user.name=ana"

// rest changes the topic over REST.
func (h *topicHistory) rest(topic string) topicAnswer {
	body := fmt.Sprintf(`{"overrides":{"jupyter":{"report":{"topic":%q}}}}`, topic)
	status, answer, err := send(http.MethodPut, h.house.url("manager", "ana", topicApp), body)
	if err != nil || status != http.StatusAccepted && status != http.StatusConflict {
		h.house.t.Errorf("change: %d %s %v", status, answer, err)
	}
	return topicAnswer{accepted: status == http.StatusAccepted}
}

func (h *topicHistory) read() topicAnswer {
	status, answer, err := send(http.MethodGet, h.house.url("manager", "ana", topicApp), "")
	var view struct {
		Overrides struct {
			Jupyter struct{ Report struct{ Topic string } }
		}
	}
	if err == nil {
		err = json.Unmarshal([]byte(answer), &view)
	}
	if err != nil || status != http.StatusOK {
		h.house.t.Errorf("read: %d %s %v", status, answer, err)
	}
	return topicAnswer{read: view.Overrides.Jupyter.Report.Topic}
}

// push changes the topic by a push from what main was a moment ago.
func (h *topicHistory) push(d *developer, topic string) topicAnswer {
	d.git("fetch", "-q", "origin")
	d.git("reset", "-q", "--hard", "origin/main")
	file := filepath.Join(d.dir, "application.json")
	text, err := os.ReadFile(file)
	var spec map[string]any
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err == nil {
		spec["overrides"] = map[string]any{"jupyter": map[string]any{"report": map[string]any{"topic": topic}}}
		text, err = json.MarshalIndent(spec, "", "  ")
	}
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		h.house.t.Error(err)
		return topicAnswer{}
	}
	d.git("commit", "-q", "-a", "-m", topic)
	_, said, err := d.try("push", "-q", "origin", "main")
	if err != nil && !strings.Contains(said, "rejected]") {
		h.house.t.Errorf("push: %v\n%s", err, said)
	}
	return topicAnswer{accepted: err == nil}
}

// TestPushesAreLinearizable has people push to one application while others
// change it over REST and read it, with maintenance every second: all see one
// register, and no accepted change is lost.
func TestPushesAreLinearizable(t *testing.T) {
	t.Parallel()
	const pushes = 8
	house := startHouse(t, t.TempDir(), func(user string) string { return user + ":any@" }, "--auth", "insecure-pnda", "--maintenance", "1s")
	house.publish("ana", "flow-report-1.0.0")
	house.create("ana", "noon", "flow-report-1.0.0")
	h := &topicHistory{house: house, begin: time.Now()}
	h.left.Store(pushes)
	var clients sync.WaitGroup
	var accepted, pushed atomic.Int64
	for client := range 3 {
		d := newDeveloper(t)
		d.git("remote", "add", "origin", house.url("git", "ana", "/applications/noon.git"))
		clients.Go(func() {
			for n := 0; h.left.Load() > 0 && !t.Failed(); n++ {
				in := topicChange{fmt.Sprintf("push-%d-%d", client, n)}
				if h.do(client, in, func() topicAnswer { return h.push(d, in.write) }).accepted {
					h.left.Add(-1)
					pushed.Add(1)
				}
			}
		})
	}
	clients.Go(func() { // one change for each that was pushed: more would leave no room for pushes
		for n := int64(0); h.left.Load() > 0 && !t.Failed(); {
			in, run := topicChange{}, h.read
			if pushed.Load() > n {
				n = pushed.Load()
				in.write = fmt.Sprintf("rest-%d", n)
				run = func() topicAnswer { return h.rest(in.write) }
			}
			if h.do(3, in, run).accepted {
				accepted.Add(1)
			}
		}
	})
	clients.Wait()
	if result := porcupine.CheckOperationsTimeout(topicModel, h.list, time.Minute); result != porcupine.Ok {
		t.Errorf("the history of %d operations is %s", len(h.list), result)
	}
	if n := house.bare("applications/noon.git", "rev-list", "--first-parent", "--count", "main"); n != fmt.Sprint(1+accepted.Load()+pushed.Load()) {
		t.Errorf("main has %s changes, want 1 create, %d of REST and %d pushed", n, accepted.Load(), pushed.Load())
	}
	if log := house.bare("applications/noon.git", "log", "--first-parent", "--format=%(trailers:key=DM-Pushed,valueonly,separator=)", "main"); int64(len(strings.Fields(log))) != pushed.Load() {
		t.Errorf("main tells of %d pushes, want %d", len(strings.Fields(log)), pushed.Load())
	}
	t.Logf("%d pushes and %d changes over REST among %d operations, 0 lost", pushed.Load(), accepted.Load(), len(h.list))
}
