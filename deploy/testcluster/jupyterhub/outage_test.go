package jupyterhub

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOutages: whatever of the Hub and the server is down, the user has a
// notebook server and keeps what is there.
func TestOutages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.hub.with(mounted(t, syncName))
	s.hub.start(t)

	// The server is down at the very first start.
	carol := signIn(t, s, "carol")
	carol.list(t, "")
	if got := carol.read(t, status); !strings.Contains(got, "unreachable") {
		t.Errorf("%s does not say that the server is unreachable:\n%s", status, got)
	}

	s.server.start(t)
	token, _ := s.token(t, "carol", scope)
	s.publish(t, "flow-report-1.0.0")
	s.create(t, token, "noon-run", "flow-report-1.0.0")
	carol.restartServer(t)
	carol.addCell(t, notebook, "my own work")

	t.Run("the server is down at a start", func(t *testing.T) {
		s.server.stop(t)
		carol.restartServer(t)
		wantOwnWork(t, carol)
		if got := carol.list(t, report); !slices.Contains(got, "data") {
			t.Errorf("what was delivered is gone: %q", got)
		}
	})
	t.Run("the server is back", func(t *testing.T) {
		s.server.start(t)
		s.create(t, token, "late-run", "flow-report-1.0.0")
		carol.restartServer(t)
		wantOwnWork(t, carol)
		if got := carol.list(t, folder); !slices.Contains(got, "late-run") {
			t.Errorf("the new application is not there: %q", got)
		}
	})
	t.Run("the Hub is down at a clone", func(t *testing.T) {
		wantUnavailable(t, s)
	})
	t.Run("the Hub is back", func(t *testing.T) {
		s.hub.start(t)
		// The server outlived the Hub, which answers before it has found all servers
		// again and told the proxy of them.
		eventually(t, waitForServer, func() error {
			if got, text := carol.do(t, http.MethodGet, carol.home+"/lab", nil); got != http.StatusOK {
				return fmt.Errorf("%s: want 200, got %d\n%s", carol.home, got, text)
			}
			return nil
		})
		pod := environOf(t, s.folder, "carol")
		if got := s.repository(t, "carol", "carol", pod["JUPYTERHUB_API_TOKEN"]); got != http.StatusOK {
			t.Errorf("the token of a server that outlived the Hub: want 200, got %d", got)
		}
		if err := refresh(t, pod); err != nil {
			t.Error(err)
		}
		wantOwnWork(t, carol)
	})
}

// wantUnavailable stops the Hub, and the server to make it forget, and refreshes
// from the notebook server that goes on.
func wantUnavailable(t *testing.T, s *site) {
	pod := environOf(t, s.folder, "carol")
	s.hub.stop(t)
	s.server.stop(t)
	s.server.start(t)
	if got, err := s.open("carol", "carol", pod["JUPYTERHUB_API_TOKEN"]); got != http.StatusServiceUnavailable {
		t.Errorf("a clone without the Hub: want 503, got %d, %v", got, err)
	}
	before := files(t, filepath.Join(pod["HOME"], folder))
	if err := refresh(t, pod); err != nil {
		t.Error(err)
	}
	if after := files(t, filepath.Join(pod["HOME"], folder)); !slices.Equal(before, after) {
		t.Errorf("the files changed: want %q, got %q", before, after)
	}
}

// refresh runs the script as in a terminal of the notebook server.
func refresh(t *testing.T, pod map[string]string) error {
	t.Helper()
	cmd := exec.Command("sh", absolute(t, syncScript))
	cmd.Dir = pod["HOME"]
	for name, value := range pod {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sync.sh: %w\n%s", err, output)
	}
	return nil
}

// files lists the user's files with their sizes and times, without git's and
// what tells the state.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() == "SYNC.md" {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		list = append(list, fmt.Sprintf("%s %d %v", path, info.Size(), info.ModTime()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
