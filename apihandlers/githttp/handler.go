package githttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config is what the API needs.
type Config struct {
	Transport dm.GitTransport // required
	// Authorize proves who sent r and applies the policy for reading repo or
	// for pushing to it; required. Of workspaces it must not tell an existing one
	// from a missing one. Nobody pushes without a name.
	Authorize func(r *http.Request, repo dm.Repository, push bool) (dm.Actor, error)
	// Reader says what is known of a user whose workspace an actor reads; required.
	Reader func(actor dm.Actor, user dm.UserName) dm.Reader
	Limits Limits
	Script []byte // what /sync.sh answers to everybody; nil means that there is no such route
}

// API serves git's smart HTTP protocol.
type API struct {
	transport dm.GitTransport
	authorize func(*http.Request, dm.Repository, bool) (dm.Actor, error)
	reader    func(dm.Actor, dm.UserName) dm.Reader
	limits    Limits
	script    []byte
}

// New checks the configuration.
func New(cfg Config) (*API, error) {
	if cfg.Transport == nil || cfg.Authorize == nil || cfg.Reader == nil {
		return nil, dm.Errorf(dm.Invalid, "githttp.New", "githttp needs a transport, a policy and to know readers")
	}
	return &API{transport: cfg.Transport, authorize: cfg.Authorize, reader: cfg.Reader, limits: cfg.Limits.withDefaults(), script: cfg.Script}, nil
}

// request is one step of a fetch or a push.
type request struct {
	*http.Request
	rc         *http.ResponseController
	repository dm.Repository
	operation  operation
	actor      dm.Actor
}

// round serves one step. An error means that nothing of the answer counts.
func (a *API) round(w http.ResponseWriter, r *http.Request, kind dm.RepositoryKind, o operation) error {
	q := &request{Request: r, rc: http.NewResponseController(w), operation: o}
	if err := a.admit(q, kind); err != nil {
		return err
	}
	if q.Method == http.MethodHead { // starts no git: the length of its answer is told to nobody
		advertisement(w, o)
		return nil
	}
	return a.serve(w, q)
}

// head tells the commit that main of a workspace is at, which is the cheap question
// before a fetch: whether there is anything new.
func (a *API) head(w http.ResponseWriter, r *http.Request) error {
	q := &request{Request: r, operation: fetchRefs}
	if err := a.admit(q, dm.WorkspaceRepository); err != nil {
		return err
	}
	tip, err := a.transport.Tip(q.Context(), q.repository, a.readerOf(q))
	if err != nil {
		return discreet(err, dm.WorkspaceRepository)
	}
	tag := `"` + tip + `"`
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", tag)
	if q.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, tip+"\n")
	return err
}

// readerOf is what is known of the user whose workspace q is about.
func (a *API) readerOf(q *request) dm.Reader {
	if q.repository.Kind != dm.WorkspaceRepository {
		return dm.Reader{}
	}
	return a.reader(q.actor, dm.UserName(q.repository.Name))
}

// admit goes through the checks that need no body and no process, the cheap
// ones first. Pushes to what only the server writes are refused before anything is
// said about the repository.
func (a *API) admit(q *request, kind dm.RepositoryKind) (err error) {
	const op = "githttp.admit"
	if q.repository, err = repositoryAt(q.Request, kind); err != nil {
		return err
	}
	pushes := q.operation.pushes()
	switch refused := dm.ReadOnly(op, kind); {
	case pushes && refused != nil:
		return refused
	case !q.operation.advertises() && q.Header.Get("Content-Type") != q.operation.contentType("request"):
		// A browser sends other types across sites without asking first.
		return apihandlers.Unsupported(op, "the Content-Type must be %s", q.operation.contentType("request"))
	}
	if kind == dm.ToolsRepository {
		// Nothing in it is secret, and who fetches it has not signed in yet. So all
		// who do are one client: what is left is for those who have.
		q.Request = q.WithContext(dm.WithClient(q.Context(), "nobody"))
		return discreet(a.transport.Has(q.repository), kind)
	}
	if q.actor, err = a.authorize(q.Request, q.repository, pushes); err != nil {
		return discreet(err, kind)
	}
	q.Request = apihandlers.WithClient(q.Request, q.actor)
	if pushes && q.actor.User == "" {
		return dm.Errorf(dm.Unauthenticated, op, "a credential is required to push")
	}
	err = a.transport.Has(q.repository)
	if pushes && dm.KindOf(err) == dm.NotFound {
		return nil // the first push makes it
	}
	return discreet(err, kind)
}

