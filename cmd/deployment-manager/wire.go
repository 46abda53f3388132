package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/apihandlers/manager"
	"github.com/pndaproject/deployment-manager/apihandlers/packages"
	v1 "github.com/pndaproject/deployment-manager/apihandlers/v1"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/hooks"
	"github.com/pndaproject/deployment-manager/hooks/dispatch"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/flink"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
	"github.com/pndaproject/deployment-manager/plugins/oozie"
)

// server is what build makes: one handler for each port, and what works
// behind them.
type server struct {
	packages, manager, git http.Handler
	stages                 [][]part
	connections            *apihandlers.Connections
	readiness              *readiness
	store                  *gitstore.Store
}

// build is the map of the server: it builds every part, in order, and plugs
// each into those that need it. It starts nothing.
func build(ctx context.Context, cfg config, s serving) (_ *server, err error) {
	registry := prometheus.NewRegistry()
	if err := errors.Join(
		registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	); err != nil {
		return nil, dm.Wrap("build metrics", err)
	}
	people, err := buildPeople(cfg, registry, s.log)
	if err != nil {
		return nil, err
	}
	files := descriptorLimit()
	connections, err := buildConnections(cfg, files, people.proxies, registry, s.log)
	if err != nil {
		return nil, err
	}
	if few := fetchesFor(connections.Most(), files); few > 0 {
		cfg.LimitFetches, cfg.LimitPushes = min(cfg.LimitFetches, few), min(cfg.LimitPushes, few)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, dm.Wrap("find the programs beside this one", err)
	}
	s.programs = os.DirFS(filepath.Dir(self))
	engines, err := buildEngines(cfg, s.log)
	if err != nil {
		return nil, err
	}
	record, err := openRecord(ctx, cfg, s, people, engines, registry)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, record.store.Close())
		}
	}()
	callbacks, err := hooks.NewCallbacks(hooks.CallbacksConfig{
		Events: record.store, Cursors: record.store,
		PackageURL: cfg.PackageCallback, ApplicationURL: cfg.AppCallback, Log: s.log, Registerer: registry,
	})
	if err != nil {
		return nil, dm.Wrap("build callbacks", err)
	}
	dispatcher, err := dispatch.New(dispatch.Config{
		Record: record.store, Plugins: record.plugins.Get, Types: record.plugins.Types(),
		Workers: cfg.DeployerThreads, LogTail: int(cfg.Engines.LogTail), Step: s.step, Log: s.log, Registerer: registry,
	})
	if err != nil {
		return nil, dm.Wrap("build the dispatcher", err)
	}
	record.dispatcher.Store(dispatcher)
	pushes, err := buildPushes(cfg, s, self, record, registry)
	if err != nil {
		return nil, err
	}

	srv := &server{connections: connections, store: record.store, readiness: &readiness{record: record.store.Ready, ended: make(chan struct{})}}
	srv.stages = [][]part{
		{{"callbacks", callbacks.Run}},
		{
			{"dispatcher", dispatcher.Run},
			{"pushes", pushes.Run},
			{"sign-in", people.auth.Run},
			{"patrol", patrol(record.store, s.log)},
			{"second looks", record.store.Service().LookAgain},
			{"rights on the cluster", engines.checkRights(s.log)},
			{"maintenance", func(ctx context.Context) error { return record.store.MaintainEvery(ctx, cfg.Maintenance) }},
		},
	}
	if err := srv.buildPorts(cfg, people, record, engines, registry, s.log); err != nil {
		pushes.Close()
		return nil, err
	}
	return srv, nil
}

// buildPushes makes what judges pushes; the record owns the folder it works in
// by now.
func buildPushes(cfg config, s serving, self string, record *record, registry *prometheus.Registry) (*hooks.PushServer, error) {
	address := strings.TrimSuffix(cfg.PublicManager, "/")
	pushes, err := hooks.NewPushServer(hooks.PushConfig{
		Folder: record.store.HooksFolder(), Program: hookProgram(self, s.log), Events: record.store, Log: s.log, Registerer: registry,
		Address: func(app dm.ApplicationName) string { return address + "/api/v1/applications/" + string(app) },
		Deploy: func(by dm.Actor, ref dm.PackageRef) string {
			return deployCommand(address, cfg.Auth == dm.InsecurePNDA, by.User, ref)
		},
	})
	if err != nil {
		return nil, dm.Wrap("build pushes", err)
	}
	record.pushes.Store(pushes)
	return pushes, nil
}

