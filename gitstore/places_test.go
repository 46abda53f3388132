package gitstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// briefly is the context of somebody who does not wait for long.
func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestDownloadsAreBounded holds the only place of a download.
func TestDownloadsAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *gitstore.Config) { c.Places.Downloads = 1 })
	h.deployed("ana", "flow-1.0.0", "x")
	f := file(t, "flow-1.0.0.tar.gz")
	first, err := h.OpenArchive(t.Context(), f)
	check(t, err)
	if _, err := h.OpenArchive(briefly(t), f); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("a second download: %v, want Unavailable", err)
	}
	if n, err := io.Copy(io.Discard, first); n != first.Size || err != nil {
		t.Errorf("the first: %d bytes, %v", n, err)
	}
	check(t, first.Close())
	again, err := h.OpenArchive(t.Context(), f)
	check(t, err)
	check(t, again.Close())
}

// TestUploadsAreBounded holds the only place of an upload by one that does not
// go on.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *gitstore.Config) { c.Places.Uploads = 1 })
	content := notebook("flow-1.0.0", "x")
	body, client := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := h.Publish(ctx, as("ana"), file(t, "slow-1.0.0.tar.gz"), body, -1)
		ended <- err
	}()
	if _, err := client.Write(content[:10]); err != nil { // taken, so it has its place
		t.Fatal(err)
	}
	_, err := h.Publish(briefly(t), as("ana"), file(t, "flow-1.0.0.tar.gz"), bytes.NewReader(content), int64(len(content)))
	if dm.KindOf(err) != dm.Unavailable {
		t.Errorf("a second upload: %v, want Unavailable", err)
	}
	_ = client.CloseWithError(errors.New("gone"))
	if err := <-ended; err == nil {
		t.Error("the first upload ended well")
	}
	h.publish("ana", "flow-1.0.0.tar.gz", content)
}

func TestPoolIsMeasured(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	open(t, t.TempDir(), func(c *gitstore.Config) { c.Registerer = registry })
	families, err := registry.Gather()
	check(t, err)
	found := map[string]int{}
	for _, f := range families {
		found[f.GetName()] = len(f.GetMetric())
	}
	if found["dm_git_processes"] != 7 || found["dm_git_waiting"] != 7 {
		t.Errorf("%v, want seven classes of each", found)
	}
}
