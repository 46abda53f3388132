package apihandlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gorilla/mux"

	dm "github.com/pndaproject/deployment-manager"
)

// Config describes one port.
type Config struct {
	Server string    // "packages", "manager", "git": label of metrics and log; required
	Tables []Table   // tried in order
	Errors ErrorBody // required
	// Options answers OPTIONS with the methods of the path, as PNDA's deployment
	// manager does; false means 405.
	Options bool
	Site    *Site // nil means one without names and origins
	Ready   func(context.Context) error
	Scrape  http.Handler // answers /metrics; nil means 404
	Metrics *Metrics     // required
	Log     *slog.Logger // nil means silent
}

// New builds the handler of one port: its routes, /livez, /readyz and
// /metrics, inside the middleware.
func New(cfg Config) (http.Handler, error) {
	if cfg.Server == "" || cfg.Errors == nil || cfg.Metrics == nil {
		return nil, errors.New("apihandlers: Server, Errors and Metrics are required")
	}
	if cfg.Site == nil {
		cfg.Site = &Site{cross: http.NewCrossOriginProtection()}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	// Neither cleaning nor a trailing slash may answer with a redirect: a PUT
	// that is redirected loses its body. Matching the encoded path keeps %2F
	// inside one segment, where the parser of the name refuses it.
	m := mux.NewRouter().SkipClean(true).UseEncodedPath()
	p := &port{Config: cfg, mux: m}
	p.probes()
	for _, t := range cfg.Tables {
		for _, route := range t.Routes {
			if route.Handle == nil || route.Name == "" || t.Gate == nil && route.Access != Open {
				return nil, fmt.Errorf("apihandlers: the route %q %s %s lacks a name, a handler or a gate", route.Name, route.Method, route.Path)
			}
			p.add(route.Method, t.Gate, route)
		}
	}
	p.heads()
	m.NotFoundHandler = http.HandlerFunc(p.unknown)
	m.MethodNotAllowedHandler = http.HandlerFunc(p.otherMethod)
	return &observer{server: cfg.Server, log: cfg.Log, metrics: cfg.Metrics, errors: cfg.Errors, next: http.HandlerFunc(p.enter)}, nil
}

// port is what the requests of one port share.
type port struct {
	Config
	mux *mux.Router
}

// optional is the part of a path that may be left out.
var optional = regexp.MustCompile(`\[[^]]*\]`)

func (p *port) add(method string, gate Gate, route Route) {
	path, query, _ := strings.Cut(optional.ReplaceAllString(route.Path, ""), "?")
	// mux forgets a method mismatch unless the path is matched first.
	added := p.mux.Path(path).Methods(method).Handler(p.serve(gate, route))
	if name, want, _ := strings.Cut(query, "="); name != "" {
		// Two readers of the same query may not understand different things.
		added.MatcherFunc(func(r *http.Request, _ *mux.RouteMatch) bool {
			value, _, err := Query(r, name)
			return err == nil && value == want
		})
	}
	if !route.Fallback {
		added.Name(route.Name)
	}
}

// heads answers HEAD wherever there is GET, with the same handler: net/http sends
// its headers and drops its body. They stand behind all other routes, so that a
// row of its own for HEAD comes first.
func (p *port) heads() {
	for _, t := range p.Tables {
		for _, route := range t.Routes {
			if route.Method == http.MethodGet {
				p.add(http.MethodHead, t.Gate, route)
			}
		}
	}
}

func (p *port) enter(w http.ResponseWriter, r *http.Request) {
	p.Site.annotate(w.Header(), r)
	if err := checkFraming(w, r); err != nil {
		p.refuse(w, r, "other", err)
		return
	}
	switch {
	case r.URL.Path == livez || r.URL.Path == readyz: // for those who know an address only
	case p.Site.isPreflight(r):
		p.preflight(w, r)
		return
	default:
		if err := p.Site.checkHost(r); err != nil {
			p.refuse(w, r, "misdirected", err)
			return
		}
		if err := p.Site.checkPage(r, false); err != nil {
			p.refuse(w, r, "cross-site", err)
			return
		}
	}
	p.mux.ServeHTTP(w, r)
}

// refuse answers what no route gets to see.
func (p *port) refuse(w http.ResponseWriter, r *http.Request, route string, err error) {
	SetRoute(r.Context(), route)
	boundTime(w, r, false)
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // nobody reads its body
	}
	WriteError(w, r, p.Errors, err)
}

// preflight answers for every path, also one that only a credential would show.
func (p *port) preflight(w http.ResponseWriter, r *http.Request) {
	SetRoute(r.Context(), "options")
	boundTime(w, r, false)
	preflight(w.Header(), p.methods(r))
	w.WriteHeader(http.StatusNoContent)
}

// serve makes the http.Handler of one route.
func (p *port) serve(gate Gate, route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(r.Context(), route.Name)
		boundTime(w, r, route.Streams)
		if route.Acts {
			if err := p.Site.checkPage(r, true); err != nil {
				p.refuse(w, r, "cross-site", err)
				return
			}
		}
		if route.Early && r.ContentLength != 0 {
			// Without it the server reads a body to its end before it answers,
			// however slowly it comes. HTTP/2 has no such rule and no switch.
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		if err := handle(gate, route, w, r); err != nil {
			p.fail(w, r, route, err)
		}
	})
}

