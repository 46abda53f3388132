package gitstore_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// updates is how many changes a test of concurrency makes: few in every run,
// as many as DM_TEST_UPDATES says when somebody has the time.
func updates(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("DM_TEST_UPDATES")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("DM_TEST_UPDATES is %q, want a number", text)
	}
	return n
}

// maintained runs maintenance without a pause until the returned function is
// called, which tells how many passes there were.
func (h *house) maintained() (stop func() int) {
	inner, cancel := context.WithCancel(ctx)
	passes := make(chan int, 1)
	go func() {
		n := 0
		for ; inner.Err() == nil; n++ {
			if err := h.MaintainAll(inner); err != nil && inner.Err() == nil {
				h.t.Errorf("maintenance: %v", err)
			}
		}
		passes <- n
	}()
	return sync.OnceValue(func() int { cancel(); return <-passes })
}

// plainGit runs git on a repository of the record, from any goroutine.
func (h *house) plainGit(repository string, args ...string) string {
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "--git-dir=" + filepath.Join(h.dir, repository)}, args...)...)
	cmd.Env = isolated("/nonexistent")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// readByGit reads a ref without our lock; "" when it does not exist.
func (h *house) readByGit(repository, ref string) string {
	return strings.TrimSpace(h.plainGit(repository, "for-each-ref", "--format=%(objectname)", ref))
}

// request is a read of a ref, or a move from one value to another.
type request struct {
	ref      string
	move     bool
	old, new string
}

// answer is the value that was read, or whether the move was made.
type answer struct {
	value string
	moved bool
}

// registers is what refs are to those who use them: each holds one value, and
// moves only from the value that the mover knows.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, op := range history {
			ref := op.Input.(request).ref
			i, ok := at[ref]
			if !ok {
				i, at[ref] = len(parts), len(parts)
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		q, a := input.(request), output.(answer)
		switch {
		case !q.move:
			return a.value == state, state
		case a.moved:
			return q.old == state, q.new
		}
		return q.old != state, state
	},
}

// TestRegistersKnowALostUpdate shows that the model finds what the next test
// looks for.
func TestRegistersKnowALostUpdate(t *testing.T) {
	t.Parallel()
	operation := func(call, end int64, q request, a answer) porcupine.Operation {
		return porcupine.Operation{Input: q, Call: call, Output: a, Return: end}
	}
	moved := answer{moved: true}
	history := []porcupine.Operation{
		operation(1, 2, request{ref: "a", move: true, new: "1"}, moved),
		operation(3, 6, request{ref: "a", move: true, old: "1", new: "2"}, moved),
		operation(4, 5, request{ref: "a"}, answer{value: "2"}),
	}
	if !porcupine.CheckOperations(registers, history) {
		t.Error("a good history is refused")
	}
	history = append(history, operation(7, 8, request{ref: "a"}, answer{value: "1"}))
	if porcupine.CheckOperations(registers, history) {
		t.Error("a lost update is not found")
	}
}

// TestRefsAreLinearizable has eight clients move three refs, each from the
// value that it has read, while refs and packs are packed without a pause.
func TestRefsAreLinearizable(t *testing.T) {
	t.Parallel()
	const clients = 8
	start := time.Now()
	h := openStill(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "one"))
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	total := updates(t, 100)
	values, err := h.AddBlobs(flow, total+clients)
	check(t, err)
	kept := h.keptPacks()
	stop := h.maintained()

	refs := []string{"refs/test/a", "refs/tags/0.0.1", "refs/observed/deep/c"}
	var mu sync.Mutex
	var history []porcupine.Operation
	moves := map[string]int{}
	left := total
	record := func(client int, q request, do func() answer) answer {
		call := time.Since(start).Nanoseconds()
		a := do()
		end := time.Since(start).Nanoseconds()
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: client, Input: q, Call: call, Output: a, Return: end})
		if a.moved {
			moves[q.ref]++
			left--
		}
		return a
	}
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return left > 0
	}
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			for i := client; more() && !t.Failed(); i++ {
				ref := refs[i%len(refs)]
				read := record(client, request{ref: ref}, func() answer {
					if i%2 == 0 {
						return answer{value: h.readByGit("packages/flow.git", ref)}
					}
					value, err := h.ReadRef(flow, ref)
					if err != nil {
						t.Errorf("read: %v", err)
					}
					return answer{value: value}
				})
				next := values[slices.Index(values, read.value)+1]
				record(client, request{ref: ref, move: true, old: read.value, new: next}, func() answer {
					err := h.MoveRef(ctx, flow, gitcmd.RefUpdate{Ref: ref, Old: read.value, New: next})
					if err != nil && dm.KindOf(err) != dm.Stale {
						t.Errorf("move: %v", err)
					}
					return answer{moved: err == nil}
				})
			}
		})
	}
	running.Wait()
	passes := stop()

	if result := porcupine.CheckOperationsTimeout(registers, history, time.Minute); result != porcupine.Ok {
		t.Errorf("the history of %d operations is %s, want %s", len(history), result, porcupine.Ok)
	}
	lost := 0
	for _, ref := range refs {
		lost += moves[ref] - 1 - slices.Index(values, h.readByGit("packages/flow.git", ref))
	}
	if lost != 0 || passes < 3 {
		t.Errorf("%d of %d updates were lost in %d passes of maintenance", lost, total, passes)
	}
	t.Logf("%d updates among %d operations, %d passes of maintenance, %d lost", total, len(history), passes, lost)
	h.sameKept(kept)
}
