package chart

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Source is the chart's folder, seen from a folder of deploy/testcluster, which
// is where the tests of its packages run.
const Source = "../../helm/deployment-manager"

// Wait bounds how long Helm waits for a release to be ready, or gone.
const Wait = 3 * time.Minute

// Load reads a chart from its folder. Each call returns one of its own, whose
// metadata may be changed.
func Load(folder string) (*chartv2.Chart, error) { return loader.Load(folder) }

// Helm installs releases in one namespace as one user.
type Helm struct {
	namespace string
	actions   *action.Configuration
	warnings  *warnings
}

// NewHelm makes a Helm that signs in with the configuration.
func NewHelm(config *rest.Config, namespace string) (*Helm, error) {
	h := &Helm{namespace: namespace, warnings: &warnings{}}
	config = rest.CopyConfig(config)
	config.WarningHandler = h.warnings
	getter, err := newGetter(config, namespace)
	if err != nil {
		return nil, err
	}
	h.actions = action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	return h, h.actions.Init(getter, namespace, "secrets")
}

// Install installs the chart and waits until all of it is ready.
func (h *Helm) Install(ctx context.Context, release string, chart *chartv2.Chart, values map[string]any) (*releasev1.Release, error) {
	install := action.NewInstall(h.actions)
	install.ReleaseName, install.Namespace = release, h.namespace
	install.Timeout, install.WaitStrategy, install.WaitOptions = Wait, kube.StatusWatcherStrategy, waitIn(ctx)
	return released(install.RunWithContext(ctx, chart, values))
}

// Upgrade brings the release to the chart and the values, which replace those
// of before, and waits until all of it is ready.
func (h *Helm) Upgrade(ctx context.Context, release string, chart *chartv2.Chart, values map[string]any) (*releasev1.Release, error) {
	upgrade := action.NewUpgrade(h.actions)
	upgrade.Namespace, upgrade.ResetValues = h.namespace, true
	upgrade.Timeout, upgrade.WaitStrategy, upgrade.WaitOptions = Wait, kube.StatusWatcherStrategy, waitIn(ctx)
	return released(upgrade.RunWithContext(ctx, release, chart, values))
}

// Rollback makes a new revision like the earlier one, and waits for it.
func (h *Helm) Rollback(ctx context.Context, release string, revision int) error {
	rollback := action.NewRollback(h.actions)
	rollback.Version = revision
	rollback.Timeout, rollback.WaitStrategy, rollback.WaitOptions = Wait, kube.StatusWatcherStrategy, waitIn(ctx)
	return rollback.Run(release)
}

// Uninstall removes the release and waits until its objects are gone.
func (h *Helm) Uninstall(ctx context.Context, release string) error {
	uninstall := action.NewUninstall(h.actions)
	uninstall.Timeout, uninstall.WaitStrategy, uninstall.WaitOptions = Wait, kube.StatusWatcherStrategy, waitIn(ctx)
	_, err := uninstall.Run(release)
	return err
}

// Warnings are what the API server warned of since NewHelm.
func (h *Helm) Warnings() []string {
	h.warnings.mu.Lock()
	defer h.warnings.mu.Unlock()
	return slices.Clone(h.warnings.texts)
}

// Render makes the release's objects and notes without a cluster, as "helm
// template" does, for the oldest Kubernetes that the chart is for.
func Render(ctx context.Context, release string, chart *chartv2.Chart, values map[string]any) (*releasev1.Release, error) {
	install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
	install.ReleaseName, install.Namespace, install.DryRunStrategy = release, "default", action.DryRunClient
	install.KubeVersion = &common.KubeVersion{Version: "v1.27.0", Major: "1", Minor: "27"}
	return released(install.RunWithContext(ctx, chart, values))
}

func waitIn(ctx context.Context) []kube.WaitOption {
	return []kube.WaitOption{kube.WithWaitContext(ctx)}
}

func released(made any, err error) (*releasev1.Release, error) {
	if err != nil {
		return nil, err
	}
	release, is := made.(*releasev1.Release)
	if !is {
		return nil, fmt.Errorf("Helm returned a release of type %T", made)
	}
	return release, nil
}

// warnings keeps what the API server warns of, such as a violated Pod Security
// level or a deprecated version.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader keeps the text.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// getter gives Helm its clients from a configuration instead of from files and
// the environment.
type getter struct {
	config    *rest.Config
	namespace string
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

func newGetter(config *rest.Config, namespace string) (*getter, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(client)
	return &getter{config: config, namespace: namespace, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// ToRESTConfig returns a copy, since Helm changes it.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient returns the one that is shared.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

// ToRESTMapper returns the one that is shared.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader tells Helm the namespace.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}})
}
