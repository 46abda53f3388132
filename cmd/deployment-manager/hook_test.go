package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHookProgram: the server takes the small program beside it, and says so
// when it has to be the hook itself.
func TestHookProgram(t *testing.T) {
	t.Parallel()
	self := filepath.Join(t.TempDir(), "deployment-manager")
	small := self + "-hook"
	for _, tt := range []struct {
		mode os.FileMode // of the small program, 0 for none
		want string
	}{{0, self}, {0o644, self}, {0o755, small}} {
		if tt.mode != 0 {
			if err := os.WriteFile(small, nil, tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(small, tt.mode); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		got := hookProgram(self, slog.New(slog.NewTextHandler(&log, nil)))
		if told := strings.Contains(log.String(), "missing="+small); got != tt.want || told != (got == self) {
			t.Errorf("mode %v: the hook is %s, want %s; told %q", tt.mode, got, tt.want, &log)
		}
	}
}
