package gitstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// hookless is git without hooks, which refuses every ref.
type hookless struct{}

func (hookless) Open(context.Context, dm.Push) (dm.PushSession, func(), error) {
	return dm.PushSession{}, func() {}, nil
}

var wind = dm.Repository{Kind: dm.PackageRepository, Name: "wind"}

// beginning is what a push says before its pack.
func beginning() string {
	return pushtest.Packet(pushtest.Zero+" "+strings.Repeat("1", 40)+" refs/tags/v1.0.0\x00 report-status") + pushtest.Flush
}

// slowPush is a push whose body does not go on until the test says so.
type slowPush struct {
	in    *io.PipeWriter
	out   bytes.Buffer // read it after ended
	ended chan error
}

// slow begins a push of client, with some bytes of its pack.
func (h *house) slow(client, pack string) *slowPush {
	h.t.Helper()
	in, w := io.Pipe()
	p := &slowPush{in: w, ended: make(chan error, 1)}
	go func() {
		p.ended <- h.ReceivePack(dm.WithClient(h.t.Context(), client), wind, dm.ReceiveRound{Actor: as("ana"), In: in, Out: &p.out})
	}()
	if _, err := io.WriteString(w, beginning()+pack); err != nil { // taken, so it has its place
		h.t.Fatal(err)
	}
	return p
}

// push is one that arrives at once, and returns what it is told.
func (h *house) push(ctx context.Context, client string) (string, error) {
	var out bytes.Buffer
	body := beginning() + string(pushtest.Pack(pushtest.ItemOf(pushtest.BlobOf("x"))))
	err := h.ReceivePack(dm.WithClient(ctx, client), wind, dm.ReceiveRound{Actor: as("ben"), In: strings.NewReader(body), Out: &out})
	return out.String(), err
}

func (h *house) wantNothingInTmp(when string) {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "tmp"))
	if err != nil || len(entries) > 0 {
		h.t.Errorf("%s: tmp has %v, %v", when, entries, err)
	}
}

func arriving(t *testing.T) *house {
	return open(t, t.TempDir(), func(c *gitstore.Config) {
		c.Pushes = hookless{}
		c.GitLimits = gitcmd.Limits{Pushes: 1}
		c.Places.Receiving = 8
	})
}

// packHead begins a pack of a number of objects.
func packHead(n byte) string { return "PACK\x00\x00\x00\x02" + string([]byte{n, 0, 0, 1}) }

// TestOneClientsPushesLeaveOthersAlone lets one client take all of the places
// that it may have.
func TestOneClientsPushesLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	h := arriving(t)
	slow := []*slowPush{h.slow("ana", packHead(0)), h.slow("ana", packHead(0))}
	_, err := h.push(briefly(t), "ana")
	if dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "too many pushes from this client in progress, try again later" {
		t.Errorf("one more of hers: %v", err)
	}
	if said, err := h.push(t.Context(), "ben"); err != nil || !strings.Contains(said, "ng refs/tags/v1.0.0") {
		t.Errorf("somebody else's: %q, %v", said, err)
	}
	gone := errors.New("gone")
	for _, p := range slow {
		_ = p.in.CloseWithError(gone)
		if err := <-p.ended; err == nil {
			t.Error("a push that broke off ended well")
		}
	}
	h.wantNothingInTmp("when they are gone")
	if said, err := h.push(t.Context(), "ana"); err != nil || said == "" {
		t.Errorf("hers afterwards: %q, %v", said, err)
	}
}

// TestPushesThatArriveAreBounded takes every place.
func TestPushesThatArriveAreBounded(t *testing.T) {
	t.Parallel()
	h := arriving(t)
	var slow []*slowPush
	for _, client := range []string{"a", "a", "b", "b", "c", "c", "d", "d"} {
		slow = append(slow, h.slow(client, packHead(0)))
	}
	_, err := h.push(briefly(t), "e")
	if dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "too many pushes in progress, try again later" {
		t.Errorf("one more: %v", err)
	}
	for _, p := range slow {
		_ = p.in.CloseWithError(errors.New("gone"))
		<-p.ended
	}
	h.wantNothingInTmp("when they are gone")
}

// TestPushIsRefusedWhileItArrives gets the answer before the rest of the body.
func TestPushIsRefusedWhileItArrives(t *testing.T) {
	t.Parallel()
	h := arriving(t)
	p := h.slow("ana", packHead(255))
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	want := "unpack the push has 4278190081 objects, at most"
	if !strings.Contains(p.out.String(), want) || !strings.Contains(p.out.String(), "ng refs/tags/v1.0.0 the push is too large") {
		t.Errorf("told %q, want %q", p.out.String(), want)
	}
	h.wantNothingInTmp("after the refusal")
}
