package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	dm "github.com/pndaproject/deployment-manager"
)

// Config is what a Cluster needs.
type Config struct {
	REST  *rest.Config     // required: where the API server is, and as whom
	Teams []Team           // required: for whom it works, and where; nothing else runs
	Log   *slog.Logger     // nil means silent
	Clock func() time.Time // nil means time.Now
}

// Cluster is one cluster. Its methods may be called from any goroutine.
type Cluster struct {
	cfg     Config
	objects dynamic.Interface
	client  kubernetes.Interface
	caches  *caches
}

// requestTime is how long one request may take, unless it is a watch or a log.
const requestTime = 10 * time.Second

// New checks cfg. It starts nothing and asks nobody: a cluster that is away is
// met when something is asked of it.
func New(cfg Config) (*Cluster, error) {
	const op = "kube.New"
	if cfg.REST == nil {
		return nil, errors.New("kube: a cluster needs a configuration of its API server")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if err := checkTeams(cfg.Teams); err != nil {
		return nil, err
	}
	quietClient(cfg.Log) // before the clients: they log while they are made
	config := rest.CopyConfig(cfg.REST)
	config.UserAgent = "pnda-deployment-manager"
	config.WarningHandlerWithContext = rest.NoWarnings{}
	if config.QPS == 0 { // client-go's own brake of 5 a second is for polling controllers
		config.QPS, config.Burst = 50, 100
	}
	c := &Cluster{cfg: cfg, caches: newCaches()}
	var err error
	if c.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the configuration of the API server can't be used").Because(err)
	}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the configuration of the API server can't be used").Because(err)
	}
	return c, nil
}

// Serves tells whether the cluster knows the kind now. It asks the API server: a
// kind may come with an operator and go with it.
func (c *Cluster) Serves(ctx context.Context, kind schema.GroupVersionKind) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var list struct {
		Resources []struct {
			Kind string `json:"kind"`
		} `json:"resources"`
	}
	path := "/apis/" + kind.Group + "/" + kind.Version
	if kind.Group == "" {
		path = "/api/" + kind.Version
	}
	raw, err := c.client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err == nil {
		err = unmarshal(raw, &list)
	}
	if err != nil {
		return false, c.fault("kube.Serves", "", err)
	}
	for _, r := range list.Resources {
		if r.Kind == kind.Kind {
			return true, nil
		}
	}
	return false, nil
}

// kind is one that plugins make objects of.
type kind struct {
	schema.GroupVersionKind
	resource string
	from     string // who serves it, for people; "" for Kubernetes itself
}

// The kinds that plugins may make, in the order in which they are made: what others
// mount comes before them.
var kinds = []kind{
	{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "configmaps", ""},
	{schema.GroupVersionKind{Version: "v1", Kind: "Service"}, "services", ""},
	{schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, "jobs", ""},
	{schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, "deployments", ""},
	{SparkApplication, "sparkapplications", "the Kubeflow Spark operator, version 2.4 or newer"},
}

// SparkApplication is what the Kubeflow Spark operator acts on.
var SparkApplication = schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1beta2", Kind: "SparkApplication"}

// kindOf finds a kind of the table.
func kindOf(of schema.GroupVersionKind) (kind, error) {
	for _, k := range kinds {
		if k.GroupVersionKind == of {
			return k, nil
		}
	}
	return kind{}, dm.Errorf(dm.Internal, "kube.kindOf", "objects of kind %s are not made by plugins", of)
}

func (k kind) gvr() schema.GroupVersionResource { return k.GroupVersion().WithResource(k.resource) }

// in is the client of the objects of k in a namespace.
func (c *Cluster) in(k kind, namespace string) dynamic.ResourceInterface {
	return c.objects.Resource(k.gvr()).Namespace(namespace)
}

// missing is the sentence about a kind that the cluster does not serve.
func (k kind) missing(namespace string) string {
	text := fmt.Sprintf("this cluster does not serve %s %s", k.GroupVersion(), k.Kind)
	if k.from != "" {
		text += fmt.Sprintf("; install %s, and let it watch the namespace %s", k.from, namespace)
	}
	return text
}
