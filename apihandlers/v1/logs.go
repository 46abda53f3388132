package v1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Bounds of who reads logs.
const (
	logLines  = 1000             // when nothing else is asked for
	mostLines = 100_000          // that may be asked for
	logTime   = 30 * time.Second // for an answer that does not follow
	silence   = time.Second      // after which the answer begins, whether there is a line or not
)

func (a *API) logRoutes() []apihandlers.Route {
	return []apihandlers.Route{{
		Name: "v1-logs", Method: http.MethodGet, Path: "/api/v1/applications/{name}/logs", Access: apihandlers.Reading,
		Actions: []dm.Action{dm.ApplicationRead, dm.ApplicationContent}, Success: http.StatusOK, Streams: true, Handle: a.logs,
		Summary: "What a component writes where it runs, as text: its newest `lines` (1 to 100,000, default 1,000), and with `follow=true` what comes, until it ends, for 15 minutes at most: ask again. `component` is its name, or `<type>/<name>`; it may be left out where only one component writes a log, and what there is to choose from is told with 400. Who may read them is who may read what was delivered.\n\n" +
			"Where nothing of the component runs, the answer is what it wrote last, which is kept when its pods go (`logs.tail` bytes), and its first line says so and of when it is: `# nothing of sparkStreaming/count runs; this is what it wrote last, kept at 2025-01-06T10:20:30Z`. Where no component writes a log the only line says that.",
	}}
}

// logs follows a component or tells what it wrote last.
func (a *API) logs(w http.ResponseWriter, r *http.Request) error {
	app, err := apihandlers.ReadApplication(r, a.Policy, a.Applications.Application)
	if err != nil {
		return err
	}
	if !app.Known {
		return notCreated(apihandlers.Var(r, "name"))
	}
	if err := a.mayReadContent(r, app.Resource()); err != nil {
		return err
	}
	asked, err := readLogRequest(r)
	if err != nil {
		return err
	}
	record, component, err := a.chosen(app.Application, asked.component)
	if err != nil {
		return err
	}
	out := &logWriter{w: w}
	defer out.end()
	if component == "" {
		why := "no component of %s writes a log"
		if app.Observed == nil {
			why = "no component of %s stands yet"
		}
		_, err := fmt.Fprintf(out, "# "+why+"\n", app.Spec.Name)
		return err
	}
	if asked.follow {
		leave, err := a.following.enter(dm.Client(r.Context()))
		if err != nil {
			return err
		}
		defer leave()
	}
	ctx, cancel := a.logContext(r.Context(), asked.follow)
	defer cancel()
	err = a.stream(ctx, out, record, component, asked)
	if dm.KindOf(err) == dm.NotFound && out.untouched() {
		err = a.kept(ctx, out, app.Spec.Name, record.Type, component, asked.lines)
	}
	switch {
	case err == nil:
		out.begin() // of a log that is empty
		return nil
	case r.Context().Err() != nil, out.untouched() && ctx.Err() == nil, dm.KindOf(err) == dm.NotFound && out.untouched():
		return err
	case ctx.Err() != nil && asked.follow: // its time is over, or the server ends
		return nil
	case out.untouched():
		return dm.Errorf(dm.Unavailable, "v1.logs", "the log of %s/%s can't be read now", record.Type, component).Because(err)
	}
	_, _ = fmt.Fprintf(out, "\n# the log breaks off: %s\n", dm.Public(err))
	return nil
}

// mayReadContent asks for what was delivered. Who did not sign in where that is not
// needed for other things is asked to.
func (a *API) mayReadContent(r *http.Request, on dm.Resource) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	err = a.Policy.Authorize(actor, dm.ApplicationContent, on)
	if err != nil && actor.User == "" {
		return dm.Errorf(dm.Unauthenticated, "v1.logs", "a credential is required to read what components write").Because(err)
	}
	return err
}

// logRequest is what is asked of a log.
type logRequest struct {
	component string
	lines     int
	follow    bool
	head      bool // nobody reads the lines
}

func readLogRequest(r *http.Request) (asked logRequest, err error) {
	if asked.lines, err = integer(r, "lines", mostLines); err != nil {
		return asked, err
	}
	if asked.lines == 0 {
		asked.lines = logLines
	}
	text, given, err := apihandlers.Query(r, "follow")
	switch {
	case err != nil:
		return asked, err
	case given && text != "true" && text != "false":
		return asked, dm.Errorf(dm.Invalid, "parse query", "the query parameter follow must be true or false")
	}
	asked.follow, asked.head = text == "true", r.Method == http.MethodHead
	asked.component, _, err = apihandlers.Query(r, "component")
	return asked, err
}

