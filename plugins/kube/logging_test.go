package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestClientLog holds that what client-go logs is heard by who asked last, and never
// louder than debug. It is alone: the log is the program's.
func TestClientLog(t *testing.T) {
	var first, last bytes.Buffer
	quietClient(slog.New(slog.NewTextHandler(&first, &slog.HandlerOptions{Level: slog.LevelDebug})))
	of := slog.New(quiet{}).With("of", "reflector").WithGroup("in")
	quietClient(slog.New(slog.NewTextHandler(&last, &slog.HandlerOptions{Level: slog.LevelDebug})))
	of.Error("watch failed", "why", "gone")
	if got, want := last.String(), "level=DEBUG msg=\"watch failed\" of=reflector in.why=gone"; !strings.Contains(got, want) || first.Len() > 0 {
		t.Errorf("the last heard %q and the first %q, want %q and nothing", got, first.String(), want)
	}
	quietClient(slog.New(slog.NewTextHandler(&first, nil)))
	of.Error("watch failed")
	if first.Len() > 0 {
		t.Errorf("who wants no debug hears %q", first.String())
	}
}