// hookProgram is what git starts at the end of each push: a small program that
// starts in a millisecond, when it stands beside self, else self, which takes
// five.
func hookProgram(self string, log *slog.Logger) string {
	small := filepath.Join(filepath.Dir(self), "deployment-manager-hook")
	if info, err := os.Stat(small); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return small
	}
	log.Info("pushes start the server's own program as their hook, because the small one is missing", "missing", small)
	return self
}

// patrolPause is the time from a patrol that could not go on to the next.
const patrolPause = time.Minute

// patrol checks the whole record once beside the running server.
func patrol(store *gitstore.Store, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		for err := store.Service().Patrol(ctx); err != nil && ctx.Err() == nil; err = store.Service().Patrol(ctx) {
			log.Error("the check of the record failed and is tried again", "after", patrolPause, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(patrolPause):
			}
		}
		<-ctx.Done()
		return nil
	}
}

// people is who may come, from where, and what they may do.
type people struct {
	directory *auth.Directory
	policy    dm.Policy
	auth      *auth.Auth
	proxies   *apihandlers.Proxies
}

func buildPeople(cfg config, registry *prometheus.Registry, log *slog.Logger) (people, error) {
	p := people{policy: dm.NewPolicy(cfg.Auth, dm.PublishRule(cfg.Publish))}
	directory := auth.DirectoryConfig{
		Users: userNames(cfg.Users), Groups: map[string][]dm.UserName{}, TrustAny: cfg.Auth == dm.InsecurePNDA || cfg.HubURL != "",
	}
	for group, members := range cfg.Groups {
		directory.Groups[group] = userNames(members)
	}
	var err error
	if p.proxies, err = apihandlers.NewProxies(cfg.TrustedProxies); err != nil {
		return p, err
	}
	signIn, err := openSignIn(cfg, registry, log)
	if err != nil {
		return p, err
	}
	directory.SignIn = signIn.users
	if p.directory, err = auth.NewDirectory(directory); err != nil {
		return p, err
	}
	p.auth, err = auth.New(auth.Config{
		Mode: cfg.Auth, Directory: p.directory, Policy: p.policy, Authenticators: signIn.chain,
		Impersonators: userNames(cfg.Impersonators), ImpersonateAdmins: cfg.ImpersonateAdmins,
		Registerer: registry, Log: log,
	})
	return p, err
}

// signIn is the ways to sign in, and who has one.
type signIn struct {
	chain []dm.Authenticator
	lists []func() []dm.UserName
}

func (s signIn) users() []dm.UserName {
	var all []dm.UserName
	for _, list := range s.lists {
		all = append(all, list()...)
	}
	return all
}

// openSignIn opens what the configuration names. Tokens are asked first: they
// are known by their form. JupyterHub is asked last, about what looks like its
// tokens and is no password of the file; everything else in Basic is a password.
func openSignIn(cfg config, registry *prometheus.Registry, log *slog.Logger) (signIn, error) {
	var s signIn
	if cfg.Auth == dm.InsecurePNDA {
		return s, nil
	}
	if cfg.Tokens != "" {
		tokens, err := auth.OpenTokens(auth.TokensConfig{Path: cfg.Tokens, Log: log})
		if err != nil {
			return s, err
		}
		s.chain, s.lists = append(s.chain, tokens), append(s.lists, tokens.Users)
	}
	if cfg.Htpasswd != "" {
		file := auth.HtpasswdConfig{Path: cfg.Htpasswd, Log: log}
		if cfg.HubURL != "" {
			file.PassOn = auth.LooksLikeHubToken
		}
		htpasswd, err := auth.OpenHtpasswd(file)
		if err != nil {
			return s, err
		}
		s.chain, s.lists = append(s.chain, htpasswd), append(s.lists, htpasswd.Users)
	}
	if cfg.HubURL != "" {
		hub, err := auth.OpenHub(auth.HubConfig{
			URL: cfg.HubURL, Service: cfg.HubService, CA: cfg.HubCA, Reserved: userNames(cfg.HubReserved), Registerer: registry, Log: log,
		})
		if err != nil {
			return s, err
		}
		s.chain = append(s.chain, hub)
	}
	return s, nil
}

