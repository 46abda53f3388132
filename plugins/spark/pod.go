package spark

import (
	"cmp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// sparkUser is the user that Spark's images run as.
const sparkUser = 185

// Where a container may write.
const (
	workFolder = "/opt/spark/work-dir" // in which the driver finds what it fetched
	tmpFolder  = "/tmp"
)

// The names of the containers that Spark and its operator know.
const (
	driverContainer   = "spark-kubernetes-driver"
	executorContainer = "spark-kubernetes-executor"
)

// podSpec is a pod that Pod Security restricted takes. It has no volumes but empty
// ones, and only the driver may talk to the API server, as the team's service account.
func (j *job) podSpec(team kube.Team, container string) corev1.PodSpec {
	yes, no, user := true, false, int64(sparkUser)
	of, token := j.driver, &yes
	if container == executorContainer {
		of, token = j.executor, &no
	}
	spec := corev1.PodSpec{
		AutomountServiceAccountToken: token,
		ServiceAccountName:           team.ServiceAccount,
		EnableServiceLinks:           &no,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: container, Image: j.image, Env: j.environment(of),
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "pnda-work", MountPath: workFolder}, {Name: "pnda-tmp", MountPath: tmpFolder}},
		}},
		Volumes: []corev1.Volume{empty("pnda-work"), empty("pnda-tmp")},
	}
	for _, name := range team.PullSecrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return spec
}

func empty(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// environment are the variables of one container. Kubernetes fills $(name) in values
// in, which nobody asked for: a $ in front keeps it.
func (j *job) environment(of part) []corev1.EnvVar {
	var list []corev1.EnvVar
	for _, name := range sortedKeys(of.env) {
		list = append(list, corev1.EnvVar{Name: name, Value: literal(of.env[name])})
	}
	for _, name := range sortedKeys(j.secrets) {
		ref := j.secrets[name]
		list = append(list, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name}, Key: ref.Key,
		}}})
	}
	return list
}

// literal keeps Kubernetes from filling variables into a text.
func literal(text string) string { return strings.ReplaceAll(text, "$(", "$$(") }

// sized is a pod with what Spark will ask for it, as the dry run needs it.
func (j *job) sized(spec corev1.PodSpec, of part) corev1.PodSpec {
	spec = *spec.DeepCopy()
	memory := resource.NewQuantity(bytesOf(cmp.Or(of.memory, "1g"))+j.overheadOf(of), resource.BinarySI)
	cpu := resource.MustParse(cmp.Or(of.request, strconv.Itoa(max(of.cores, 1))))
	r := &spec.Containers[0].Resources
	r.Requests = corev1.ResourceList{corev1.ResourceMemory: *memory, corev1.ResourceCPU: cpu}
	r.Limits = corev1.ResourceList{corev1.ResourceMemory: *memory}
	if of.limit != "" {
		r.Limits[corev1.ResourceCPU] = resource.MustParse(of.limit)
	}
	return spec
}

// overheadOf is what Spark adds to the memory of a JVM: a tenth, or 40 % for Python,
// and 384 MiB at least.
func (j *job) overheadOf(of part) int64 {
	if of.overhead != "" {
		return bytesOf(of.overhead)
	}
	share := int64(10)
	if j.python {
		share = 40
	}
	return max(bytesOf(cmp.Or(of.memory, "1g"))*share/100, 384<<20)
}

// bytesOf is a size in Spark's spelling, in bytes.
func bytesOf(size string) int64 {
	n, err := strconv.ParseInt(strings.TrimRight(size, "bkmgt"), 10, 64)
	if err != nil {
		return 0
	}
	shift := map[byte]int{'b': 0, 'k': 10, 'm': 20, 'g': 30, 't': 40}[size[len(size)-1]]
	return n << shift
}
