package events

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// full has every field set.
var full = dm.Event{
	Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Starting, Information: "two\nlines", Owner: "ana", Ref: "refs/heads/main",
	Old: dm.Revision(strings.Repeat("0f", 20)), New: dm.Revision(strings.Repeat("a1", 20)), Again: true,
	Stamp: dm.Stamp{
		Verb: dm.Change, User: "ana ", Auth: "token:1", Via: "push", Impersonator: "console", Reason: "why", RequestID: "req-1",
		Time: time.Date(2025, 1, 6, 10, 20, 30, 123456789, time.UTC),
	},
}

// at is a log whose first number follows last.
func at(last uint64) *Log {
	l := New()
	l.Saw(dm.Repository{Name: "a"}, last)
	l.Begin(0)
	return l
}

func TestEventsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	// A field that is added to events must be kept too.
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves %s out", v.Type().Field(i).Name)
		}
	}
	for v, i := reflect.ValueOf(full.Stamp), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Seq" {
			t.Errorf("the test leaves %s out", name)
		}
	}
	bare := dm.Event{Stamp: dm.Stamp{Time: full.Time}}
	for _, want := range []dm.Event{full, bare} {
		want.Seq = 7
		if got := unpack(7, pack(want)); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if got := unpack(1, pack(dm.Event{ID: "a\x00b", Information: "c\x00d", Owner: "ana"})); got.ID != "a b" || got.Information != "c d" || got.Owner != "ana" {
		t.Errorf("zero bytes: got %+v", got)
	}
}

// TestNoReaderSeesAGap lets writers reserve numbers, keep them for a while, and
// land or give up each, while readers follow. Whoever sees a number finds all
// smaller ones settled, sees every one that landed, and none twice.
func TestNoReaderSeesAGap(t *testing.T) {
	t.Parallel()
	const writers, each, readers, first = 8, 400, 4, 40
	last := uint64(first + writers*each)
	l := at(first)
	var settled, landed [first + writers*each + 1]atomic.Bool
	var working sync.WaitGroup
	for w := range writers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			var open []*Number
			end := func() {
				i := random.IntN(len(open))
				n := open[i]
				open = append(open[:i], open[i+1:]...)
				if settled[n.Seq()].Swap(true) {
					t.Errorf("%d was given twice", n.Seq())
				}
				if random.IntN(3) == 0 && n.Seq() != last { // the readers wait for the last
					n.GiveUp()
				} else {
					landed[n.Seq()].Store(true)
					n.Land(dm.Event{ID: fmt.Sprint(n.Seq())})
				}
				n.GiveUp() // as a deferred call does
			}
			for range each {
				open = append(open, l.Reserve())
				for random.IntN(2) == 0 && len(open) > 0 {
					end()
				}
			}
			for len(open) > 0 {
				end()
			}
		})
	}
	for range readers {
		working.Go(func() {
			for after := uint64(first); after < last; {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := l.Wait(ctx, after)
				cancel()
				if err != nil {
					t.Errorf("after %d: %v", after, err)
					return
				}
				list, _ := l.Read(after, 7)
				if len(list) == 0 {
					t.Errorf("nothing follows %d, and Wait returned", after)
					return
				}
				for _, e := range list {
					if e.ID != fmt.Sprint(e.Seq) || e.Seq <= after {
						t.Errorf("after %d: got %+v", after, e)
					}
					for n := after + 1; n <= e.Seq; n++ {
						if !settled[n].Load() || landed[n].Load() != (n == e.Seq) {
							t.Errorf("%d was told before %d was settled, or in its place", e.Seq, n)
						}
					}
					after = e.Seq
				}
			}
		})
	}
	working.Wait()
	if got := l.Told(); got != last || len(l.settled) != 0 {
		t.Errorf("told up to %d with %d open, want %d and none", got, len(l.settled), last)
	}
}

