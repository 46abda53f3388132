package kube

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// client-go has one log for the whole program, which may be set only while nothing of
// it runs. So it is set once, to what hands on to the log that was asked for last.
var (
	clientLog atomic.Pointer[slog.Logger]
	catchKlog = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(quiet{})) })
)

// quietClient has what client-go logs go to log, none of it louder than debug: what
// matters of it comes back as an error and is told there.
func quietClient(log *slog.Logger) {
	clientLog.Store(log)
	catchKlog()
}

// quiet hands on to the log of the day, with what was added to it.
type quiet struct {
	added []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return clientLog.Load().Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	handler := clientLog.Load().Handler()
	for _, add := range q.added {
		handler = add(handler)
	}
	return handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return q.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler {
	return q.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (q quiet) with(add func(slog.Handler) slog.Handler) quiet {
	return quiet{append(slices.Clone(q.added), add)}
}
