package apihandlers

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of every HTTP server of ours.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// NewServer returns the HTTP server of one port. It has no read or write
// time-out of its own, because uploads and downloads may take long: the
// handlers set deadlines that roll with progress.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if own, ok := conn.(*connection); ok {
				return withConnection(ctx, own)
			}
			return ctx
		},
		// What net/http itself has to tell is about clients that break off.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
