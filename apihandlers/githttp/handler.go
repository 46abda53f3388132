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
)

// Config is what the handler needs.
type Config struct {
	Transport dm.GitTransport // required
	// Authorize proves who sent r and applies the policy for reading repo;
	// required. It must not tell an existing repository from a missing one.
	Authorize func(r *http.Request, repo dm.Repository) error
	// Client names whom r counts against in Limits.PerClient; nil means the
	// peer's address.
	Client   func(r *http.Request) string
	Log      *slog.Logger          // nil means silent
	Registry prometheus.Registerer // nil means no metrics
	Limits   Limits
}

// Handler serves git's smart HTTP protocol.
type Handler struct {
	transport dm.GitTransport
	authorize func(*http.Request, dm.Repository) error
	client    func(*http.Request) string
	log       *slog.Logger
	limits    Limits
	slots     *slots
	metrics   *metrics
}

// New checks cfg and makes the handler.
func New(cfg Config) (*Handler, error) {
	const op = "githttp.New"
	if cfg.Transport == nil || cfg.Authorize == nil {
		return nil, dm.Errorf(dm.Invalid, op, "githttp needs a transport and a policy")
	}
	h := &Handler{
		transport: cfg.Transport, authorize: cfg.Authorize, client: cfg.Client,
		log: cfg.Log, limits: cfg.Limits.withDefaults(), metrics: newMetrics(),
	}
	h.slots = newSlots(h.limits)
	if h.client == nil {
		h.client = peer
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry != nil {
		if err := h.metrics.register(cfg.Registry); err != nil {
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
	q := &request{Request: r, rc: http.NewResponseController(w), begin: time.Now()}
	defer h.metrics.observe(q) // also when serve gives the connection up
	if r.Body != http.NoBody {
		// Without it the server reads a body to its end before it answers,
		// however slowly it comes. HTTP/2 has no such rule and no switch.
		_ = q.rc.EnableFullDuplex()
	}
	refusal := h.admit(q)
	if refusal == nil {
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
	// after the handler (golang/go#68560); so the rest is read here.
	_ = r.Body.Close()
}

// request is one request as far as it is understood.
type request struct {
	*http.Request
	rc        *http.ResponseController
	begin     time.Time
	target    target
	operation operation // "" when the path is none of ours
	code      string    // of the answer, for the metrics
}

// admit goes through the checks that need no body and no process, the cheap
// ones first. The operation follows from the route, so that no parameter of a
// POST can make a push look like a fetch; pushes are refused before anything
// is said about the repository.
func (h *Handler) admit(q *request) *refusal {
	var ok bool
	if q.target, ok = parsePath(q.URL.EscapedPath()); !ok {
		return &missing
	}
	method := http.MethodPost
	switch q.target.last {
	case "info/refs":
		method = http.MethodGet
		var refusal *refusal
		if q.operation, refusal = service(q.URL.RawQuery); refusal != nil {
			return refusal
		}
	case "git-upload-pack":
		q.operation = upload
	default:
		q.operation = receive
	}
	switch {
	case q.operation == receive && q.target.repository.Kind == dm.WorkspaceRepository:
		return &refusal{http.StatusForbidden, "a workspace is derived from applications and written by the server only"}
	case q.operation == receive:
		return &refusal{http.StatusForbidden, "pushes are not accepted"}
	case q.Method != method:
		return &refusal{http.StatusMethodNotAllowed, "the method must be " + method}
	case q.operation == upload && q.Header.Get("Content-Type") != "application/x-git-upload-pack-request":
		// A browser sends other types across sites without asking first.
		return &refusal{http.StatusUnsupportedMediaType, "the content type must be application/x-git-upload-pack-request"}
	}
	if err := h.authorize(q.Request, q.target.repository); err != nil {
		return refuse(err, q.target.repository.Kind)
	}
	if err := h.transport.Has(q.target.repository); err != nil {
		return refuse(err, q.target.repository.Kind)
	}
	return nil
}

// serve runs one round of git. A refusal means that nothing was sent yet.
func (h *Handler) serve(w http.ResponseWriter, q *request) *refusal {
	ctx, cancel := context.WithTimeout(q.Context(), h.limits.Duration)
	defer cancel()
	a := &answer{w: w, rc: q.rc, idle: h.limits.Idle, operation: q.operation, protocol: protocol(q.Header.Get("Git-Protocol"))}
	round := dm.UploadRound{Advertise: q.operation == advertise, Protocol: a.protocol, Out: a}
	var b *body
	if q.operation == upload {
		var err error
		if b, err = newBody(q.Request, q.rc, h.limits); err != nil {
			return refuse(err, "")
		}
		defer b.close()
		in := bufio.NewReaderSize(b, headSize)
		if _, err := in.Peek(headSize); err != nil && !errors.Is(err, io.EOF) {
			return refuse(err, "")
		}
		round.In = in
	}
	release, err := h.slots.take(ctx, h.client(q.Request))
	if err != nil {
		return refuse(err, "")
	}
	err = h.run(ctx, q, round, release)
	a.close()
	if err != nil {
		return h.failed(q, a, b, err)
	}
	a.begin()
	if b != nil && !b.finish() {
		// git had enough, the client goes on: the connection can't be used
		// for another request, and a header can't say so any more.
		h.abort(q)
	}
	return nil
}

// run holds the slot for as long as git runs.
func (h *Handler) run(ctx context.Context, q *request, round dm.UploadRound, release func()) error {
	defer release()
	h.metrics.processes.Inc()
	defer h.metrics.processes.Dec()
	return h.transport.UploadPack(ctx, q.target.repository, round)
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
	switch {
	case early != nil:
		err = early // git only missed the rest
	case dm.KindOf(err) != dm.Invalid && q.Context().Err() == nil && a.err == nil:
		h.log.Warn("git did not answer", "kind", q.target.repository.Kind, "operation", q.operation,
			"request_id", dm.RequestID(q.Context()), "error", err)
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
