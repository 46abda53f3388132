package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/kube"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

// engines are what runs components on a cluster. Without one, cluster is nil, and the
// plugins only check.
type engines struct {
	cluster *kube.Cluster
	files   addressesLater
	spark   *spark.Plugin
	teams   []kube.Team
	spool   func() string // once the record is open
}

// addressesLater makes addresses once the record is open, whose folder has their key.
// Nothing asks for one before.
type addressesLater struct{ *files.Signer }

// noEngines check components and run none.
func noEngines() *engines { return &engines{spark: spark.WithoutCluster()} }

// buildEngines asks nobody: a cluster that is away is waited for by what needs it.
func buildEngines(cfg config, log *slog.Logger) (*engines, error) {
	if !cfg.Engines.Enabled {
		return noEngines(), nil
	}
	e := &engines{teams: cfg.Engines.teams()}
	access, err := clusterAccess(cfg.Engines.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if e.cluster, err = kube.New(kube.Config{REST: access, Teams: e.teams, Log: log}); err != nil {
		return nil, dm.Wrap("build the cluster", err)
	}
	e.spark, err = spark.New(spark.Config{
		Cluster: e.cluster, Files: &e.files, Spool: func() string { return e.spool() }, Images: cfg.Engines.SparkImages, Version: cfg.Engines.SparkVersion,
		Engine: cfg.Engines.SparkEngine, EventLog: cfg.Engines.EventLog, Log: log,
	})
	return e, dm.Wrap("build the Spark plugin", err)
}

// opened gives the engines what they need of the record.
func (e *engines) opened(cfg config, store *gitstore.Store) error {
	e.spool = store.SpoolFolder
	if e.cluster == nil {
		return nil
	}
	key, err := files.LoadKey(filepath.Join(cfg.Data, files.KeyFile))
	if err == nil {
		e.files.Signer, err = files.NewSigner(cfg.Engines.FilesURL, key)
	}
	return err
}

// clusterAccess is where the API server is, and as whom.
func clusterAccess(kubeconfig string) (*rest.Config, error) {
	const op = "read kubernetes.kubeconfig"
	if kubeconfig == "" {
		access, err := rest.InClusterConfig()
		if err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "kubernetes.enabled is set, but this server is not in a pod with a service account's token").
				WithHint("name a file with kubernetes.kubeconfig").Because(err)
		}
		return access, nil
	}
	access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, op, "the kubeconfig %s can't be used: %s", kubeconfig, yamlTrouble(err)).Because(err)
	}
	return access, nil
}

// team is for whom an actor's applications run: the first by name whose group the
// actor is in.
func (e *engines) team(actor dm.Actor) (string, error) {
	for _, t := range e.teams {
		if actor.In(t.Name) {
			return t.Name, nil
		}
	}
	return "", nil
}

// routes are those for pods.
func (e *engines) routes(store *gitstore.Store) ([]apihandlers.Route, error) {
	if e.cluster == nil {
		return nil, nil
	}
	api, err := files.New(files.Config{Signer: e.files.Signer, Record: store, Spool: store.SpoolFolder(), Fill: plugins.FilledJar})
	if err != nil {
		return nil, dm.Wrap("build the files for pods", err)
	}
	return api.Routes(), nil
}

// rightsPause is the time from one look at the server's rights to the next, while
// they could not be asked for.
const rightsPause = 30 * time.Second

// checkRights tells once which rights the server lacks on the cluster. It goes on all
// the same: what needs them waits, and says so.
func (e *engines) checkRights(log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		for e.cluster != nil && ctx.Err() == nil {
			missing, err := e.cluster.Missing(ctx)
			for _, text := range missing {
				log.Error("the server lacks a right on the cluster", "right", text)
			}
			if err == nil {
				break
			}
			log.Warn("the cluster does not tell which rights the server has", "after", rightsPause, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(rightsPause):
			}
		}
		<-ctx.Done()
		return nil
	}
}

// rights asks for all of them anew, for the selftest; nil without a cluster.
func (e *engines) rights() func(context.Context) error {
	if e.cluster == nil {
		return nil
	}
	return func(ctx context.Context) error {
		missing, err := e.cluster.Missing(ctx)
		if err == nil && len(missing) > 0 {
			err = dm.Errorf(dm.Forbidden, "rights", "%s", strings.Join(missing, "; "))
		}
		return err
	}
}
