package hooks

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/hooks/hook"
)

func TestInstallProgram(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data", "hooks")
	for _, program := range []string{"/opt/old", "/opt/new"} { // the second replaces the first
		if err := installProgram(folder, program); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) != 1 {
			t.Fatalf("the folder holds %v, error %v; want one program", entries, err)
		}
		to, err := os.Readlink(filepath.Join(folder, entries[0].Name()))
		if err != nil || to != program || !hook.Called("/anywhere/"+entries[0].Name()) {
			t.Errorf("%s leads to %q, error %v; want %s", entries[0].Name(), to, err, program)
		}
		for _, left := range []string{"pre-receive", "post-receive"} { // of an earlier server; git would call them
			if err := os.Symlink("/opt/old", filepath.Join(folder, left)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := installProgram(folder, "/opt/new"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, error %v; want those of an earlier server gone", entries, err)
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder's mode is %v, error %v; want 0700", info.Mode(), err)
	}
	if hook.Called("/usr/bin/deployment-manager") {
		t.Error("the server's own name counts as a hook")
	}
}

// shortDir makes a folder whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dmt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestSocketPlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		folder string
		beside bool
	}{
		{"a short path", filepath.Join(shortDir(t), "hooks"), true},
		{"a long path", filepath.Join(t.TempDir(), strings.Repeat("long", 25), "hooks"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			temporary := shortDir(t)
			if err := os.MkdirAll(tt.folder, 0o700); err != nil {
				t.Fatal(err)
			}
			stale := leaveSocket(t, tt.folder, temporary)
			l, place, err := listen(tt.folder, temporary)
			if err != nil {
				t.Fatal(err)
			}
			if beside := filepath.Dir(place.socket) == tt.folder; beside != tt.beside || len(place.socket) > maxSocketPath {
				t.Errorf("the socket is %s, want beside the programs: %v", place.socket, tt.beside)
			}
			for path, want := range map[string]os.FileMode{place.socket: 0o600, filepath.Dir(place.socket): 0o700} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: mode %v, error %v; want %v", path, info, err, want)
				}
			}
			if _, err := os.Stat(stale); err == nil {
				t.Errorf("the socket of a killed server is left: %s", stale)
			}
			// A second server on the same folder does not hurt the first.
			second, secondPlace, err := listen(tt.folder, temporary)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("unix", place.socket)
			if err != nil {
				t.Fatalf("the first server cannot be reached: %v", err)
			}
			conn.Close()
			for _, s := range []struct {
				l     *net.UnixListener
				place socketPlace
			}{{l, place}, {second, secondPlace}} {
				if err := s.l.Close(); err != nil {
					t.Error(err)
				}
				if err := s.place.remove(); err != nil {
					t.Error(err)
				}
			}
			for _, dir := range []string{tt.folder, temporary} {
				if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
					t.Errorf("%s holds %v, error %v; want nothing", dir, left, err)
				}
			}
		})
	}
}

// leaveSocket leaves what a killed server of folder leaves.
func leaveSocket(t *testing.T, folder, temporary string) string {
	t.Helper()
	l, place, err := listen(folder, temporary)
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return place.socket
}

func TestNewPushServerChecks(t *testing.T) {
	t.Parallel()
	good := PushConfig{Folder: filepath.Join(t.TempDir(), "hooks"), Program: "/opt/dm", Events: newFakeStream()}
	for _, tt := range []struct {
		name   string
		change func(*PushConfig)
		want   string
	}{
		{"no folder", func(c *PushConfig) { c.Folder = "hooks" }, "folder"},
		{"no program", func(c *PushConfig) { c.Program = "" }, "program"},
		{"no events", func(c *PushConfig) { c.Events = nil }, "events"},
		{"a negative time", func(c *PushConfig) { c.Relay = -1 }, "negative"},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := NewPushServer(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	s, err := NewPushServer(good)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if _, err := os.Stat(s.place.socket); err == nil {
		t.Error("the socket is left after Close")
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run of a closed server says nothing")
	}
}