// chosen finds the component that is asked for among those that stand; "" when none
// was asked for and none writes a log. One that stands no more may be asked for by
// its type and name.
func (a *API) chosen(app dm.Application, asked string) (record dm.PluginRecord, component dm.ComponentName, err error) {
	var choices []string
	matches := 0
	if app.Observed != nil {
		for _, r := range app.Observed.Records {
			if a.Logs == nil || !a.Logs.HasLogs(r.Type) {
				continue
			}
			for _, c := range r.Components {
				whole := string(r.Type) + "/" + string(c.Name)
				choices = append(choices, whole)
				if asked == "" || asked == whole || asked == string(c.Name) {
					record, component = r, c.Name
					matches++
				}
			}
		}
	}
	t, name, whole := strings.Cut(asked, "/")
	switch {
	case matches == 1, matches == 0 && asked == "":
		return record, component, nil
	case matches == 0 && whole && a.Kept != nil:
		return dm.PluginRecord{Type: dm.ComponentType(t), Application: app.Spec.Name}, dm.ComponentName(name), nil
	}
	slices.Sort(choices)
	const op = "v1.logs"
	switch {
	case matches > 1:
		return record, "", dm.Errorf(dm.Invalid, op, "the query parameter component must name one of %s", strings.Join(dm.Few(choices), ", "))
	case len(choices) == 0:
		return record, "", dm.Errorf(dm.Invalid, op, "no component of %s writes a log", app.Spec.Name)
	}
	return record, "", dm.Errorf(dm.Invalid, op, "no component %.200q writes a log, choose one of %s", asked, strings.Join(dm.Few(choices), ", "))
}

// logContext ends when the client goes, when its time is over and, for who follows,
// when the server stops.
func (a *API) logContext(ctx context.Context, follow bool) (context.Context, context.CancelFunc) {
	if !follow {
		return context.WithTimeout(ctx, logTime)
	}
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	go func() {
		select {
		case <-a.Ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// stream writes what the component writes where it runs.
func (a *API) stream(ctx context.Context, out *logWriter, record dm.PluginRecord, component dm.ComponentName, asked logRequest) error {
	if a.Logs == nil || !a.Logs.HasLogs(record.Type) || len(record.Components) == 0 {
		return dm.Errorf(dm.NotFound, "v1.logs", "nothing of %s/%s runs", record.Type, component)
	}
	if asked.follow && !asked.head {
		out.follow = true
		defer func() { out.follow = false }()
		defer time.AfterFunc(silence, out.begin).Stop()
		return a.Logs.StreamLogs(ctx, out, record, component, asked.lines, true)
	}
	pieces := bufio.NewWriterSize(out, piece)
	err := a.Logs.StreamLogs(ctx, pieces, record, component, asked.lines, false)
	if flushed := pieces.Flush(); err == nil {
		err = flushed
	}
	return err
}

// kept writes what the component wrote last before its pods went.
func (a *API) kept(ctx context.Context, out io.Writer, app dm.ApplicationName, t dm.ComponentType, component dm.ComponentName, lines int) error {
	var log dm.KeptLog
	var ok bool
	var err error
	if a.Kept != nil {
		log, ok, err = a.Kept.KeptLog(ctx, app, t, component)
	}
	if err != nil {
		return err
	}
	if !ok {
		return dm.Errorf(dm.NotFound, "v1.logs", "nothing of %.100s/%.100s runs, and nothing that it wrote is kept", t, component)
	}
	_, err = fmt.Fprintf(out, "# nothing of %s/%s runs; this is what it wrote last, kept at %s\n%s", t, component, log.Time.UTC().Format(time.RFC3339), lastLines(log.Text, lines))
	return err
}

// lastLines are the last n lines of text, whose last one ends.
func lastLines(text []byte, n int) []byte {
	for end := len(text) - 1; n > 0 && end > 0; n-- {
		if end = bytes.LastIndexByte(text[:end], '\n'); n == 1 {
			return text[end+1:]
		}
	}
	return text
}

// logWriter is an answer that begins with the first line, or with silence. Until
// then a failure is told as every other one.
type logWriter struct {
	w      http.ResponseWriter
	follow bool // each line is sent when it comes

	mu    sync.Mutex
	begun bool
	over  bool
}

// untouched tells whether nothing of the answer was written.
func (l *logWriter) untouched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.begun
}

// begin sends the head of the answer.
func (l *logWriter) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head() && !l.over {
		_ = http.NewResponseController(l.w).Flush()
	}
}

// head needs mu; it tells whether the answer begins with it.
func (l *logWriter) head() bool {
	if l.begun || l.over {
		return false
	}
	h := l.w.Header()
	h.Set("Content-Type", plainText+"; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	l.begun = true
	bound(l.w)
	l.w.WriteHeader(http.StatusOK)
	return true
}

// Write implements io.Writer.
func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0, dm.Errorf(dm.Invalid, "v1.logs", "the answer is over")
	}
	l.head()
	bound(l.w)
	n, err := l.w.Write(p)
	if err == nil && l.follow {
		_ = http.NewResponseController(l.w).Flush()
	}
	return n, err
}

// end keeps a plugin that goes on from writing into an answer that is over.
func (l *logWriter) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