func userNames(texts []string) []dm.UserName {
	names := make([]dm.UserName, len(texts))
	for i, text := range texts {
		names[i] = dm.UserName(text)
	}
	return names
}

// record is the store with what plans and judges for it.
type record struct {
	store      *gitstore.Store
	plugins    *plugins.Registry
	dispatcher atomic.Pointer[dispatch.Dispatcher] // what the store wakes, once there is one
	pushes     pushesLater
}

// pushesLater is what judges pushes, once there is one: the store needs it, and
// it needs the folder that the store has locked.
type pushesLater struct {
	atomic.Pointer[hooks.PushServer]
}

// Open implements dm.Pushes. No push comes before the doors open.
func (p *pushesLater) Open(ctx context.Context, push dm.Push) (dm.PushSession, func(), error) {
	return p.Load().Open(ctx, push)
}

// deliveriesLater closes the one circle of the house: the store needs the planner,
// the planner the plugins, and the jupyter plugin asks the store who fetched. It is
// filled before anybody asks.
type deliveriesLater struct{ dm.Deliveries }

func openRecord(ctx context.Context, cfg config, s serving, who people, engines *engines, registry *prometheus.Registry) (*record, error) {
	r := &record{}
	deliveries, err := &deliveriesLater{}, error(nil)
	if r.plugins, err = plugins.New(jupyter.New(deliveries), engines.spark, flink.New(), oozie.New(oozie.Config{SparkVersion: cfg.OozieSparkVersion})); err != nil {
		return nil, err
	}
	// What may not be shown may not be filled into files either.
	environment, err := manager.Endpoints(cfg.Environment)
	if err != nil {
		return nil, err
	}
	planner, err := plugins.NewPlanner(plugins.Config{Registry: r.plugins, Environment: flatTexts(environment), Filled: cfg.LimitFilled})
	if err != nil {
		return nil, err
	}
	admission, err := hooks.NewAdmission(hooks.AdmissionConfig{
		Policy: who.policy, Planner: planner, Directory: who.directory, RequireReason: cfg.RequireReason,
	})
	if err != nil {
		return nil, dm.Wrap("build the admission", err)
	}
	probes, err := hooks.NewEngines(hooks.EnginesConfig{Plugins: r.plugins.Get, Log: s.log})
	if err != nil {
		return nil, dm.Wrap("build the probes", err)
	}
	r.store, err = gitstore.Open(ctx, gitstore.Config{
		Team: engines.team, Engines: probes,
		Dir: cfg.Data, LockWait: s.lockWait, Git: cfg.GitPath, Planner: planner, Admission: admission, Readme: jupyter.Readme(), Programs: s.programs,
		Replace:   cfg.Versions == versionsReplace,
		Limits:    archive.Limits{Wire: cfg.LimitWire, Unpacked: cfg.LimitUnpacked, File: cfg.LimitFile, Entries: cfg.LimitEntries},
		Filling:   cfg.LimitFilling,
		Places:    gate.Places{Downloads: cfg.LimitDownloads, Uploads: cfg.LimitUploads, Receiving: cfg.LimitReceiving},
		GitLimits: gitcmd.Limits{Fetches: cfg.LimitFetches, Pushes: cfg.LimitPushes, Memory: cfg.LimitGitMemory},
		Bounds:    cfg.Bounds, Earlier: s.earlier, SweepAfter: cfg.SweepAfter,
		Pushes: &r.pushes, Log: s.log, Registerer: registry, Step: s.step,
		Wake: func(app dm.ApplicationName) {
			if d := r.dispatcher.Load(); d != nil {
				d.Wake(app) // before that, the dispatcher's first look finds it
			}
		},
	})
	if err != nil {
		return nil, err
	}
	deliveries.Deliveries = r.store
	if err := engines.opened(cfg, r.store); err != nil {
		return nil, errors.Join(err, r.store.Close())
	}
	return r, nil
}

// flatTexts is the environment as templates see it; a map of texts is its
// JSON there.
func flatTexts(environment map[string]any) map[string]string {
	flat := make(map[string]string, len(environment))
	for key, value := range environment {
		if text, ok := value.(string); ok {
			flat[key] = text
		} else {
			flat[key] = jsonText(value)
		}
	}
	return flat
}

