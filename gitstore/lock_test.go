package gitstore_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// messages is a log that tells when a message is written to it.
type messages struct {
	mu    sync.Mutex
	text  strings.Builder
	wrote chan struct{}
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case m.wrote <- struct{}{}:
	default:
	}
	return m.text.Write(p)
}

// TestOpenWaitsForTheFolder stands in the way as the git child of a killed
// server does: it holds the lock and goes by itself.
func TestOpenWaitsForTheFolder(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.stop()
	orphan, err := os.Open(filepath.Join(h.dir, "lock"))
	check(t, err)
	defer orphan.Close()
	check(t, syscall.Flock(int(orphan.Fd()), syscall.LOCK_EX))

	log := &messages{wrote: make(chan struct{}, 1)}
	var gone sync.WaitGroup
	gone.Go(func() {
		<-log.wrote // Open waits
		_ = syscall.Flock(int(orphan.Fd()), syscall.LOCK_UN)
	})
	open(t, h.dir, func(c *gitstore.Config) {
		c.LockWait, c.Log = time.Minute, slog.New(slog.NewTextHandler(log, nil))
	}).stop()
	gone.Wait()
	if got := log.text.String(); !strings.Contains(got, "waiting for it") || !strings.Contains(got, "free now") {
		t.Errorf("the log does not tell of the wait: %s", got)
	}
}

func TestOpenGivesTheWaitUp(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	tests := []struct {
		name string
		wait time.Duration
		ctx  func() (context.Context, context.CancelFunc)
		kind dm.Kind
		text string
	}{
		{"after its time", 50 * time.Millisecond, func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) },
			dm.Conflict, "in use by another process"},
		{"told to stop", time.Minute, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		}, dm.Unavailable, "interrupted while waiting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begin := time.Now() // before the context's time runs
			ctx, cancel := tt.ctx()
			defer cancel()
			cfg := h.Config
			cfg.LockWait = tt.wait
			_, err := gitstore.Open(ctx, cfg)
			wantKind(t, err, tt.kind, tt.text)
			if d := time.Since(begin); d < 50*time.Millisecond || d > 20*time.Second {
				t.Errorf("Open gave up after %v", d)
			}
		})
	}
}
