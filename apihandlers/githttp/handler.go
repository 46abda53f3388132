package githttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config is what the handler needs.
type Config struct {
	Transport dm.GitTransport // required
	// Authorize proves who sent r and applies the policy for reading repo or
	// for pushing to it; required. Of workspaces it must not tell an existing one
	// from a missing one. Nobody pushes without a name.
	Authorize  func(r *http.Request, repo dm.Repository, push bool) (dm.Actor, error)
	Log        *slog.Logger          // nil means silent
	Registerer prometheus.Registerer // nil means no metrics
	Limits     Limits
	Script     []byte // what /sync.sh answers to everybody; nil means 404
}

// Handler serves git's smart HTTP protocol.
type Handler struct {
	transport dm.GitTransport
	authorize func(*http.Request, dm.Repository, bool) (dm.Actor, error)
	log       *slog.Logger
	limits    Limits
	fetches   *slots
	pushes    *slots
	metrics   *metrics
	script    script
}

// New checks cfg and makes the handler.
func New(cfg Config) (*Handler, error) {
	const op = "githttp.New"
	if cfg.Transport == nil || cfg.Authorize == nil {
		return nil, dm.Errorf(dm.Invalid, op, "githttp needs a transport and a policy")
	}
	h := &Handler{
		transport: cfg.Transport, authorize: cfg.Authorize, log: cfg.Log,
		limits: cfg.Limits.withDefaults(), metrics: newMetrics(), script: newScript(cfg.Script),
	}
	h.fetches = newSlots(h.limits.PerClient)
	h.pushes = newSlots(h.limits.PushesPerClient)
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer != nil {
		if err := h.metrics.register(cfg.Registerer); err != nil {
			return nil, dm.Wrap(op, err)
		}
	}
	return h, nil
}

// lingering is how long the rest of a request is read after its answer, so
// that its client gets to see the answer instead of a broken connection.
const lingering = time.Second

// ServeHTTP answers every request below the handler's root.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.EscapedPath() == scriptPath {
		h.script.serve(w, r)
		return
	}
	q := &request{Request: r, rc: http.NewResponseController(w), begin: time.Now()}
	defer h.metrics.observe(q) // also when serve gives the connection up
	if r.Body != http.NoBody {
		// Without it the server reads a body to its end before it answers,
		// however slowly it comes. HTTP/2 has no such rule and no switch.
		_ = q.rc.EnableFullDuplex()
	}
	refusal := h.admit(q)
	switch {
	case refusal != nil:
	case q.Method == http.MethodHead:
		q.head(w) // starts no git: the length of its answer is told to nobody
	default:
		refusal = h.serve(w, q)
	}
	if refusal == nil {
		q.code = "200"
		return
	}
	q.code = strconv.Itoa(refusal.status)
	_ = q.rc.SetWriteDeadline(time.Now().Add(h.limits.Idle))
	if r.Body == http.NoBody {
		refusal.write(w)
		return
	}
	w.Header().Set("Connection", "close")
	refusal.write(w)
	_ = q.rc.Flush()
	_ = q.rc.SetReadDeadline(time.Now().Add(lingering))
	// In full duplex the server may panic when it finds the end of the body
	// after the handler (golang/go#68560); so the rest is read here. Close alone
	// reads 256 KiB, less than a push that is refused may have under way.
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
}

// request is one request as far as it is understood.
type request struct {
	*http.Request
	rc        *http.ResponseController
	begin     time.Time
	target    target
	operation operation // "" when the path is none of ours
	actor     dm.Actor
	code      string // of the answer, for the metrics
}

// derived is what the person reads who pushes to a workspace.
const derived = "the server writes this workspace itself and takes no pushes: what you change in the pod comes back with its sync, " +
	"and work of your own belongs in a folder of its own"

// admit goes through the checks that need no body and no process, the cheap
// ones first. The operation follows from the route, so that no parameter of a
// POST can make a push look like a fetch; pushes to workspaces are refused
// before anything is said about the repository.
func (h *Handler) admit(q *request) *refusal {
	var ok bool
	if q.target, ok = parsePath(q.URL.EscapedPath()); !ok {
		return &missing
	}
	var refused *refusal
	q.operation, refused = operationOf(q.target.last, q.URL.RawQuery)
	apihandlers.SetRoute(q.Context(), routeName(q.target.repository.Kind, q.operation))
	kind := q.target.repository.Kind
	switch method := q.operation.method(); {
	case refused != nil:
		return refused
	case q.operation.pushes() && kind == dm.WorkspaceRepository:
		return &refusal{http.StatusForbidden, derived}
	case q.Method != method && (q.Method != http.MethodHead || method != http.MethodGet):
		return &refusal{http.StatusMethodNotAllowed, "the method must be " + method}
	case !q.operation.advertises() && q.Header.Get("Content-Type") != q.operation.contentType("request"):
		// A browser sends other types across sites without asking first.
		return &refusal{http.StatusUnsupportedMediaType, "the content type must be " + q.operation.contentType("request")}
	}
	var err error
	if q.actor, err = h.authorize(q.Request, q.target.repository, q.operation.pushes()); err != nil {
		return refuse(err, kind)
	}
	q.Request = apihandlers.WithClient(q.Request, q.actor)
	if q.operation.pushes() && q.actor.User == "" {
		return &refusal{http.StatusUnauthorized, "a push needs a credential"}
	}
	err = h.transport.Has(q.target.repository)
	if q.operation.pushes() && dm.KindOf(err) == dm.NotFound {
		return nil // the first push makes it
	}
	if err != nil {
		return refuse(err, kind)
	}
	return nil
}