// discreet does not tell what is missing from what the actor may not know of.
func discreet(err error, kind dm.RepositoryKind) error {
	if is := dm.KindOf(err); is == dm.NotFound || is == dm.Forbidden && kind == dm.WorkspaceRepository {
		return missing(err)
	}
	return err
}

// serve runs one round of git.
func (a *API) serve(w http.ResponseWriter, q *request) error {
	ctx, t := newTerm(q, a.limits)
	defer t.end()
	out := &answer{w: w, rc: q.rc, idle: a.limits.Idle, operation: q.operation, protocol: protocol(q.Header.Get("Git-Protocol"), q.operation)}
	var in io.Reader
	var body *apihandlers.Body
	if !q.operation.advertises() {
		var err error
		if body, err = apihandlers.OpenBody(w, q.Request, a.limits.body(q.operation)); err != nil {
			return err
		}
		defer body.Stop()
		if in, err = head(body, q.operation, t); err != nil {
			return err
		}
	}
	err := a.run(ctx, q, in, out)
	out.close()
	if err != nil {
		return failed(q, out, body, err)
	}
	out.begin()
	if body != nil && !finish(body, q.operation) || out.err != nil {
		// git had enough, the client goes on: the connection can't be used
		// for another request, and a header can't say so any more.
		_ = q.rc.Flush()
		panic(http.ErrAbortHandler) // which net/http knows and does not log
	}
	return nil
}

// headSize is how much of a body is read before a git process is started for
// it. Nearly every request of a fetch fits, so that a client that sends slowly
// holds memory but no process.
const headSize = 64 << 10

// head reads the head of the body and prepares the rest for git.
func head(body *apihandlers.Body, o operation, t *term) (io.Reader, error) {
	var from io.Reader = body
	if o == receive {
		from = &heard{body, t.bodyEnded}
	}
	in := bufio.NewReaderSize(from, headSize)
	if _, err := in.Peek(headSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return in, nil
}

// heard tells what ended a body before its reader is told.
type heard struct {
	body  io.Reader
	ended func(error)
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.body.Read(p)
	if err != nil && h.ended != nil {
		h.ended(err)
		h.ended = nil
	}
	return n, err
}

// finish reads what is left behind what git has read, normally nothing but the
// mark of the end. Of a push it reads the whole rest within the limits: who is
// still sending one that git refused reads nothing of the reasons when the
// connection breaks.
func finish(body *apihandlers.Body, o operation) (whole bool) {
	if o == receive {
		_, _ = io.Copy(io.Discard, body)
		return body.Stop()
	}
	body.Hurry(apihandlers.Lingering)
	_, _ = io.CopyN(io.Discard, body, headSize)
	return body.Stop()
}

func (a *API) run(ctx context.Context, q *request, in io.Reader, out *answer) error {
	if q.operation.pushes() {
		return a.transport.ReceivePack(ctx, q.repository, dm.ReceiveRound{
			Actor: q.actor, Advertise: q.operation.advertises(), Protocol: out.protocol, In: in, Out: out,
		})
	}
	return a.transport.UploadPack(ctx, q.repository, dm.UploadRound{
		Advertise: q.operation.advertises(), Reader: a.readerOf(q), Protocol: out.protocol, In: in, Out: out,
	})
}

// failed judges a round that git did not bring to an end. Once a part of the
// answer is out the connection is broken off: a clean end would make the part
// look like the whole. What git said until then, such as its own words of
// refusal, is sent before.
func failed(q *request, out *answer, body *apihandlers.Body, err error) error {
	var early error
	if body != nil {
		early = body.Fault()
	}
	gone := q.Context().Err() != nil || out.err != nil
	switch {
	case early != nil:
		err = early // git only missed the rest
	case gone && !q.operation.pushes():
		err = dm.Errorf(dm.Invalid, "githttp", "the client closed the connection").Because(err)
	}
	if out.started {
		_ = q.rc.Flush()
	}
	return err
}