func TestTheNewestAreKept(t *testing.T) {
	t.Parallel()
	l := at(10)
	l.most, l.mostBytes = 3, 10_000
	land := func(information string) {
		n := l.Reserve()
		n.Land(dm.Event{Information: information})
	}
	for range 5 {
		land("")
	}
	for after, want := range map[uint64]int{10: 0, 11: 0, 12: 3, 13: 2, 15: 0, 99: 0} {
		if list, from := l.Read(after, 100); len(list) != want || from != 12 {
			t.Errorf("after %d: %d events from %d, want %d from 12", after, len(list), from, want)
		}
	}
	if list, _ := l.Read(12, 2); len(list) != 2 || list[1].Seq != 14 {
		t.Errorf("a page of two: %+v", list)
	}
	land(strings.Repeat("x", 9_800))
	land(strings.Repeat("y", 300))
	if list, from := l.Read(16, 100); len(list) != 1 || from != 16 || l.bytes > l.mostBytes {
		t.Errorf("%d events with %d bytes from %d, want the last one", len(list), l.bytes, from)
	}
	land(strings.Repeat("z", 20_000)) // more than all may have
	if list, from := l.Read(18, 100); len(list) != 0 || from != 18 || l.bytes != 0 {
		t.Errorf("%d events with %d bytes from %d, want none", len(list), l.bytes, from)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := at(0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Wait(ctx, 0) }()
	l.Reserve().GiveUp() // tells of nothing
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkMemory tells what an event like those of the record takes.
func BenchmarkMemory(b *testing.B) {
	e := full
	e.Information, e.Reason, e.Impersonator, e.RequestID = "", "", "", strings.Repeat("4f", 12)
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := at(0)
		for range 2 * kept {
			l.Reserve().Land(e)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/kept, "bytes/event")
		runtime.KeepAlive(l)
	}
}

func TestNumbersFollowWhatWasSeen(t *testing.T) {
	t.Parallel()
	l := New()
	a, b := dm.Repository{Kind: dm.PackageRepository, Name: "a"}, dm.Repository{Kind: dm.PackageRepository, Name: "b"}
	if !l.Saw(a, 7) || l.Saw(a, 7) || !l.Saw(b, 9) || l.Saw(b, 0) {
		t.Error("Saw does not tell what is news")
	}
	l.Begin(109)
	n := l.Reserve()
	if got := n.Seq(); got != 110 || l.Newest() != 9 || l.Told() != 109 {
		t.Errorf("the first number is %d after %d, want 110 after 9", got, l.Newest())
	}
	l.Reserve().Land(dm.Event{ID: "of no record"})
	n.LandIn(a, dm.Event{ID: "x", Ref: "refs/x"})
	if l.Newest() != 110 || l.Told() != 111 {
		t.Errorf("the newest is %d of %d, want 110 of 111", l.Newest(), l.Told())
	}
	for after, want := range map[uint64]int{6: 2, 9: 1, 109: 1, 110: 0} {
		if got := l.Above(after); len(got) != want {
			t.Errorf("above %d: %v, want %d", after, got, want)
		}
	}
}

// TestNumbersFollowWhatIsReadLate: a repository that could not be read at the start
// is read while the log is in use, and has numbers above those that were given.
func TestNumbersFollowWhatIsReadLate(t *testing.T) {
	t.Parallel()
	late := dm.Repository{Kind: dm.PackageRepository, Name: "late"}
	l := at(10)
	open := l.Reserve() // 11
	l.Reserve().Land(dm.Event{ID: "12"})
	if !l.Saw(late, 12) || !l.Saw(late, 40) {
		t.Error("Saw does not tell what is news")
	}
	if n := l.Reserve(); n.Seq() != 41 || l.Told() != 10 {
		t.Errorf("after 40 was seen comes %d, and %d was told while 11 is open", n.Seq(), l.Told())
	} else {
		n.LandIn(late, dm.Event{ID: "41", Ref: "refs/x"})
	}
	open.GiveUp()
	if l.Told() != 41 || l.Newest() != 41 || len(l.settled) != 0 {
		t.Errorf("told up to %d, the newest is %d with %d open; want 41", l.Told(), l.Newest(), len(l.settled))
	}
	// Who is below must read what the late one has from the record.
	for after, want := range map[uint64]int{10: 0, 12: 0, 39: 0, 40: 1, 41: 0} {
		if list, from := l.Read(after, 10); len(list) != want || from != 40 {
			t.Errorf("after %d: %d events from %d, want %d from 40", after, len(list), from, want)
		}
	}
	if got := l.Above(39); len(got) != 1 || got[0] != late {
		t.Errorf("above 39: %v", got)
	}

	l = at(10)
	woken := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { woken <- l.Wait(ctx, 10) }()
	l.Saw(late, 20)
	if err := <-woken; err != nil {
		t.Error(err)
	}
}
