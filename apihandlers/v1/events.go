package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Bounds of who follows events.
const (
	eventsPage   = 100              // entries of a page when nothing else is asked for
	eventsWait   = 25 * time.Second // that a poll waits for the first event, likewise
	mostWait     = 60               // seconds that may be asked for
	heartBeat    = 15 * time.Second // from one line of a silent stream to the next
	streamTime   = 15 * time.Minute // of one stream; who comes again proves who it is again
	eventsWrite  = 10 * time.Second // for a client to take what is written
	followers    = 256              // at once
	followersOne = 8                // of one client
)

// nextHeader tells a poll what its next after is.
const nextHeader = "DM-Next-After"

func (a *API) eventRoutes() []apihandlers.Route {
	return []apihandlers.Route{{
		Name: "v1-events", Method: http.MethodGet, Path: "/api/v1/events", Access: apihandlers.Reading,
		Actions: []dm.Action{dm.RepositoryRead, dm.ApplicationRead, dm.ApplicationContent}, Success: http.StatusOK, Streams: true, Handle: a.events,
		Summary: "What happened, in order: every publish, withdraw, deploy and undeploy of a package, every change of an application and what came of it; and, in a stream only, with the action `fetch` that somebody fetched what is new to them, which is told to who may change the application and to themselves and stands in no commit. Each has the next number of one sequence of the server, in `seq` and in the trailer `DM-Seq` of the commit or tag in `new` (of a withdrawal, of the tag around `old`); none is told before all smaller ones. Some numbers tell of nothing. Events begin with format 3 of the data folder: what was recorded before has none.\n\n" +
			"One JSON object a line, those after the number `after`, at most `limit` (1 to 500, default 100); without `after` those that come from now on. When there is none yet, the answer waits up to `wait` seconds (1 to 60, default 25) for the first, and may be empty. `DM-Next-After` is the `after` of the next request. An `after` that no event has yet is 400: the server's data was restored from a copy, begin again. Old events are read from the histories; while that takes too long the answer is 503, and the next try finds more of it done.\n\n" +
			"With `Accept: text/event-stream` the answer is a stream of server-sent events with the number as `id`; `Last-Event-ID` counts as `after`. It has a line at least every 15 seconds, and ends after 15 minutes and when the server stops: connect again. One client may follow 8 times at once; more are 429.\n\n" +
			"Who may not read what an application delivers is told its name, what was done and its state, and nothing else of it. `information` is absent where there is none, `again` is true of one more outcome of the same change.",
		Response: `{"seq":7,"time":"2025-01-06T10:20:31.5Z","kind":"application","id":"noon-run","action":"change","state":"STARTED","ref":"refs/observed/head","old":"0123456789abcdef0123456789abcdef01234567","new":"89abcdef0123456789abcdef0123456789abcdef","user":"ana","auth":"htpasswd","via":"api","reason":"the topic was renamed","request_id":"4f2d","information":"1 note"}`,
	}}
}

