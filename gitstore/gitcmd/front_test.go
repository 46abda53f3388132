package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// slowPush is a push of which the pack does not go on until the test says so.
type slowPush struct {
	in    *io.PipeWriter
	ended chan error
}

// startSlow begins a push to a repository of its own.
func startSlow(t *testing.T, ctx context.Context, g *Git) slowPush {
	t.Helper()
	dir, one := newRepository(t, g)
	in, client := io.Pipe()
	p := slowPush{client, make(chan error, 1)}
	go func() {
		p.ended <- g.ReceivePack(ctx, dir, dm.ReceiveRound{In: in, Out: io.Discard}, ReceiveOptions{})
	}()
	begin := packet(strings.Repeat("0", 40)+" "+one+" refs/heads/x\x00 report-status") + "0000PACK\x00\x00\x00\x02\x00\x00\x00\x01"
	if _, err := io.WriteString(client, begin); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSlowPushHoldsNoSlot lets more pushes than there are slots arrive without
// an end. Another one meanwhile needs no slot of theirs.
func TestSlowPushHoldsNoSlot(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{Pushes: 1, Wait: patience}) // the two rounds of a push wait for each other
	ctx, cancel := context.WithCancel(t.Context())
	var slow []slowPush
	for range 5 {
		slow = append(slow, startSlow(t, ctx, g))
	}
	s := newStage(t, g, ReceiveOptions{})
	mustClient(t, workTree(t, 1), "push", "-q", s.url, "main")
	if running, waiting := g.Busy(Pushes); running != 0 || waiting != 0 {
		t.Errorf("%d run and %d wait, want none", running, waiting)
	}
	failed := errors.New("gone")
	_ = slow[0].in.CloseWithError(failed)
	if err := <-slow[0].ended; !errors.Is(err, failed) {
		t.Errorf("whose client fails: %v", err)
	}
	cancel()
	for _, p := range slow[1:] {
		if err := <-p.ended; dm.KindOf(err) != dm.Unavailable {
			t.Errorf("that is ended: %v", err)
		}
		_ = p.in.CloseWithError(failed)
	}
}

// TestFullDiskWhileAPushArrives tells it in git's own form.
func TestFullDiskWhileAPushArrives(t *testing.T) {
	t.Parallel()
	commands := packet(strings.Repeat("0", 40)+" "+strings.Repeat("1", 40)+" refs/heads/x\x00 report-status side-band-64k") + "0000"
	opts := ReceiveOptions{
		Watch: func(r io.Reader) io.Reader { return &overAt{r, 1 << 30} },
		Fault: func(err error) error {
			return dm.Errorf(dm.Unavailable, "test", "the disk is full").Because(err)
		},
	}
	for _, body := range []string{commands, commands + "PACK and more", commands + "no pack"} {
		full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		a := &arrived{file: full}
		var out bytes.Buffer
		if err = a.store(strings.NewReader(body), opts); err == nil && a.refused != nil {
			err = a.refuse(&out)
		}
		for _, want := range []string{"\x02the disk is full\n", "unpack the disk is full\n", "ng refs/heads/x the push could not be stored\n"} {
			if err != nil || !strings.Contains(out.String(), want) {
				t.Errorf("%q: %v, %q", body, err, out.String())
			}
		}
		a.close()
	}
}

// TestPushLeavesNoFile looks into the repository while a push arrives in it.
func TestPushLeavesNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, client := io.Pipe()
	type result struct {
		a   *arrived
		err error
	}
	taken := make(chan result, 1)
	go func() {
		a, err := takeIn(t.Context(), dir, in, ReceiveOptions{})
		taken <- result{a, err}
	}()
	_, _ = io.WriteString(client, packet("x")+"0000")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
	_ = client.Close()
	r := <-taken
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.a.close()
	if text, err := io.ReadAll(r.a); err != nil || string(text) != packet("x")+"0000" {
		t.Errorf("it holds %q, %v", text, err)
	}
}
