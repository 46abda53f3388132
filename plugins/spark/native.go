package spark

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// Without an operator a job runs in client mode: a pod of ours is the driver, started
// as Spark's own driver pods are, and Spark makes the executors, which belong to it and
// go with it. That is Spark's documentation, "Running on Kubernetes", Client Mode.

// The ports of a driver.
const (
	driverPort = 7078
	blockPort  = 7079
	uiPort     = 4040
)

const (
	roleLabel       = "pnda.io/role"
	confFolder      = "/etc/pnda"
	executorPodFile = "executor.yaml"
)

// native makes the objects of a component that is run without an operator.
func (p *Plugin) native(r dm.ApplyRequest, c made) ([]kube.Object, error) {
	executor, err := c.executorTemplate(r)
	if err != nil {
		return nil, err
	}
	labels := c.driverLabels(r)
	of := func(body any) kube.Object { return kube.Object{Component: c.name, Body: body} }
	objects := []kube.Object{
		of(corev1.ConfigMap{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: c.data.Object},
			Data: map[string]string{executorPodFile: string(executor)},
		}),
		of(corev1.Service{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: c.data.Object},
			Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: selector(labels), PublishNotReadyAddresses: true, Ports: []corev1.ServicePort{
				{Name: "driver", Port: driverPort, Protocol: corev1.ProtocolTCP}, {Name: "blocks", Port: blockPort, Protocol: corev1.ProtocolTCP},
				{Name: "ui", Port: uiPort, Protocol: corev1.ProtocolTCP},
			}},
		}),
	}
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: with(kube.Notes(r.Application, kind, c.name), runNote, c.data.Run)},
		Spec:       p.driverPod(c),
	}
	switch {
	case c.job.again() == "Always":
		return append(objects, of(deployment(c, labels, pod))), nil
	case c.data.Started:
		return append(objects, of(batch(c, pod))), nil
	}
	return objects, nil // a Job can't be made without being run, and its pod never changes
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}

func (c made) driverLabels(r dm.ApplyRequest) map[string]string {
	return with(kube.Labels(r.Application, kind, c.name), roleLabel, "driver")
}

// selector finds the drivers among a component's pods.
func selector(labels map[string]string) map[string]string {
	const component = "pnda.io/component-id"
	return map[string]string{component: labels[component], roleLabel: labels[roleLabel]}
}

// deployment keeps a job running whatever becomes of it.
func deployment(c made, labels map[string]string, pod corev1.PodTemplateSpec) appsv1.Deployment {
	replicas := int32(0)
	if c.data.Started {
		replicas = 1
	}
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	return appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Name: c.data.Object},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: selector(labels)}, Template: pod,
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, // never two drivers at once
		},
	}
}

// batch runs a job until it ends well, or once. Each run is an object of its own,
// because the pods of a Job can't be changed.
func batch(c made, pod corev1.PodTemplateSpec) batchv1.Job {
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	again := int32(0)
	if c.job.again() == "OnFailure" {
		again = retries
	}
	return batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: metav1.ObjectMeta{Name: c.runName()},
		Spec: batchv1.JobSpec{BackoffLimit: &again, Template: pod},
	}
}

// driverPod is the pod of spark-submit, which is the driver itself.
func (p *Plugin) driverPod(c made) corev1.PodSpec {
	j := c.job
	spec := j.sized(j.podSpec(c.team, driverContainer), j.driver)
	driver := &spec.Containers[0]
	driver.Command = []string{"/opt/spark/bin/spark-submit"}
	driver.Args = p.submit(c)
	driver.WorkingDir = workFolder
	driver.Env = append(driver.Env, field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP"),
		corev1.EnvVar{Name: "HOME", Value: workFolder})
	driver.Ports = []corev1.ContainerPort{
		{Name: "driver", ContainerPort: driverPort, Protocol: corev1.ProtocolTCP}, {Name: "blocks", ContainerPort: blockPort, Protocol: corev1.ProtocolTCP},
		{Name: "ui", ContainerPort: uiPort, Protocol: corev1.ProtocolTCP},
	}
	driver.VolumeMounts = append(driver.VolumeMounts, corev1.VolumeMount{Name: "pnda-conf", MountPath: confFolder, ReadOnly: true})
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "pnda-conf", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: c.data.Object}},
	}})
	return spec
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