// event is one line. Its details are nil for who may not read them.
type event struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`
	Action dm.Verb   `json:"action"`
	State  dm.Phase  `json:"state"`
	Again  bool      `json:"again,omitempty"`
	Ref    string    `json:"ref"`
	id     uint64    // behind which a stream goes on
	*eventDetails
}

type eventDetails struct {
	Old          dm.Revision `json:"old,omitempty"`
	New          dm.Revision `json:"new,omitempty"`
	User         dm.UserName `json:"user"`
	Impersonator dm.UserName `json:"impersonator,omitempty"`
	Auth         string      `json:"auth"`
	Via          string      `json:"via"`
	Reason       string      `json:"reason,omitempty"`
	RequestID    string      `json:"request_id,omitempty"`
	Information  string      `json:"information,omitempty"`
}

// shown is what of e the actor may read; nil for nothing.
func (a *API) shown(actor dm.Actor, e dm.Event) *event {
	on := a.Events.Concerns(e)
	read, whole := dm.ApplicationRead, dm.ApplicationContent
	if e.Kind == dm.PackageEvent {
		read, whole = dm.RepositoryRead, dm.RepositoryRead
	}
	if e.Verb == dm.FetchVerb && !a.mayFollow(actor, on, e.User) || e.Verb != dm.FetchVerb && e.Ref == "" || a.Policy.Authorize(actor, read, on) != nil {
		return nil
	}
	shown := &event{Seq: e.Seq, Time: e.Time, Kind: e.Kind, ID: e.ID, Action: e.Verb, State: e.State, Again: e.Again, Ref: e.Ref}
	then := dm.Resource{Name: on.Name, Owner: e.Owner} // a name may be another's by now
	if a.Policy.Authorize(actor, whole, on) == nil && (e.Owner == on.Owner || a.Policy.Authorize(actor, whole, then) == nil) {
		shown.eventDetails = &eventDetails{e.Old, e.New, e.User, e.Impersonator, e.Auth, e.Via, e.Reason, e.RequestID, e.Information}
	}
	return shown
}

// follower is one request that follows events.
type follower struct {
	*API
	w      http.ResponseWriter
	actor  dm.Actor
	after  uint64 // that it has come to
	kept   uint64 // the same, but of an event that the record has
	limit  int
	stream bool
}

func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	f := &follower{API: a, w: w, actor: actor, stream: weights(r)[eventStream] > 0}
	w.Header().Add("Vary", "Accept")
	if err := f.begin(r); err != nil {
		return err
	}
	wait, err := integer(r, "wait", mostWait)
	if err != nil {
		return err
	}
	leave, err := a.following.enter(dm.Client(r.Context()))
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-a.Ending:
			cancel()
		case <-ctx.Done():
		}
	}()
	switch {
	case f.stream:
		return f.run(ctx, r)
	case wait == 0:
		return f.poll(ctx, eventsWait)
	}
	return f.poll(ctx, time.Duration(wait)*time.Second)
}

// begin reads from where, and how much.
func (f *follower) begin(r *http.Request) error {
	limit, err := integer(r, "limit", dm.MaxPage)
	if err != nil {
		return err
	}
	if f.limit = limit; limit == 0 {
		f.limit = eventsPage
	}
	what := "the query parameter after"
	text, given, err := apihandlers.Query(r, "after")
	if last := r.Header.Get("Last-Event-ID"); f.stream && last != "" {
		what, text, given = "Last-Event-ID", last, true
	}
	newest := f.Events.Newest()
	f.after = newest
	if given && err == nil {
		f.after, err = strconv.ParseUint(text, 10, 63)
		if err != nil {
			err = dm.Errorf(dm.Invalid, "parse query", "%s must be the number of an event, greater than or equal to 0", what)
		}
	}
	if err == nil && f.after > newest {
		err = dm.Errorf(dm.Invalid, "parse query", "%s is %d, and the newest event is %d", what, f.after, newest).
			WithHint("the server's data was restored from a copy: begin again without it")
	}
	f.kept = f.after
	return err
}

// next waits for events that may be shown, as long as ctx lasts; none when it
// ended.
func (f *follower) next(ctx context.Context) (list []*event, err error) {
	for len(list) == 0 {
		some, err := f.Events.Events(ctx, f.after, f.limit)
		if ctx.Err() != nil && len(some) == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range some {
			f.after = e.Seq
			if e.Ref != "" {
				f.kept = e.Seq
			}
			// A poll could not say that it had one: its number may be given again after a start.
			if shown := f.shown(f.actor, e); shown != nil && (f.stream || e.Ref != "") {
				shown.id = f.kept
				list = append(list, shown)
			}
		}
	}
	return list, nil
}

// poll answers with the next page.
func (f *follower) poll(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	list, err := f.next(ctx)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	for _, e := range list {
		body.Write(e.line())
	}
	h := f.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set(nextHeader, strconv.FormatUint(f.kept, 10))
	return f.write(body.Bytes())
}

// run streams until the client goes, its time is over, or the server stops.
func (f *follower) run(ctx context.Context, r *http.Request) error {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	h := f.w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return nil
	}
	text := []byte(": events follow\n\n")
	for {
		if err := f.write(text); err != nil || ctx.Err() != nil {
			return nil // who does not read is gone
		}
		turn, end := context.WithTimeout(ctx, heartBeat)
		list, err := f.next(turn)
		end()
		if err != nil {
			return err
		}
		var body bytes.Buffer
		for _, e := range list {
			fmt.Fprintf(&body, "id: %d\nevent: %s\ndata: %s\n", e.id, e.Kind, e.line())
		}
		if len(list) == 0 { // what the client does not see counts as seen
			fmt.Fprintf(&body, ": \nid: %d\n\n", f.kept)
		}
		text = body.Bytes()
	}
}

// line is one event as JSON with a line end.
func (e *event) line() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e) // it is made of values that encode
	return b.Bytes()
}

// write writes what a client has to take in time.
func (f *follower) write(text []byte) error {
	control := http.NewResponseController(f.w)
	_ = control.SetWriteDeadline(time.Now().Add(eventsWrite)) // an error means that this is no network connection
	if _, err := f.w.Write(text); err != nil {
		return err
	}
	return control.Flush()
}

// following counts who follows.
type following struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// enter takes a place for a client; one that is not known has no share.
func (f *following) enter(client string) (leave func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case client != "" && f.of[client] >= followersOne:
		return nil, apihandlers.TooMany("v1.events", "you follow the events %d times at once, that is enough", followersOne)
	case f.all >= followers:
		return nil, dm.Errorf(dm.Unavailable, "v1.events", "too many clients follow the events, try again")
	}
	if f.of == nil {
		f.of = map[string]int{}
	}
	f.all++
	f.of[client]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.all--
		if f.of[client]--; f.of[client] == 0 {
			delete(f.of, client)
		}
	}, nil
}
