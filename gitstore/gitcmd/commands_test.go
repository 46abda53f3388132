package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// running tells whether a process of the group pid still runs. A zombie does
// not: nobody may be there to reap an orphan in a container.
func running(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state parent group …
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if fields[2] == strconv.Itoa(pid) && fields[0] != "Z" {
			return true
		}
	}
	return false
}

// patience is how long a test waits for what takes a second or two where nothing
// else runs. What hangs, hangs for longer.
const patience = 20 * time.Second

// gone waits until no process of the group pid is left.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for running(t, pid) {
		if time.Now().After(deadline) {
			t.Fatalf("the process group %d is still there after %v", pid, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCancelEndsTheGroup(t *testing.T) {
	t.Parallel()
	// Each says "ready" when it can be ended as its name tells.
	tests := []struct{ name, script string }{
		{"obedient", "echo ready; sleep 60"},
		{"deaf to SIGTERM, with a child", "trap '' TERM; sleep 60 & echo ready; sleep 60; sleep 60"},
		{"child outlives its parent", "(trap '' TERM; echo ready; sleep 60) & sleep 60"},
	}
	g := newGit(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			p, err := g.prepare(ctx, command{class: Looks, args: []string{"-c", "alias.hang=!" + tt.script, "hang"}})
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.cmd.StdoutPipe()
			if err == nil {
				err = p.launch()
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			cancel()
			if err := p.wait(); err == nil {
				t.Error("wait returned nil after a cancellation")
			}
			gone(t, p.cmd.Process.Pid)
			if d := time.Since(begin); d > patience {
				t.Errorf("the group was gone after %v, want two seconds where nothing else runs", d)
			}
		})
	}
}

func TestRunCancelled(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := g.Run(ctx, "", nil, nil, "-c", "alias.hang=!sleep 60", "hang")
	if dm.KindOf(err) != dm.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
}

func TestFsck(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one}); err != nil {
		t.Fatal(err)
	}
	for _, full := range []bool{false, true} {
		if got, err := g.Fsck(t.Context(), dir, full); err != nil || len(got) != 0 {
			t.Errorf("sound repository, full %v: %q, %v", full, got, err)
		}
	}
	blob := output(t, g, dir, "", "rev-parse", one+":f")
	if err := os.Remove(filepath.Join(dir, "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	for _, full := range []bool{false, true} {
		got, err := g.Fsck(t.Context(), dir, full)
		if err != nil || !strings.Contains(strings.Join(got, "\n"), "missing blob "+blob) {
			t.Errorf("missing blob, full %v: %q, %v", full, got, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "HEAD")); err != nil {
		t.Fatal(err)
	}
	got, err := g.Fsck(t.Context(), dir, true)
	if err != nil || len(got) != 1 || strings.Contains(got[0], dir) {
		t.Errorf("no repository: %q, %v; want one line without the path", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Fsck(ctx, dir, true); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRepackSmallLeavesKeptPacks(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	output(t, g, dir, "", "repack", "-q", "-a", "-d")
	pack := func(content string) string {
		oid := output(t, g, dir, content, "hash-object", "-w", "--stdin")
		return output(t, g, dir, oid, "pack-objects", "-q", filepath.Join(dir, "objects", "pack", "pack"))
	}
	kept := filepath.Join(dir, "objects", "pack", "pack-"+pack("kept\n"))
	if err := os.WriteFile(kept+".keep", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"a\n", "b\n", "c\n"} {
		pack(content)
	}
	tip := newCommit(t, g, dir, "tip\n")
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: tip}, RefUpdate{Ref: "refs/heads/old", New: one}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.RepackSmall(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 2 {
		t.Errorf("packs are %q, want the kept one and one more", packs)
	}
	if _, err := os.Stat(kept + ".pack"); err != nil {
		t.Errorf("the kept pack: %v", err)
	}
	if got := output(t, g, dir, "", "count-objects"); !strings.HasPrefix(got, "0 objects") {
		t.Errorf("loose objects are left: %s", got)
	}
	if got, err := g.Fsck(t.Context(), dir, true); err != nil || len(got) != 0 {
		t.Errorf("fsck: %q, %v", got, err)
	}
}

func TestUploadPackAdvertises(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one}); err != nil {
		t.Fatal(err)
	}
	for protocol, want := range map[string]string{"": one + " HEAD\x00", "version=1": "000eversion 1\n", "version=2": "000eversion 2\n"} {
		var out bytes.Buffer
		err := g.UploadPack(t.Context(), dir, dm.UploadRound{Advertise: true, Protocol: protocol, Out: &out})
		if err != nil || !strings.Contains(out.String()[:min(100, out.Len())], want) {
			t.Errorf("protocol %q: %q, %v; want %q in it", protocol, out.String(), err, want)
		}
		if strings.Contains(out.String(), "filter") || strings.Contains(out.String(), "allow-") {
			t.Errorf("protocol %q advertises what is switched off: %q", protocol, out.String())
		}
	}
	err := g.UploadPack(t.Context(), dir, dm.UploadRound{Advertise: true, Protocol: "version=2:x\ny", Out: io.Discard})
	if dm.KindOf(err) != dm.Invalid {
		t.Errorf("an odd protocol: %v", err)
	}
}

func TestUploadPackOfBadRequests(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one}); err != nil {
		t.Fatal(err)
	}
	fetch := func(arguments ...string) string {
		text := packet("command=fetch") + "0001"
		for _, a := range arguments {
			text += packet(a)
		}
		return text + packet("want "+one) + packet("done") + "0000"
	}
	unknown := strings.Repeat("1", 40)
	tests := []struct{ name, protocol, in string }{
		{"nothing", "", ""},
		{"no length", "", "zzzz"},
		{"cut off", "", "0032want " + unknown[:10]},
		{"not a want", "", "0008junk"},
		{"unknown want", "", "0032want " + unknown + "\n0000"},
		{"unknown want", "version=2", "0011command=fetch00010032want " + unknown + "\n0009done\n0000"},
		{"unknown command", "version=2", "0010command=junk0000"},
		{"unknown capability", "version=2", "0008junk0000"},
		{"unknown argument of a fetch", "version=2", fetch("want-everything")},
		{"argument that is switched off", "version=2", fetch("filter blob:none")},
		{"an argument of another command", "version=2", fetch("ref-prefix refs/")},
		{"unknown argument of ls-refs", "version=2", packet("command=ls-refs") + "0001" + packet("peel-all") + "0000"},
		{"no flush after ls-refs", "version=2", packet("command=ls-refs") + "0001" + packet("peel") + "0001"},
		{"no flush after fetch", "version=2", packet("command=fetch") + "0001" + packet("done") + "0001"},
		{"the end of a response", "version=2", packet("command=fetch") + "0001" + packet("done") + "0002"},
		{"two commands", "version=2", packet("command=fetch") + packet("command=ls-refs") + "0000"},
		{"no command", "version=2", packet("agent=x") + "0000"},
		{"another object format", "version=2", packet("command=fetch") + packet("object-format=sha256") + "0001" + packet("done") + "0000"},
		{"object format that is none", "version=2", packet("command=fetch") + packet("object-format=md5") + "0001" + packet("done") + "0000"},
		{"deepen to nothing", "version=2", fetch("deepen 0")},
		{"deepen to a word", "version=2", fetch("deepen x")},
		{"deepen below nothing", "version=2", fetch("deepen -5")},
		{"deepen since a word", "version=2", fetch("deepen-since x")},
		{"deepen not what is not there", "version=2", fetch("deepen-not refs/heads/none")},
		{"deepen twice", "version=2", fetch("deepen 1", "deepen-since 1")},
		{"want of a word", "version=2", fetch("want main")},
		{"have of a word", "version=2", fetch("want "+one, "have main")},
		{"shallow of a word", "version=2", fetch("shallow main")},
		{"ref that is not there", "version=2", fetch("want-ref refs/heads/none")},
		{"a line that is too long", "version=2", "fff1" + strings.Repeat("x", 0xfff1-4) + "0000"},
		{"a length of 3", "version=2", "0003"},
		{"shallow of a word", "", packet("want "+one+" shallow\n") + packet("shallow main") + "0000"},
		{"deepen to a word", "", packet("want "+one+" shallow\n") + packet("deepen x") + "0000"},
		{"filter", "", packet("want "+one+" filter\n") + packet("filter blob:none") + "0000"},
	}
	for _, tt := range tests {
		t.Run(tt.name+tt.protocol, func(t *testing.T) {
			err := g.UploadPack(t.Context(), dir, dm.UploadRound{Protocol: tt.protocol, In: strings.NewReader(tt.in), Out: io.Discard})
			if dm.KindOf(err) != dm.Invalid {
				t.Errorf("kind %q, want %q: %v", dm.KindOf(err), dm.Invalid, err)
			}
		})
	}
	if err := os.Remove(filepath.Join(dir, "HEAD")); err != nil {
		t.Fatal(err)
	}
	err := g.UploadPack(t.Context(), dir, dm.UploadRound{Advertise: true, Out: io.Discard})
	if dm.KindOf(err) != dm.Internal {
		t.Errorf("a damaged repository: kind %q, want %q: %v", dm.KindOf(err), dm.Internal, err)
	}
}