// submit are the arguments of spark-submit. Kubernetes fills in $(POD_NAME) and
// $(POD_IP); what a package says is literal.
func (p *Plugin) submit(c made) []string {
	j := c.job
	args := []string{"--master", "k8s://https://kubernetes.default.svc", "--deploy-mode", "client", "--name", literal(c.jobName)}
	conf := map[string]string{
		// As in the driver's pod of cluster mode: files are fetched into the working folder.
		"spark.kubernetes.submitInDriver":                    "true",
		"spark.kubernetes.driver.pod.name":                   "$(POD_NAME)",
		"spark.driver.host":                                  c.data.Object + "." + c.team.Namespace + ".svc",
		"spark.driver.bindAddress":                           "$(POD_IP)",
		"spark.driver.port":                                  strconv.Itoa(driverPort),
		"spark.blockManager.port":                            strconv.Itoa(blockPort),
		"spark.driver.blockManager.port":                     strconv.Itoa(blockPort),
		"spark.ui.port":                                      strconv.Itoa(uiPort),
		"spark.kubernetes.namespace":                         c.team.Namespace,
		"spark.kubernetes.container.image":                   j.image,
		"spark.kubernetes.executor.podTemplateFile":          confFolder + "/" + executorPodFile,
		"spark.kubernetes.executor.podTemplateContainerName": executorContainer,
		"spark.kubernetes.executor.podNamePrefix":            c.data.Object,
	}
	for key, value := range p.configuration(j) {
		conf[key] = literal(value)
	}
	for key, value := range map[string]string{
		"spark.executor.memory": j.executor.memory, "spark.executor.memoryOverhead": j.executor.overhead,
		"spark.driver.extraJavaOptions": literal(j.driver.java), "spark.executor.extraJavaOptions": literal(j.executor.java),
		"spark.kubernetes.executor.request.cores": j.executor.request, "spark.kubernetes.executor.limit.cores": j.executor.limit,
		"spark.executor.cores": number(j.executor.cores), "spark.executor.instances": number(j.executors),
	} {
		if value != "" {
			conf[key] = value
		}
	}
	for _, key := range sortedKeys(conf) {
		args = append(args, "--conf", key+"="+conf[key])
	}
	args = append(args, "--driver-memory", cmp.Or(j.driver.memory, "1g"))
	for _, list := range []struct {
		option string
		values []string
	}{
		{"--jars", c.addresses.jars}, {"--files", c.addresses.files}, {"--py-files", c.addresses.pyFiles}, {"--archives", c.addresses.archives},
		{"--packages", j.packages}, {"--exclude-packages", j.excludes}, {"--repositories", j.repositories},
	} {
		if len(list.values) > 0 {
			args = append(args, list.option, literal(strings.Join(list.values, ",")))
		}
	}
	if j.class != "" {
		args = append(args, "--class", j.class)
	}
	args = append(args, literal(c.addresses.main))
	for _, one := range j.args {
		args = append(args, literal(one))
	}
	return args
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// executorTemplate is the pod of which Spark makes executors.
func (c made) executorTemplate(r dm.ApplyRequest) ([]byte, error) {
	spec := c.job.podSpec(c.team, executorContainer)
	pod := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Labels: with(kube.Labels(r.Application, kind, c.name), roleLabel, "executor"), Annotations: kube.Notes(r.Application, kind, c.name),
		},
		Spec: spec,
	}
	text, err := yaml.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("spark: the pod of executors: %w", err)
	}
	return text, nil
}
