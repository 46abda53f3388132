package gitcmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// overAt refuses a pack after so many bytes.
type overAt struct {
	r    io.Reader
	left int64
}

func (o *overAt) Read([]byte) (int, error) { panic("it is read by WriteTo") }

func (o *overAt) WriteTo(w io.Writer) (int64, error) {
	n, err := io.CopyN(w, o.r, o.left)
	if err == io.EOF {
		return n, nil
	}
	return n, dm.Errorf(dm.TooLarge, "test", "the pack is over").WithHint("push less")
}

// TestRefusedWhileItArrives ends pushes in the middle of the pack, as a real
// client sees it.
func TestRefusedWhileItArrives(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	for _, at := range []int64{0, 12, 50_000, 99_999} {
		s := newStage(t, g, ReceiveOptions{Watch: func(r io.Reader) io.Reader { return &overAt{r, at} }})
		dir := workTree(t, 1)
		out, err := client(t, dir, "push", "-o", "reason=x", s.url, "main", "main:other")
		for _, want := range []string{
			"remote: the pack is over; push less", "remote unpack failed: the pack is over",
			"[remote rejected] main -> main (the push is too large)", "[remote rejected] main -> other (the push is too large)",
		} {
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("at %d: %v\n%s\nwant %q in it", at, err, out, want)
			}
		}
		for range 2 {
			if err := <-s.errs; err != nil {
				t.Errorf("at %d: ReceivePack: %v", at, err)
			}
		}
		if loose, packs := s.objects(); loose != "0" || packs != "0" {
			t.Errorf("at %d: %s loose objects and %s packs are left", at, loose, packs)
		}
		if refs := output(t, g, s.dir, "", "for-each-ref"); refs != "" {
			t.Errorf("at %d: refs %s", at, refs)
		}
	}
}

// TestWatchedPushArrives lets a push pass that is watched and small enough.
func TestWatchedPushArrives(t *testing.T) {
	t.Parallel()
	s := newStage(t, newGit(t), ReceiveOptions{Watch: func(r io.Reader) io.Reader { return &overAt{r, 1 << 30} }})
	mustClient(t, workTree(t, 2), "push", "-q", "-o", "reason=x", s.url, "main")
	if _, packs := s.objects(); packs != "1" {
		t.Errorf("%s packs, want 1", packs)
	}
}

// TestNoPackPassesUnwatched ends the commands, or the options, with each of the
// packets that git takes for their end.
func TestNoPackPassesUnwatched(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir := workTree(t, 1)
	id := mustClient(t, dir, "rev-parse", "HEAD")
	var pack bytes.Buffer
	if err := g.Run(t.Context(), filepath.Join(dir, ".git"), strings.NewReader(id), &pack, "pack-objects", "--revs", "--stdout", "-q"); err != nil {
		t.Fatal(err)
	}
	command := strings.Repeat("0", 40) + " " + id + " refs/tags/v1.0.0\x00 report-status"
	for _, before := range []string{
		packet(command) + "0000", packet(command) + "0001", packet(command) + "0002",
		packet(command+" push-options") + "0000" + packet("reason=x") + "0001",
		packet(command+" push-options") + "0000" + packet("reason=x") + "0002",
		packet(command+" push-options") + "0001" + packet("reason=x") + "0000",
	} {
		s := newStage(t, g, ReceiveOptions{Watch: func(r io.Reader) io.Reader { return &overAt{r, 0} }})
		var out bytes.Buffer
		err := g.ReceivePack(t.Context(), s.dir, dm.ReceiveRound{In: strings.NewReader(before + pack.String()), Out: &out}, s.opts)
		if dm.KindOf(err) != dm.Invalid && !strings.Contains(out.String(), "the pack is over") {
			t.Errorf("%q: %v, %q", before, err, out.String())
		}
		if loose, packs := s.objects(); loose != "0" || packs != "0" || exists(s.seen) {
			t.Errorf("%q: %s loose objects, %s packs, hook called: %v", before, loose, packs, exists(s.seen))
		}
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func TestReportTakesTheFormThatIsAskedFor(t *testing.T) {
	t.Parallel()
	why := dm.Errorf(dm.TooLarge, "test", "over")
	line := func(ref, abilities string) string {
		return packet(strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " " + ref + abilities)
	}
	status := packet("unpack over\n") + packet("ng refs/heads/a the push is too large\n") + packet("ng refs/heads/b the push is too large\n") + "0000"
	for abilities, want := range map[string]string{
		"":                                   "",
		"\x00 side-band-64k":                 "",
		"\x00report-status":                  status,
		"\x00 report-status-v2 agent=x":      status,
		"\x00 report-status side-band-64k\n": packet("\x02over\n") + packet("\x01"+status) + "0000",
	} {
		got := report([]byte(line("refs/heads/a", abilities)+line("refs/heads/b", "")+"0000"), why)
		if string(got) != want {
			t.Errorf("%q: %q, want %q", abilities, got, want)
		}
	}
	for _, junk := range []string{"", "zzzz", "ffff", "0004", "0001"} {
		if got := report([]byte(junk), why); got != nil {
			t.Errorf("%q: %q", junk, got)
		}
	}
	many := bytes.Repeat([]byte(line("refs/heads/"+strings.Repeat("x", 200), "\x00report-status side-band-64k")), 1000)
	for rest := report(many, why); string(rest) != "0000"; {
		n := 0
		for _, c := range rest[:4] {
			n = n*16 + strings.IndexByte("0123456789abcdef", c)
		}
		if n < 5 || n > 65520 || n > len(rest) {
			t.Fatalf("a packet of %d bytes", n)
		}
		rest = rest[n:]
	}
}
