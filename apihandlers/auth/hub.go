package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// What is asked of JupyterHub at once and at most.
const (
	hubPatience     = 5 * time.Second  // for connection and answer together
	hubWait         = 10 * time.Second // for a place; many pods may start at once
	hubPlaces       = 16               // questions at once
	hubSourcePlaces = hubPlaces / 2    // of them, of one source
	maxHubAnswer    = 1 << 20          // bytes
)

// The forms of JupyterHub's tokens, as its versions 2 to 6 make them. Tokens of
// pods and those that people make at the Hub are a random UUID without dashes
// (jupyterhub.utils.new_token). Tokens that the Hub issues through OAuth are
// 30 letters and digits (oauthlib's generate_token). A service's token may have
// any form, but services are not let in.
var (
	hubTokenForm = regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`)
	hubOAuthForm = regexp.MustCompile(`^[0-9A-Za-z]{30}$`)
)

// LooksLikeHubToken tells whether a Basic password has the form of a token of
// a pod. It is for HtpasswdConfig.PassOn.
func LooksLikeHubToken(password string) bool { return hubTokenForm.MatchString(password) }

// fromHub begins the Auth of everyone that JupyterHub vouches for.
const fromHub = "jupyterhub"

// HubConfig says which JupyterHub is asked and as what.
type HubConfig struct {
	URL        string                // of its API, such as http://hub:8081/hub/api
	Service    string                // our name among its services
	CA         string                // file of PEM certificates; "" means the system's
	Reserved   []dm.UserName         // names that are only proved by other means
	Patience   time.Duration         // for connection and answer; 0 means 5 seconds
	Clock      func() time.Time      // nil means time.Now
	Registerer prometheus.Registerer // nil means none
	Log        *slog.Logger          // nil means silent
}

// Hub proves tokens of JupyterHub, as Bearer or as the password of Basic with
// the Hub's own name of the user or one that stands for nobody, by asking the
// Hub whose they are.
//
// Only what has the form of a token is sent there: a person's password is none
// of the Hub's business. A Basic password must have the form of a pod's token;
// a Bearer may also be one of OAuth, because no person types a Bearer. In the
// chain Hub stands behind Htpasswd, which keeps for itself what is a password
// of its file, also one that looks like a token: see HtpasswdConfig.PassOn.
//
// An answer counts from the moment of the question, a yes for a minute and a no
// for five seconds, and using a token does not prolong it. So a token that is
// revoked at the Hub ends here within a minute. While the Hub cannot be asked,
// what it said before counts to its end, and everybody else gets Unavailable.
//
// Tokens that the Hub does not know cost their source tries, see guesses; what
// goes wrong at the Hub costs nothing.
type Hub struct {
	user     string // the address that is asked
	scope    string // that names this service alone
	reserved []dm.UserName
	client   *http.Client
	clock    func() time.Time
	log      *slog.Logger
	guesses  *guesses
	slots    chan struct{}
	flights  singleflight.Group // by digest of the token

	patience  time.Duration
	questions *prometheus.CounterVec
	cached    prometheus.Counter

	mu         sync.Mutex // guards what follows
	remembered map[[sha256.Size]byte]hubVerdict
	down       bool // the last question failed, which was logged
}

// hubVerdict is what the Hub's answer to one token came to. It keeps no token.
type hubVerdict struct {
	user    dm.UserName // "" when nobody is known by the token
	auth    string
	refusal error // nil when the user may come in
	until   time.Time
	held    bool // it once let the user in, however long ago
}

var _ dm.Authenticator = (*Hub)(nil)

// OpenHub checks the configuration. The Hub itself is not asked yet: it may
// start after this server.
func OpenHub(cfg HubConfig) (*Hub, error) {
	const op = "open JupyterHub sign-in"
	address, err := url.Parse(cfg.URL)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" ||
		address.User != nil || address.RawQuery != "" || address.Fragment != "" {
		return nil, dm.Errorf(dm.Invalid, op, "hub.url must be a URL such as http://hub:8081/hub/api, without user, password and query")
	}
	// The name becomes part of a scope, where '!' and '=' have a meaning.
	if cfg.Service == "" || strings.ContainsAny(cfg.Service, "!=,/ ") {
		return nil, dm.Errorf(dm.Invalid, op, "%q is not a valid name of a JupyterHub service", cfg.Service)
	}
	for _, name := range cfg.Reserved {
		if _, err := dm.ParseUserName(string(name)); err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "%q in hub.reserved is not a valid user name", name).Because(err)
		}
	}
	roots, err := readRoots(cfg.CA)
	if err != nil {
		return nil, err
	}
	h := &Hub{
		user: address.JoinPath("user").String(), scope: "access:services!service=" + cfg.Service, reserved: cfg.Reserved,
		client: hubClient(roots), clock: cfg.Clock, log: cfg.Log,
		guesses: newGuesses(hubSourcePlaces), slots: make(chan struct{}, hubPlaces),
		patience: cfg.Patience, remembered: map[[sha256.Size]byte]hubVerdict{},
	}
	if h.clock == nil {
		h.clock = time.Now
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.patience == 0 {
		h.patience = hubPatience
	}
	return h, h.count(cfg.Registerer)
}

// hubClient goes to the Hub and nowhere else: a redirect or a proxy would get
// the token.
func hubClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: hubPatience, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    hubPatience,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    hubPlaces,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, "open JupyterHub sign-in", "cannot read JupyterHub's CA certificates: %v", err).Because(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, dm.Errorf(dm.Invalid, "open JupyterHub sign-in", "the file of JupyterHub's CA certificates has no PEM certificate")
	}
	return roots, nil
}

func (h *Hub) count(reg prometheus.Registerer) error {
	h.questions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_hub_questions_total", Help: "Tokens that JupyterHub was asked about, by its answer: yes, no, unfit (known, but not for this server) or failed; unasked are those whose turn did not come, because it answers slowly.",
	}, []string{"answer"})
	for _, answer := range []string{answerYes, answerNo, answerUnfit, answerFailed, answerUnasked} {
		h.questions.WithLabelValues(answer)
	}
	h.cached = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dm_hub_cached_total", Help: "Tokens that were judged by what JupyterHub had answered before.",
	})
	if reg == nil {
		return nil
	}
	if err := reg.Register(h.questions); err != nil {
		return dm.Wrap("count JupyterHub's answers", err)
	}
	return dm.Wrap("count JupyterHub's answers", reg.Register(h.cached))
}

// Authenticate proves a token. Kinds: Unauthenticated, Unavailable.
func (h *Hub) Authenticate(ctx context.Context, c dm.Credential) (dm.Identity, bool, error) {
	const op = "auth.Hub"
	if !hubTokenForm.MatchString(c.Secret) && (c.Scheme != "bearer" || !hubOAuthForm.MatchString(c.Secret)) {
		return dm.Identity{}, false, nil
	}
	v, err := h.verdict(ctx, c)
	switch {
	case err != nil:
		return dm.Identity{}, true, err
	case v.user != "" && c.Scheme == "basic" && !names(c, v.user):
		return dm.Identity{}, true, dm.Errorf(dm.Unauthenticated, op, "the token belongs to another JupyterHub user")
	case v.refusal != nil:
		return dm.Identity{}, true, v.refusal
	}
	return dm.Identity{User: v.user, Auth: v.auth}, true, nil
}

// verdict decides from memory or asks. Callers with the same token share one
// question, and it goes on when one of them leaves.
func (h *Hub) verdict(ctx context.Context, c dm.Credential) (hubVerdict, error) {
	key, source := sha256.Sum256([]byte(c.Secret)), sourceOf(c.Source)
	v, known := h.recall(key)
	if known {
		h.cached.Inc()
		return v, nil
	}
	if !h.guesses.allowSource(source, v.held, h.clock()) {
		return hubVerdict{}, tooManyTokens()
	}
	flight := h.flights.DoChan(string(key[:]), func() (any, error) {
		return h.decide(context.WithoutCancel(ctx), key, c.Secret, source)
	})
	select {
	case landed := <-flight:
		v, _ := landed.Val.(hubVerdict) // the zero value beside an error
		return v, landed.Err
	case <-ctx.Done():
		return hubVerdict{}, dm.Wrap("auth.Hub", ctx.Err())
	}
}

// decide asks the Hub when it is this source's turn.
func (h *Hub) decide(ctx context.Context, key [sha256.Size]byte, token, source string) (hubVerdict, error) {
	before, known := h.recall(key)
	if known { // a question ended after the caller had looked
		h.cached.Inc()
		return before, nil
	}
	release, err := h.guesses.turn(ctx, source, h.slots, hubWait)
	if err != nil {
		h.questions.WithLabelValues(answerUnasked).Inc()
		return hubVerdict{}, dm.Errorf(dm.Unavailable, "auth.Hub", "too many tokens are being verified").WithHint("try again").Because(err)
	}
	defer release()
	now := h.clock() // an answer is as old as its question
	if !h.guesses.allowSource(source, before.held, now) {
		return hubVerdict{}, tooManyTokens() // others of this source were found wrong meanwhile
	}
	answer, err := h.ask(ctx, token)
	h.noteOutage(err)
	if err != nil {
		h.questions.WithLabelValues(answerFailed).Inc()
		// The cause is in the log, once for all who ask.
		return hubVerdict{}, dm.Errorf(dm.Unavailable, "auth.Hub", "JupyterHub is unavailable").WithHint("try again")
	}
	word, v := h.judge(answer)
	h.questions.WithLabelValues(word).Inc()
	v.until = now.Add(refusedFor)
	if v.refusal == nil {
		v.until, v.held = now.Add(provenFor), true
	}
	if word == answerNo {
		h.guesses.wrongSource(source, now)
	}
	h.remember(key, v)
	return v, nil
}

func tooManyTokens() error {
	return apihandlers.TooMany("auth.Hub", "too many failed sign-ins, try again later")
}

// recall returns what is remembered of a token; known tells whether it still
// decides.
func (h *Hub) recall(key [sha256.Size]byte) (v hubVerdict, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, found := h.remembered[key]
	return v, found && h.clock().Before(v.until)
}

func (h *Hub) remember(key [sha256.Size]byte, v hubVerdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, there := h.remembered[key]; !there {
		makeRoom(h.remembered)
	}
	h.remembered[key] = v
}

// noteOutage logs when the Hub stops to answer and when it answers again, not
// each question between.
func (h *Hub) noteOutage(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && !h.down:
		h.log.Error("JupyterHub is unavailable; requests with tokens not seen before get 503", "err", err)
	case err == nil && h.down:
		h.log.Info("JupyterHub is available again")
	}
	h.down = err != nil
}