// TestUploadPackDoesNotWaitForTheClient gives a request that git refuses, from
// a client that never sends the end of it.
func TestUploadPackDoesNotWaitForTheClient(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, _ := newRepository(t, g)
	in, client := io.Pipe()
	defer client.Close()
	go func() { _, _ = client.Write([]byte("zzzz")) }()
	done := make(chan error, 1)
	go func() {
		done <- g.UploadPack(t.Context(), dir, dm.UploadRound{In: in, Out: io.Discard})
	}()
	select {
	case err := <-done:
		if dm.KindOf(err) != dm.Invalid {
			t.Errorf("UploadPack: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("UploadPack waits for the rest of the request")
	}
}

// doorway is a client that takes nothing until it is opened.
type doorway struct {
	open chan struct{}
	got  bytes.Buffer
}

func (g *doorway) Write(p []byte) (int, error) {
	<-g.open
	return g.got.Write(p)
}

// TestSlowReaderGetsAll opens the doorway long after git ended. git's output fits
// the pipe, so that git itself does not wait.
func TestSlowReaderGetsAll(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	out := &doorway{open: make(chan struct{})}
	time.AfterFunc(waitDelay+300*time.Millisecond, func() { close(out.open) })
	if err := g.Run(t.Context(), "", nil, out, "version"); err != nil || !strings.Contains(out.got.String(), g.version) {
		t.Errorf("got %q, %v", out.got.String(), err)
	}
}

// TestDeafReaderIsLeft cancels while the output is stuck.
func TestDeafReaderIsLeft(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	out := &doorway{open: make(chan struct{})}
	defer close(out.open)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := g.Run(ctx, "", nil, out, "version"); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("Run: %v", err)
	}
	if d := time.Since(begin); d > patience {
		t.Errorf("Run returned after %v", d)
	}
}

// TestFailingReaderEndsGit stops reading an endless output.
func TestFailingReaderEndsGit(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	r, w := io.Pipe()
	_ = r.CloseWithError(errors.New("gone"))
	err := g.Run(t.Context(), "", nil, w, "-c", "alias.endless=!yes", "endless")
	if dm.KindOf(err) != dm.Internal {
		t.Errorf("Run: %v", err)
	}
}
