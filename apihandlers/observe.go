package apihandlers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// exchange is what the access line will tell of one request. It belongs to the
// goroutine that serves the request.
type exchange struct {
	route string
	user  dm.UserName
	// impersonator is the service that acts for user, "" for none.
	impersonator dm.UserName
	err          error // of a 5xx only
	quiet        bool  // a probe: told at debug level
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// SetRoute names the route for metrics and the access line. name must come
// from a closed set.
func SetRoute(ctx context.Context, name string) { exchangeOf(ctx).route = name }

// SetUser names the user for the access line.
func SetUser(ctx context.Context, u dm.UserName) { exchangeOf(ctx).user = u }

// NoteError keeps err for the access line, where 5xx answers tell their cause.
// For handlers that do not answer by returning an error.
func NoteError(ctx context.Context, err error) { exchangeOf(ctx).err = err }

func noteError(ctx context.Context, status int, err error) {
	if status >= http.StatusInternalServerError {
		NoteError(ctx, err)
	}
}

// answerTime bounds the writing of an answer that does not stream, and the
// wait for a body that nobody reads.
const answerTime = 60 * time.Second

// observer is the outermost middleware: one request id, one access line and
// one count per request, and a panic is a 500.
type observer struct {
	server  string
	log     *slog.Logger
	metrics *Metrics
	errors  ErrorBody
	next    http.Handler
}

func (o *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	id := requestID(r.Header.Get("X-Request-Id"))
	x := &exchange{route: "other"}
	ctx := context.WithValue(dm.WithRequestID(r.Context(), id), exchangeKey{}, x)
	r = r.WithContext(ctx)
	rec := &recorder{ResponseWriter: w}
	rec.Header().Set("X-Request-Id", id)
	rec.Header().Set("X-Content-Type-Options", "nosniff")

	defer func() {
		fault := recover()
		if fault != nil {
			o.recovered(rec, r, x, fault)
		}
		o.tell(r, rec, x, id, time.Since(start))
		if fault != nil && rec.broken {
			panic(http.ErrAbortHandler) // the answer had begun: cut the connection
		}
	}()
	o.next.ServeHTTP(rec, r)
	rec.begin() // of an answer without a word
}

// recovered answers a panic. ErrAbortHandler is a handler's own way to cut the
// connection and is passed on.
func (o *observer) recovered(rec *recorder, r *http.Request, x *exchange, fault any) {
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		rec.broken = true
		return
	}
	err := fmt.Errorf("panic: %v", fault)
	o.log.Error("handler panicked", "server", o.server, "route", x.route, "request_id", dm.RequestID(r.Context()),
		"err", err, "stack", string(debug.Stack()))
	if rec.status != 0 {
		x.err, rec.broken = err, true
		return
	}
	WriteError(rec, r, o.errors, dm.Wrap("serve", err))
}

func (o *observer) tell(r *http.Request, rec *recorder, x *exchange, id string, took time.Duration) {
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	o.metrics.observe(o.server, x.route, status, rec.broken, took)
	level := slog.LevelInfo
	switch {
	case x.err != nil:
		level = slog.LevelError
	case x.quiet && status < http.StatusBadRequest:
		level = slog.LevelDebug
	}
	// Neither path, query nor header: they hold what clients put there.
	attrs := []slog.Attr{
		slog.String("server", o.server), slog.String("method", methodLabel(r.Method)), slog.String("route", x.route),
		slog.Int("status", status), slog.Int64("bytes", rec.bytes), slog.Duration("duration", took),
		slog.String("user", string(x.user)), slog.String("request_id", id),
	}
	if x.impersonator != "" {
		attrs = append(attrs, slog.String("impersonator", string(x.impersonator)))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("err", x.err.Error()))
	}
	o.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// methodLabel keeps methods that clients invent out of the log.
func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return m
	}
	return "other"
}

// requestID accepts a sane id from the client, so that one id can follow a
// change through several services, and makes one otherwise.
func requestID(offered string) string {
	if saneID(offered) {
		return offered
	}
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

func saneID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// recorder remembers status and bytes. It keeps io.ReaderFrom, with which the
// kernel can copy a file to the connection, and Unwrap for
// http.ResponseController.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the answer has begun
	bytes  int64
	broken bool // the connection must be cut
	bound  bool // the answer has answerTime from its beginning
}

func (rec *recorder) WriteHeader(status int) {
	// 1xx answers come before the real one.
	if rec.status == 0 && status >= http.StatusOK {
		rec.beginAs(status)
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	rec.begin()
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes += int64(n)
	return n, err
}

func (rec *recorder) ReadFrom(src io.Reader) (int64, error) {
	rec.begin()
	n, err := io.Copy(rec.ResponseWriter, src)
	rec.bytes += n
	return n, err
}

func (rec *recorder) begin() {
	if rec.status == 0 {
		rec.beginAs(http.StatusOK)
	}
}

func (rec *recorder) beginAs(status int) {
	rec.status = status
	if rec.bound {
		// An error means that this is no network connection; then nothing waits.
		_ = http.NewResponseController(rec.ResponseWriter).SetWriteDeadline(time.Now().Add(answerTime))
	}
}

func (rec *recorder) Flush() { _ = http.NewResponseController(rec.ResponseWriter).Flush() }

func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
