package spark

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// The part of a SparkApplication, sparkoperator.k8s.io/v1beta2, that is written here.
// Its fields are told in the operator's api/v1beta2/sparkapplication_types.go.
type (
	sparkApplication struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metadata        `json:"metadata"`
		Spec            applicationSpec `json:"spec"`
	}
	metadata struct {
		Name string `json:"name"`
	}
	applicationSpec struct {
		Suspend             bool              `json:"suspend"`
		Type                string            `json:"type"`
		Mode                string            `json:"mode"`
		PythonVersion       string            `json:"pythonVersion,omitempty"`
		SparkVersion        string            `json:"sparkVersion"`
		Image               string            `json:"image"`
		ImagePullSecrets    []string          `json:"imagePullSecrets,omitempty"`
		MainClass           string            `json:"mainClass,omitempty"`
		MainApplicationFile string            `json:"mainApplicationFile"`
		Arguments           []string          `json:"arguments,omitempty"`
		Deps                dependencies      `json:"deps"`
		SparkConf           map[string]string `json:"sparkConf"`
		RestartPolicy       restartPolicy     `json:"restartPolicy"`
		Driver              podOf             `json:"driver"`
		Executor            podOf             `json:"executor"`
	}
	dependencies struct {
		Jars            []string `json:"jars,omitempty"`
		Files           []string `json:"files,omitempty"`
		PyFiles         []string `json:"pyFiles,omitempty"`
		Archives        []string `json:"archives,omitempty"`
		Packages        []string `json:"packages,omitempty"`
		ExcludePackages []string `json:"excludePackages,omitempty"`
		Repositories    []string `json:"repositories,omitempty"`
	}
	restartPolicy struct {
		Type                             string `json:"type"`
		OnFailureRetries                 *int   `json:"onFailureRetries,omitempty"`
		OnFailureRetryInterval           *int   `json:"onFailureRetryInterval,omitempty"`
		OnSubmissionFailureRetries       *int   `json:"onSubmissionFailureRetries,omitempty"`
		OnSubmissionFailureRetryInterval *int   `json:"onSubmissionFailureRetryInterval,omitempty"`
	}
	podOf struct {
		Instances      int                     `json:"instances,omitempty"`
		Cores          int                     `json:"cores,omitempty"`
		CoreRequest    string                  `json:"coreRequest,omitempty"`
		CoreLimit      string                  `json:"coreLimit,omitempty"`
		Memory         string                  `json:"memory,omitempty"`
		MemoryOverhead string                  `json:"memoryOverhead,omitempty"`
		JavaOptions    string                  `json:"javaOptions,omitempty"`
		ServiceAccount string                  `json:"serviceAccount,omitempty"`
		Labels         map[string]string       `json:"labels,omitempty"`
		Annotations    map[string]string       `json:"annotations,omitempty"`
		Template       *corev1.PodTemplateSpec `json:"template,omitempty"`
	}
)

// runNote is the annotation that says which run of a job a driver is. The operator
// runs a job again when it changes, whatever became of the run before.
const runNote = "pnda.io/run"

// retries is how often the operator runs a job again that failed. It counts on for as
// long as the object lives.
const retries = 1_000

// operator makes the objects of a component for the Kubeflow Spark operator.
func (p *Plugin) operator(r dm.ApplyRequest, c made) []kube.Object {
	j := c.job
	app := sparkApplication{
		TypeMeta: metav1.TypeMeta{APIVersion: kube.SparkApplication.GroupVersion().String(), Kind: kube.SparkApplication.Kind},
		Metadata: metadata{c.data.Object},
		Spec: applicationSpec{
			Suspend: !c.data.Started, Type: "Scala", Mode: "cluster", SparkVersion: j.version, Image: j.image, ImagePullSecrets: c.team.PullSecrets,
			MainClass: j.class, MainApplicationFile: c.addresses.main, Arguments: j.args,
			Deps: dependencies{
				Jars: c.addresses.jars, Files: c.addresses.files, PyFiles: c.addresses.pyFiles, Archives: c.addresses.archives,
				Packages: j.packages, ExcludePackages: j.excludes, Repositories: j.repositories,
			},
			SparkConf: p.configuration(j), RestartPolicy: j.restartPolicy(),
			Driver: p.podOf(r, c, j.driver, driverContainer), Executor: p.podOf(r, c, j.executor, executorContainer),
		},
	}
	if j.python {
		app.Spec.Type, app.Spec.PythonVersion = "Python", "3"
	}
	app.Spec.Driver.ServiceAccount = c.team.ServiceAccount
	app.Spec.Driver.Annotations[runNote] = c.data.Run
	app.Spec.Executor.Instances = j.executors
	return []kube.Object{{Component: c.name, Body: app}}
}

// podOf is the driver or the executors as the operator is told of them.
func (p *Plugin) podOf(r dm.ApplyRequest, c made, of part, container string) podOf {
	labels, notes := kube.Labels(r.Application, kind, c.name), kube.Notes(r.Application, kind, c.name)
	spec := c.job.podSpec(c.team, container)
	return podOf{
		Cores: of.cores, CoreRequest: of.request, CoreLimit: of.limit, Memory: of.memory, MemoryOverhead: of.overhead,
		JavaOptions: of.java, Labels: labels, Annotations: notes,
		Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: maps.Clone(notes)}, Spec: spec},
	}
}

// restartPolicy is respawn_type in the operator's words.
func (j *job) restartPolicy() restartPolicy {
	policy := restartPolicy{Type: j.again()}
	if policy.Type == "Never" {
		return policy
	}
	times, pause := retries, max(j.pause, 1)
	policy.OnSubmissionFailureRetries, policy.OnSubmissionFailureRetryInterval = &times, &pause
	policy.OnFailureRetryInterval = &pause
	if policy.Type == "OnFailure" {
		policy.OnFailureRetries = &times
	}
	return policy
}

// configuration is Spark's: what the package sets, and above it what the server does.
func (p *Plugin) configuration(j *job) map[string]string {
	conf := maps.Clone(j.conf)
	if j.since("4.3.0") {
		// It makes a NetworkPolicy, for which neither the operator nor a team's drivers
		// have the right, and would fail.
		conf["spark.kubernetes.driver.pod.excludedFeatureSteps"] = "org.apache.spark.deploy.k8s.features.NetworkPolicyFeatureStep"
	}
	if j.level != "" && j.since("3.5.0") && conf["spark.log.level"] == "" {
		conf["spark.log.level"] = j.level
	}
	if len(j.packages) > 0 {
		conf["spark.jars.ivy"] = tmpFolder + "/ivy" // elsewhere nothing can be written
	}
	if p.cfg.EventLog != "" {
		conf["spark.eventLog.enabled"], conf["spark.eventLog.dir"] = "true", p.cfg.EventLog
	}
	return conf
}