// handle asks who calls before everything else: who has no valid credential
// learns nothing, not even whether the request is well-formed.
func handle(gate Gate, route Route, w http.ResponseWriter, r *http.Request) error {
	if route.Access == Open {
		return route.Handle(w, r)
	}
	caller, err := gate.Authenticate(r, route.Access)
	if err != nil {
		return err
	}
	return route.Handle(w, forCaller(r, route, caller))
}

// fail answers with what a handler returned.
func (p *port) fail(w http.ResponseWriter, r *http.Request, route Route, err error) {
	if rec, ok := w.(*recorder); ok {
		rec.bound = true // this answer is short
		if rec.status != 0 {
			if gone := clientGone(r, err); gone != nil {
				err = gone
			}
			noteError(r.Context(), FailureOf(err).Status, err)
			panic(http.ErrAbortHandler) // half an answer must not look whole
		}
	}
	if !route.Early || r.ContentLength == 0 {
		WriteError(w, r, p.Errors, err)
		return
	}
	w.Header().Set("Connection", "close")
	WriteError(w, r, p.Errors, err)
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	_ = rc.SetReadDeadline(time.Now().Add(Lingering))
	// In full duplex the server may panic when it finds the end of the body
	// after the handler (golang/go#68560); so the rest is read here. Close alone
	// reads 256 KiB, less than an upload that is refused may have under way.
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
}

// Lingering is how long the rest of a request is read behind an answer that came
// early, so that its client gets to see the answer and no broken connection.
const Lingering = time.Second

// forCaller is r with what is known of its caller. What takes long has a share.
func forCaller(r *http.Request, route Route, caller Caller) *http.Request {
	if route.Streams {
		actor, _ := caller.Actor() // who claims what he may not be counts by address
		r = WithClient(r, actor)
	}
	return r.WithContext(withCaller(r.Context(), caller, route.Access))
}

// boundTime gives every connection deadlines, so that neither a client that
// does not read nor one that announces a body and sends none holds it. That of
// the answer begins with the answer: a request may wait long for its turn, and
// then what became of it must still be told. A
// request without a body gets no read deadline: the server already watches the
// connection then, and would take the deadline for the client's going away.
func boundTime(w http.ResponseWriter, r *http.Request, streams bool) {
	rc := http.NewResponseController(w)
	// Errors mean that this is no network connection; then nothing waits.
	if r.ContentLength != 0 {
		_ = rc.SetReadDeadline(time.Now().Add(answerTime))
	}
	_ = rc.SetWriteDeadline(time.Time{}) // that of the request before
	if rec, ok := w.(*recorder); ok {
		rec.bound = !streams
	}
}

func (p *port) unknown(w http.ResponseWriter, r *http.Request) {
	boundTime(w, r, false)
	WriteError(w, r, p.Errors, dm.Errorf(dm.NotFound, "route", "no such resource"))
}

func (p *port) otherMethod(w http.ResponseWriter, r *http.Request) {
	boundTime(w, r, false)
	methods := p.methods(r)
	if r.Method == http.MethodOptions && p.Options {
		SetRoute(r.Context(), "options")
		options(w.Header(), r, methods)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if p.Options {
		methods = append(methods, http.MethodOptions)
	}
	w.Header().Set("Allow", allow(methods))
	WriteError(w, r, p.Errors, &httpFault{methodNotAllowed,
		dm.Errorf(dm.Invalid, "route", "method not allowed, use %s", allow(methods))})
}

// methods returns what the path of r has routes for; those that only explain a
// mistake count where there is nothing else.
func (p *port) methods(r *http.Request) []string {
	var real, explaining []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete} {
		probe := *r
		probe.Method = method
		var match mux.RouteMatch
		if !p.mux.Match(&probe, &match) || match.MatchErr != nil {
			continue
		}
		if match.Route.GetName() != "" {
			real = append(real, method)
		} else {
			explaining = append(explaining, method)
		}
	}
	if len(real) > 0 {
		return real
	}
	return explaining
}

// The paths of the probes.
const (
	livez  = "/livez"
	readyz = "/readyz"
)

// probes adds what Kubernetes and Prometheus ask, without identity.
func (p *port) probes() {
	add := func(path string, h http.HandlerFunc) {
		name := strings.TrimPrefix(path, "/")
		p.mux.Path(path).Methods(http.MethodGet, http.MethodHead).Name(name).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := exchangeOf(r.Context())
			x.route, x.quiet = name, true
			boundTime(w, r, false)
			h(w, r)
		})
	}
	add(livez, func(w http.ResponseWriter, _ *http.Request) { WriteJSON(w, http.StatusOK, health{"ok"}) })
	add(readyz, p.ready)
	if p.Scrape != nil {
		add("/metrics", p.Scrape.ServeHTTP)
	}
}

type health struct {
	Status string `json:"status"`
}

func (p *port) ready(w http.ResponseWriter, r *http.Request) {
	if p.Ready != nil {
		if err := p.Ready(r.Context()); err != nil {
			why := ""
			if dm.KindOf(err) == dm.Unavailable { // said for people, and without paths
				why = ": " + dm.Public(err)
			}
			WriteError(w, r, p.Errors, dm.Errorf(dm.Unavailable, "readyz", "the server is not ready%s", why).Because(err))
			return
		}
	}
	WriteJSON(w, http.StatusOK, health{"ok"})
}
