package hooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// PushConfig is what a PushServer needs.
type PushConfig struct {
	Folder     string                               // required, absolute: holds the hook program; private to the server
	Program    string                               // required, absolute: an executable that calls hook.Program when it is called as the hook
	Events     dm.Events                            // required
	Address    func(dm.ApplicationName) string      // where a person watches an application; nil leaves it out
	Deploy     func(dm.Actor, dm.PackageRef) string // the command with which the person deploys a published version; nil names the request
	Relay      time.Duration                        // how long progress is told after a change; 0 means 10 s
	Timeout    time.Duration                        // of judging a push, and of each change; 0 means 5 minutes
	Grace      time.Duration                        // for changes that are being accepted when Run is told to stop; 0 means 5 s
	Log        *slog.Logger                         // nil means silent
	Registerer prometheus.Registerer                // nil means not counted
}

// Bounds of what a client of the socket may take up.
const (
	maxSessions    = 1024
	maxConnections = 256
	helloTimeout   = 10 * time.Second // from connecting to having said who one is
	writeTimeout   = 10 * time.Second // of one frame: who does not read is gone
)

// PushServer judges pushes for the record and tells the person who pushes what
// becomes of them. It implements dm.Pushes.
type PushServer struct {
	cfg      PushConfig
	listener *net.UnixListener
	place    socketPlace
	pushes   *prometheus.CounterVec

	mu       sync.Mutex
	sessions map[string]*pushSession
	closed   bool // no new sessions
}

var _ dm.Pushes = (*PushServer)(nil)

// NewPushServer checks cfg, puts the hook program into the folder and opens
// the socket. Connections wait until Run. Who does not call Run calls Close.
func NewPushServer(cfg PushConfig) (*PushServer, error) {
	switch {
	case !filepath.IsAbs(cfg.Folder):
		return nil, errors.New("hooks: the folder of the hook programs must be an absolute path")
	case !filepath.IsAbs(cfg.Program):
		return nil, errors.New("hooks: the hook program must be an absolute path")
	case cfg.Events == nil:
		return nil, errors.New("hooks: a push server needs events")
	case cfg.Relay < 0 || cfg.Timeout < 0 || cfg.Grace < 0:
		return nil, errors.New("hooks: a push server's times must not be negative")
	}
	orDefault(&cfg.Relay, 10*time.Second)
	orDefault(&cfg.Timeout, 5*time.Minute)
	orDefault(&cfg.Grace, 5*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Address == nil {
		cfg.Address = func(dm.ApplicationName) string { return "" }
	}
	if cfg.Deploy == nil {
		cfg.Deploy = func(_ dm.Actor, r dm.PackageRef) string { return "PUT /packages/" + r.String() }
	}
	s := &PushServer{cfg: cfg, sessions: map[string]*pushSession{}}
	s.pushes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_pushes_total", Help: "Pushes by kind of repository and by what became of them.",
	}, []string{"kind", "outcome"})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(s.pushes); err != nil {
			return nil, err
		}
	}
	if err := installProgram(cfg.Folder, cfg.Program); err != nil {
		return nil, err
	}
	var err error
	if s.listener, s.place, err = listen(cfg.Folder, os.TempDir()); err != nil {
		return nil, err
	}
	return s, nil
}

// Open implements dm.Pushes. After close has returned no method of p is at
// work: close cancels a judgement and a relay, and waits for a change that is
// being accepted.
func (s *PushServer) Open(ctx context.Context, p dm.Push) (dm.PushSession, func(), error) {
	const op = "hooks.Open"
	id, err := newSessionID()
	if err != nil {
		return dm.PushSession{}, nil, dm.Wrap(op, err)
	}
	session := &pushSession{push: p, request: dm.RequestID(ctx), outcome: pushUnjudged}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return dm.PushSession{}, nil, dm.Errorf(dm.Unavailable, op, "the server is shutting down")
	case len(s.sessions) >= maxSessions:
		return dm.PushSession{}, nil, dm.Errorf(dm.Unavailable, op, "too many pushes in progress")
	}
	s.sessions[id] = session
	opened := dm.PushSession{
		Programs:    s.cfg.Folder,
		Environment: []string{hook.SocketVariable + "=" + s.place.socket, hook.SessionVariable + "=" + id},
	}
	return opened, sync.OnceFunc(func() { s.end(id, session) }), nil
}

// newSessionID makes 128 random bits, in the letters that folder hook expects.
func newSessionID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:]), nil
}

// end forgets a session, waits for its hook, and counts what became of it.
func (s *PushServer) end(id string, p *pushSession) {
	s.mu.Lock()
	delete(s.sessions, id)
	if p.cancel != nil {
		p.cancel()
	}
	s.mu.Unlock()
	p.running.Wait()
	s.pushes.WithLabelValues(string(p.push.Repository().Kind), p.outcome).Inc()
	s.cfg.Log.Info("push ended", "repository", p.repository(), "actor", p.push.Actor().User,
		"outcome", p.outcome, "refs", len(p.asked.commands), "request_id", p.request)
}

// Run serves hook programs until ctx ends. Then it takes no more connections,
// ends judgements and relays, gives changes that are being accepted the grace,
// and returns nil. It can be called once.
func (s *PushServer) Run(ctx context.Context) error {
	defer s.Close()
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.Close()
		time.AfterFunc(s.cfg.Grace, cancel)
	})
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, maxConnections)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.listener.AcceptUnix()
		switch {
		case err == nil:
			running.Go(func() {
				defer func() { <-places }()
				s.serve(ctx, late, conn)
			})
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return errors.New("hooks: the push server is closed")
		}
		s.cfg.Log.Warn("a hook program could not be let in", "err", err)
		<-places
		select { // what is short, such as open files, comes back
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Close stops listening and removes the socket. It may be called twice.
func (s *PushServer) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if err := errors.Join(s.listener.Close(), s.place.remove()); err != nil {
		s.cfg.Log.Warn("the socket of the hook programs could not be removed", "err", err)
	}
}