// readiness answers /readyz: no until everything runs and from the moment it
// stops, else what the record says.
type readiness struct {
	yes    atomic.Bool
	ended  chan struct{} // closed by end
	record func(context.Context) error
}

// end tells that the server stops.
func (r *readiness) end() {
	r.yes.Store(false)
	close(r.ended)
}

func (r *readiness) check(ctx context.Context) error {
	if !r.yes.Load() {
		return dm.Errorf(dm.Unavailable, "readyz", "it starts or stops")
	}
	return r.record(ctx)
}

// buildPorts makes the handler of each port.
func (s *server) buildPorts(cfg config, who people, record *record, engines *engines, registry *prometheus.Registry, log *slog.Logger) error {
	metrics, err := apihandlers.NewMetrics(registry)
	if err != nil {
		return dm.Wrap("build metrics", err)
	}
	archives, err := packages.New(packages.Config{Store: record.store, Owners: record.store, Policy: who.policy, MaxBody: cfg.LimitWire})
	if err != nil {
		return dm.Wrap("build the package repository", err)
	}
	check := &selftest{packages: record.store, deployed: record.store, applications: record.store, git: record.store, rights: engines.rights()}
	pnda, err := manager.New(manager.Config{
		Repository: record.store, Packages: record.store, Applications: record.store, Policy: who.policy,
		Environment: cfg.Environment, Summarize: record.plugins.Summary, Details: record.plugins.Details, Selftest: check.report,
	})
	if err != nil {
		return dm.Wrap("build the deployment manager", err)
	}
	native, err := v1.New(v1.Config{Applications: record.store, History: record.store, Owners: record.store, Events: record.store, Deliveries: record.store, Logs: record.plugins, Kept: record.store, Directory: who.directory, Policy: who.policy, Ending: s.readiness.ended})
	if err != nil {
		return dm.Wrap("build the native API", err)
	}
	delivered, err := engines.routes(record.store)
	if err != nil {
		return err
	}
	gitDoor := &auth.GitDoor{Auth: who.auth, Owners: record.store}
	clones, err := githttp.New(githttp.Config{
		Transport: record.store, Authorize: gitDoor.Authorize, Reader: gitDoor.Reader, Limits: githttp.Limits{Push: cfg.LimitWire}, Script: sync.Script(),
	})
	if err != nil {
		return dm.Wrap("build git over HTTP", err)
	}
	site, err := apihandlers.NewSite(apihandlers.SiteConfig{
		Mode: cfg.Auth, Listen: []string{cfg.ListenPackages, cfg.ListenManager, cfg.ListenGit},
		Hosts: slices.Concat(cfg.Hosts, cfg.Engines.filesHosts()), Public: []string{cfg.PublicManager}, Origins: cfg.Origins,
	})
	if err != nil {
		return err
	}
	repositoryDoor := &auth.Door{Auth: who.auth, Via: "packages", NameByPresence: true}
	managerDoor := &auth.Door{Auth: who.auth, Via: "manager"}
	nativeDoor := &auth.Door{Auth: who.auth, Via: "api"}
	for _, port := range []struct {
		to     *http.Handler
		config apihandlers.Config
	}{
		{&s.packages, apihandlers.Config{Server: "packages", Errors: apihandlers.RepositoryBody, Tables: []apihandlers.Table{
			{Gate: repositoryDoor, Routes: archives.Routes()},
		}}},
		{&s.manager, apihandlers.Config{Server: "manager", Errors: apihandlers.ManagerBody, Options: true, Tables: []apihandlers.Table{
			{Gate: nativeDoor, Routes: native.Routes()},
			{Gate: managerDoor, Routes: pnda.Routes()},
			{Routes: delivered},
		}}},
		{&s.git, apihandlers.Config{Server: "git", Errors: apihandlers.LineBody, Tables: []apihandlers.Table{{Routes: clones.Routes()}}}},
	} {
		port.config.Ready, port.config.Scrape = s.readiness.check, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
		port.config.Metrics, port.config.Log, port.config.Site = metrics, log, site
		handler, err := apihandlers.New(port.config)
		if err != nil {
			return dm.Wrap("build the port "+port.config.Server, err)
		}
		*port.to = who.proxies.Wrap(handler)
	}
	return nil
}