// serve runs one round of git. A refusal means that nothing was sent yet.
func (h *Handler) serve(w http.ResponseWriter, q *request) *refusal {
	ctx, t := newTerm(q, h.limits)
	defer t.end()
	a := &answer{w: w, rc: q.rc, idle: h.limits.Idle, operation: q.operation, protocol: protocol(q.Header.Get("Git-Protocol"), q.operation)}
	var in io.Reader
	var b *body
	if !q.operation.advertises() {
		var err error
		if b, in, err = h.open(q, t); err != nil {
			return refuse(err, "")
		}
		defer b.close()
	}
	release, err := func() {}, error(nil)
	if q.operation != receive { // whose turn comes when it has arrived
		if release, err = h.turn(q); err != nil {
			return refuse(err, "")
		}
	}
	err = h.run(ctx, q, in, a, release)
	a.close()
	if err != nil {
		return h.failed(q, a, b, err)
	}
	a.begin()
	if b != nil && !b.finish(q.operation == receive) || a.err != nil {
		// git had enough, the client goes on: the connection can't be used
		// for another request, and a header can't say so any more.
		h.abort(q)
	}
	return nil
}

// open reads the head of the body and prepares the rest for git.
func (h *Handler) open(q *request, t *term) (*body, io.Reader, error) {
	b, err := newBody(q.Request, q.rc, h.limits.of(q.operation))
	if err != nil {
		return nil, nil, err
	}
	if q.operation == receive {
		b.ended = t.bodyEnded
	}
	in := bufio.NewReaderSize(b, headSize)
	if _, err := in.Peek(headSize); err != nil && !errors.Is(err, io.EOF) {
		b.close()
		return nil, nil, err
	}
	return b, in, nil
}

// turn waits until the client has few others under way; who leaves meanwhile did
// not push yet. Both steps of a push count as pushes, and a push that arrives
// counts when it is there.
func (h *Handler) turn(q *request) (release func(), err error) {
	client := apihandlers.ClientOf(q.Request, q.actor)
	if q.operation.pushes() {
		return h.pushes.take(q.Context(), client, h.limits.Wait)
	}
	return h.fetches.take(q.Context(), client, h.limits.Wait)
}

// run holds the slot for as long as git runs.
func (h *Handler) run(ctx context.Context, q *request, in io.Reader, a *answer, release func()) error {
	defer release()
	if q.operation.pushes() {
		return h.transport.ReceivePack(ctx, q.target.repository, dm.ReceiveRound{
			Actor: q.actor, Advertise: q.operation.advertises(), Protocol: a.protocol, In: in, Out: a,
			Turn: func() (func(), error) { return h.turn(q) },
		})
	}
	return h.transport.UploadPack(ctx, q.target.repository, dm.UploadRound{
		Advertise: q.operation.advertises(), Protocol: a.protocol, In: in, Out: a,
	})
}

// failed judges a round that git did not bring to an end. Once a part of the
// answer is out the connection is broken off: a clean end would make the part
// look like the whole. What git said until then, such as its own words of
// refusal, is sent before.
func (h *Handler) failed(q *request, a *answer, b *body, err error) *refusal {
	var early error
	if b != nil {
		early = b.failure()
	}
	gone := q.Context().Err() != nil || a.err != nil
	kind := dm.KindOf(err)
	switch {
	case early != nil:
		err = early // git only missed the rest
	case (kind == dm.Internal || kind == dm.Unavailable) && (!gone || q.operation.pushes()):
		h.log.Warn("git did not answer", "kind", q.target.repository.Kind, "operation", q.operation,
			"request_id", dm.RequestID(q.Context()), "err", err)
	}
	if a.started {
		h.abort(q)
	}
	return refuse(err, "")
}

// abort breaks the connection off, after what is already written was sent. It
// does not return; net/http knows this panic and logs nothing.
func (h *Handler) abort(q *request) {
	q.code = "aborted"
	_ = q.rc.Flush()
	panic(http.ErrAbortHandler)
}
