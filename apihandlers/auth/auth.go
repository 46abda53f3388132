package auth

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Config says how callers are identified.
type Config struct {
	Mode           dm.AuthMode // required
	Directory      *Directory  // required
	Policy         dm.Policy   // for Git
	Authenticators []dm.Authenticator
	// Impersonators are services, such as a console, that may set user.name to
	// the person they act for; not over git.
	Impersonators []dm.UserName
	// ImpersonateAdmins leaves the group admin to those they act for.
	ImpersonateAdmins bool
	Registerer        prometheus.Registerer // nil means none
	Log               *slog.Logger          // nil means silent
}

// Auth identifies callers on all ports.
type Auth struct {
	mode      dm.AuthMode
	directory *Directory
	policy    dm.Policy
	chain     []dm.Authenticator
	log       *slog.Logger

	impersonators     []dm.UserName
	impersonateAdmins bool
}

// New checks the configuration.
func New(cfg Config) (*Auth, error) {
	if _, err := dm.ParseAuthMode(string(cfg.Mode)); err != nil {
		return nil, err
	}
	if cfg.Directory == nil {
		return nil, errors.New("auth: Directory is required")
	}
	if cfg.Mode == dm.Strict && len(cfg.Authenticators) == 0 {
		return nil, dm.Errorf(dm.Invalid, "auth", "auth mode strict requires a way to sign in").WithHint("set an htpasswd file, a token file or a JupyterHub")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Auth{
		mode: cfg.Mode, directory: cfg.Directory, policy: cfg.Policy, chain: cfg.Authenticators,
		log:           cfg.Log,
		impersonators: slices.Clone(cfg.Impersonators), impersonateAdmins: cfg.ImpersonateAdmins,
	}
	for _, name := range cfg.Impersonators {
		if _, err := dm.ParseUserName(string(name)); err != nil {
			return nil, dm.Wrap("read impersonators", err)
		}
	}
	if err := a.gauge(cfg.Registerer); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Auth) gauge(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "dm_insecure_auth", Help: "1 when user names are taken on trust (mode insecure-pnda), else 0.",
	})
	if a.mode == dm.InsecurePNDA {
		g.Set(1)
	}
	return reg.Register(g)
}

// Run repeats a warning every minute while names are taken on trust. It
// returns nil when ctx ends.
func (a *Auth) Run(ctx context.Context) error {
	if a.mode != dm.InsecurePNDA {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		a.log.Warn("auth mode is insecure-pnda: user names are not verified, anybody can act as anybody")
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// CheckBind refuses to take names on trust where other machines can connect,
// unless the operator said a second time that this is wanted. addrs have the
// form host:port.
func CheckBind(mode dm.AuthMode, addrs []string, anywhere bool) error {
	const op = "auth.CheckBind"
	if mode != dm.InsecurePNDA || anywhere {
		return nil
	}
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return dm.Errorf(dm.Invalid, op, "the address %q must have the form host:port", addr)
		}
		ip, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
			return dm.Errorf(dm.Invalid, op, "the auth mode insecure-pnda listens on loopback only, not on %q", addr).
				WithHint("use 127.0.0.1, another auth mode, or --insecure-anywhere")
		}
	}
	return nil
}

// principal is who a credential proved; user is "" for the anonymous user.
type principal struct {
	user   dm.UserName
	auth   string
	groups []string // that the credential brings
	scopes []dm.Scope
	scheme string // of the credential
}

// unproven is the auth of names taken on trust and of the anonymous user.
const unproven = "none"

// prove asks the authenticators in order; the first that knows the sort of
// credential decides. ok is false when the request offers none.
func (a *Auth) prove(r *http.Request) (p principal, ok bool, err error) {
	const op = "auth.prove"
	c, offered, err := credentialOf(r)
	if err != nil || !offered {
		return principal{}, false, err
	}
	for i, one := range a.chain {
		id, knows, err := one.Authenticate(r.Context(), c)
		if err != nil {
			return principal{}, false, a.refusedAfter(r.Context(), i, c, err)
		}
		if knows {
			return principal{user: id.User, auth: id.Auth, groups: id.Groups, scopes: id.Scopes, scheme: c.Scheme}, true, nil
		}
	}
	return principal{}, false, dm.Errorf(dm.Unauthenticated, op, "this kind of credential is not accepted")
}

// discreet is an authenticator that passes some credentials on after less work
// than it has with others. It is told when a later one refused such a credential,
// and makes up for the difference, which would tell whom it knows. Its error is
// what it would have said to somebody it knows.
type discreet interface {
	Refused(ctx context.Context, c dm.Credential) error
}

// refusedAfter is what the client is told of err of authenticator number n. Where
// it could not tell, nothing is made up for: when it is away, all ask at once.
func (a *Auth) refusedAfter(ctx context.Context, n int, c dm.Credential, err error) error {
	if apihandlers.FailureOf(err).Status >= http.StatusInternalServerError {
		return err
	}
	for _, before := range a.chain[:n] {
		if d, ok := before.(discreet); ok {
			if earlier := d.Refused(ctx, c); earlier != nil {
				return earlier
			}
		}
	}
	return err
}

// credentialOf reads the Authorization header. Its text appears in no error.
func credentialOf(r *http.Request) (c dm.Credential, offered bool, err error) {
	const op = "auth.credentialOf"
	list := r.Header.Values("Authorization")
	switch {
	case len(list) == 0:
		return c, false, nil
	case len(list) > 1:
		return c, false, dm.Errorf(dm.Invalid, op, "duplicate Authorization header")
	}
	if user, password, ok := r.BasicAuth(); ok {
		return basicCredential(user, password, peer(r)), true, nil
	}
	scheme, token, _ := strings.Cut(list[0], " ")
	// "token" is JupyterHub's own word for "Bearer".
	if token = strings.TrimSpace(token); token != "" && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token")) {
		return dm.Credential{Scheme: "bearer", Secret: token, Source: peer(r)}, true, nil
	}
	return c, false, dm.Errorf(dm.Unauthenticated, op, "the Authorization header must be Basic or Bearer")
}

// peer is the address of the client, as apihandlers.Proxies left it.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// actor completes a name with what the directory knows.
func (a *Auth) actor(p principal, via string) dm.Actor {
	groups := append(a.directory.Groups(p.user), p.groups...)
	slices.Sort(groups)
	return dm.Actor{User: p.user, Groups: slices.Compact(groups), Auth: p.auth, Via: via, Scopes: p.scopes}
}

func noSuchUser(u dm.UserName) error {
	return dm.Errorf(dm.Forbidden, "auth", "no such user: %s", u)
}

var _ apihandlers.Gate = (*Door)(nil)
