package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestShareDescriptors: what connections get of the files that may be open, and
// what is said.
func TestShareDescriptors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit           uint64
		asked, askedOne int
		all, one        int
		kind            dm.Kind
		says            string
	}{
		{63, 0, 0, 0, 0, dm.Unavailable, "the limit of open files is 63, and the server needs 64"},
		{64, 0, 0, 8, 2, "", "limit of open files is low"},
		{100, 0, 0, 44, 11, "", "limit of open files is low"},
		{256, 0, 0, 128, 32, "", "limit of open files is low"},
		{1023, 0, 0, 512, 128, "", "limit of open files is low"},
		{1024, 0, 0, 512, 128, "", ""},
		{20000, 0, 0, 4096, 1024, "", ""},
		{1 << 62, 0, 0, 4096, 1024, "", ""},
		{20000, 10000, 50, 10000, 50, "", ""},
		{20000, 0, 5000, 4096, 5000, "", ""},
		{1024, 968, 0, 968, 242, "", ""},
		{1024, 969, 0, 0, 0, dm.Invalid, "limits.connections is 969, but of the limit of 1024 open files"},
		{20000, 3, 0, 3, 1, "", ""},
	} {
		var log bytes.Buffer
		all, one, err := shareDescriptors(config{LimitConnections: c.asked, LimitPerAddress: c.askedOne}, c.limit, slog.New(slog.NewTextHandler(&log, nil)))
		said := log.String()
		if err != nil {
			said += dm.Public(err)
		}
		if all != c.all || one != c.one || dm.KindOf(err) != c.kind || !strings.Contains(said, c.says) || c.says == "" && said != "" {
			t.Errorf("%d files, %d and %d asked: got %d, %d, %q; want %d, %d, %q", c.limit, c.asked, c.askedOne, all, one, said, c.all, c.one, c.says)
		}
	}
}

// TestHarmlessClones: more clones at once than there are places is no error for
// any of them, also where only 64 files may be open; and nothing of the record is
// taken for damaged meanwhile. DM_TEST_HOSTILE=all takes a thousand.
func TestHarmlessClones(t *testing.T) {
	t.Parallel()
	clones := map[string]int{"64": 12}
	if os.Getenv("DM_TEST_HOSTILE") == "all" {
		clones = map[string]int{"64": 200, "": 1000}
	}
	for files, n := range clones {
		h := &house{t: t, folder: t.TempDir(), login: func(string) string { return "" }}
		var err error
		h.runningServer, err = launch(h.folder, h.data(), isolated(h.folder, "GORACE="+os.Getenv("GORACE"), filesVariable+"="+files), []string{"--auth", "insecure-pnda"})
		must(t, err)
		h.publish("ana", "flow-report-1.0.0")
		h.create("ana", "noon", "flow-report-1.0.0")
		address := h.url("git", "", "/jupyter-ana")
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				clone := exec.CommandContext(t.Context(), "git", "clone", "-q", address, filepath.Join(h.folder, fmt.Sprint("clone-", i)))
				clone.Env = isolated(h.folder)
				if out, err := clone.CombinedOutput(); err != nil {
					t.Errorf("%s files, clone %d of %d: %v %s", files, i, n, err, out)
				}
			})
		}
		all.Wait()
		h.change("ana", "noon", "flow-report-1.0.0")
		if left, _ := filepath.Glob(filepath.Join(h.data(), "damaged", "*", "*")); len(left) != 0 {
			t.Errorf("%s files: set aside: %v", files, left)
		}
		text, err := os.ReadFile(filepath.Join(h.folder, "server.log"))
		must(t, err)
		if said := bytes.Contains(text, []byte("limit of open files is low")); said != (files != "") {
			t.Errorf("%q files: the log tells of few: %v", files, said)
		}
		h.stop()
	}
}
