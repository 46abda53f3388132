package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

// engineConfig is what runs components, and where.
type engineConfig struct {
	Enabled                bool
	Kubeconfig             string
	Teams                  map[string]teamConfig
	FilesURL               string
	SparkEngine            string
	SparkImages            map[string]string
	SparkVersion, EventLog string
	LogTail                int64
}

// teamConfig is one team of kubernetes.teams, by its group.
type teamConfig struct {
	Namespace      string   `json:"namespace"`
	ServiceAccount string   `json:"serviceAccount"`
	Images         []string `json:"images"`
	PullSecrets    []string `json:"pullSecrets"`
}

// engineOptions are the settings of what runs on a cluster.
func engineOptions() []option {
	return []option{
		{key: "kubernetes.enabled", section: "Engines", preset: "false", help: "run components on a Kubernetes cluster; without it all but notebooks are checked and not run",
			field: func(c *config) pflag.Value { return &boolValue{&c.Engines.Enabled} }},
		{key: "kubernetes.kubeconfig", help: "`FILE` that tells where the API server is, and as whom; empty means the cluster that the server itself runs in",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Engines.Kubeconfig} }},
		{key: "kubernetes.teams", preset: "{}", help: "`TEAMS` for whom work runs, by group: namespace, serviceAccount of drivers, images that may run (one that ends in * stands for all that begin so), pullSecrets, for example {data: {namespace: pnda-data, serviceAccount: driver, images: [\"registry.example.org/spark:*\"]}}; who creates an application in several of the groups runs it for the first by name, who is in none runs nothing",
			field: func(c *config) pflag.Value { return &teamsValue{&c.Engines.Teams} }},
		{key: "kubernetes.files_url", help: "`URL` at which pods reach the port of the deployment manager, to fetch their files; for example http://deployment-manager.pnda:5000",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Engines.FilesURL, check: optionalURL} }},
		{key: "spark.engine", preset: spark.Auto, help: "what runs sparkStreaming components: `ENGINE` operator is the Kubeflow Spark operator, native is client mode in pods of the server's own, auto is the operator where the cluster has it; decided when an application is created",
			field: func(c *config) pflag.Value {
				return &choiceValue{&c.Engines.SparkEngine, []string{spark.Auto, spark.Operator, spark.Native}}
			}},
		{key: "spark.images", preset: "{}", help: "`IMAGES` by version of Spark, for example {\"4.0.4\": \"registry.example.org/spark:4.0.4\"}; teams must allow them",
			field: func(c *config) pflag.Value { return &imagesValue{&c.Engines.SparkImages} }},
		{key: "spark.version", help: "`VERSION` of spark.images for components that ask for none of them; empty means the newest",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Engines.SparkVersion} }},
		{key: "spark.event_log", help: "`FOLDER` to which jobs write their event logs, for a Spark history server, such as s3a://logs/spark; empty means none",
			field: func(c *config) pflag.Value { return &textValue{to: &c.Engines.EventLog} }},
		{key: "logs.tail", preset: "256KiB", help: "how much of the end of a component's log is kept with the record when its pods go, as a `SIZE`",
			field: func(c *config) pflag.Value { return &sizeValue{&c.Engines.LogTail} }},
	}
}

// check refuses what could not run anything.
func (e engineConfig) check() error {
	const op = "check configuration"
	if !e.Enabled {
		return nil
	}
	switch {
	case len(e.Teams) == 0:
		return dm.Errorf(dm.Invalid, op, "kubernetes.enabled is set, but kubernetes.teams names nobody for whom anything could run")
	case e.FilesURL == "":
		return dm.Errorf(dm.Invalid, op, "kubernetes.enabled is set, but kubernetes.files_url does not say where pods fetch their files")
	case len(e.SparkImages) == 0:
		return dm.Errorf(dm.Invalid, op, "kubernetes.enabled is set, but spark.images names no image of Spark")
	case e.SparkVersion != "" && e.SparkImages[e.SparkVersion] == "":
		return dm.Errorf(dm.Invalid, op, "spark.version %q is not among spark.images", e.SparkVersion)
	}
	return nil
}

// filesHosts is the name by which pods reach the server.
func (e engineConfig) filesHosts() []string {
	u, err := url.Parse(e.FilesURL)
	if !e.Enabled || err != nil || u.Hostname() == "" {
		return nil
	}
	return []string{u.Hostname()}
}

// teams are those that are configured, by the name of their group.
func (e engineConfig) teams() []kube.Team {
	var list []kube.Team
	for _, group := range slices.Sorted(maps.Keys(e.Teams)) {
		t := e.Teams[group]
		list = append(list, kube.Team{Name: group, Namespace: t.Namespace, ServiceAccount: t.ServiceAccount, Images: t.Images, PullSecrets: t.PullSecrets})
	}
	return list
}

type teamsValue struct{ to *map[string]teamConfig }

func (v *teamsValue) Type() string   { return "teams" }
func (v *teamsValue) String() string { return jsonText(*v.to) }
func (v *teamsValue) Set(s string) error {
	teams := map[string]teamConfig{}
	if err := yaml.UnmarshalStrict([]byte(s), &teams); err != nil {
		return fmt.Errorf("is not a map from group to team, such as {data: {namespace: pnda-data, serviceAccount: driver, images: [spark]}}: %s", yamlTrouble(err))
	}
	for _, group := range slices.Sorted(maps.Keys(teams)) {
		if err := teams[group].check(group); err != nil {
			return err
		}
	}
	*v.to = teams
	return nil
}

// check refuses what Kubernetes could not have, or nothing could run with.
func (t teamConfig) check(group string) error {
	if _, err := dm.ParseUserName(group); err != nil { // groups follow the rule of user names
		return fmt.Errorf("has a team for %q, which is no name of a group", group)
	}
	switch {
	case t.Namespace == "":
		return fmt.Errorf("has no namespace for the team %q", group)
	case len(validation.IsDNS1123Label(t.Namespace)) > 0:
		return fmt.Errorf("has the namespace %q for the team %q, which is no name of a namespace", t.Namespace, group)
	case t.ServiceAccount == "":
		return fmt.Errorf("has no serviceAccount for the team %q", group)
	case len(validation.IsDNS1123Subdomain(t.ServiceAccount)) > 0:
		return fmt.Errorf("has the serviceAccount %q for the team %q, which is no name of an account", t.ServiceAccount, group)
	case len(t.Images) == 0 || slices.Contains(t.Images, ""):
		return fmt.Errorf("has no images that the team %q may run, or one without a name", group)
	}
	for _, name := range t.PullSecrets {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return fmt.Errorf("has %q among the pullSecrets of the team %q, which is no name of a Secret", name, group)
		}
	}
	return nil
}

type imagesValue struct{ to *map[string]string }

func (v *imagesValue) Type() string   { return "images" }
func (v *imagesValue) String() string { return jsonText(*v.to) }
func (v *imagesValue) Set(s string) error {
	images := map[string]string{}
	if err := yaml.UnmarshalStrict([]byte(s), &images); err != nil {
		return fmt.Errorf("is not a map from version to image, such as {\"4.0.4\": \"spark:4.0.4\"}: %s", yamlTrouble(err))
	}
	for version, image := range images {
		if image == "" || !spark.IsVersion(version) {
			return fmt.Errorf("must have an image for each version, and versions such as 4.0.4, not %q", version)
		}
	}
	*v.to = images
	return nil
}
