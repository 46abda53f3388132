package engines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// The namespaces of the server, and of the team that it runs jobs for.
const (
	Namespace = "pnda"
	TeamSpace = "pnda-data"
)

// Installation is the server on a node, with what its engines need.
type Installation struct {
	Data
	API
	Node  *node.Node
	world node.World
	helm  *chart.Helm
}

// Install starts the node and installs the server with the chart, as somebody does
// whose namespace lets only restricted pods in.
func Install(ctx context.Context, w node.World, progress io.Writer) (in *Installation, err error) {
	in = &Installation{world: w}
	if err := json.Unmarshal(w.Data, &in.Data); err != nil {
		return nil, err
	}
	fmt.Fprintln(progress, "starting a node, with a control plane, and bringing the images; half a minute")
	if in.Node, err = w.Start(ctx, node.Options{Images: []string{in.Images, in.Server}, DNS: in.DNS, Progress: progress}); err != nil {
		return nil, err
	}
	if err := in.server(ctx, progress); err != nil {
		return nil, errors.Join(err, in.Node.Stop())
	}
	return in, nil
}

func (in *Installation) server(ctx context.Context, progress io.Writer) (err error) {
	for _, name := range []string{Namespace, TeamSpace} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
		if _, err := in.Node.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := node.Volume(ctx, Namespace, "deployment-manager"); err != nil {
		return err
	}
	if in.helm, err = chart.NewHelm(in.Node.Config(), Namespace); err != nil {
		return err
	}
	source, err := chart.Load(filepath.Join(in.world.Checkout, "deploy/helm/deployment-manager"))
	if err != nil {
		return err
	}
	values, err := in.values()
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "installing the server with its chart")
	if _, err := in.helm.Install(ctx, "pnda", source, values); err != nil {
		return err
	}
	in.API.User = "ana"
	if in.API.Repository, err = in.address(ctx, "package-repository", 8888); err != nil {
		return err
	}
	in.API.Manager, err = in.address(ctx, "deployment-manager", 5000)
	return err
}

// values are those of a trial: everybody is believed, and ana's team may run Spark.
func (in *Installation) values() (map[string]any, error) {
	offered, err := os.ReadFile(node.ServerValues(in.Server))
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(offered, &values); err != nil {
		return nil, err
	}
	mine := fmt.Sprintf(`
auth: {mode: insecure-pnda, insecureAnywhere: true, groups: {admin: [admin], data: [ana]}}
persistence: {storageClass: "-"}
kubernetes: {enabled: true, teams: {data: {namespace: `+TeamSpace+`, images: ["localhost/spark:*"], quota: {pods: "20"}}}}
config: {spark: {images: {%q: %q}}}
`, SparkVersion, SparkImage)
	return values, yaml.Unmarshal([]byte(mine), &values)
}

// address is where a Service is reached from the node, once it is: that follows the
// pod, which is ready, by a moment.
func (in *Installation) address(ctx context.Context, service string, port int) (string, error) {
	s, err := in.Node.Client.CoreV1().Services(Namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	base := fmt.Sprintf("http://%s:%d", s.Spec.ClusterIP, port)
	return base, node.Await(ctx, "the Service "+service, node.Patience, func() error {
		_, err := in.do(ctx, http.MethodGet, base+"/readyz", nil)
		return err
	})
}

// InstallOperator installs the Spark operator with its own chart, for the namespace.
func (in *Installation) InstallOperator(ctx context.Context, progress io.Writer) error {
	source, err := chart.Load(in.Operator)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(`
image: {registry: localhost, repository: spark-operator, tag: 2.5.2, pullPolicy: Never}
spark: {jobNamespaces: [`+TeamSpace+`], serviceAccount: {create: false}, rbac: {create: false}}
controller: {leaderElection: {enable: false}}
`), &values); err != nil {
		return err
	}
	fmt.Fprintln(progress, "installing the Spark operator with its chart")
	_, err = in.helm.Install(ctx, "spark-operator", source, values)
	return err
}

// Explain tells what Kubernetes knows, when something failed.
func (in *Installation) Explain(ctx context.Context, to io.Writer) {
	for _, what := range [][]string{
		{TeamSpace, "get", "pods,jobs,deployments", "-o", "wide"}, {TeamSpace, "get", "sparkapplications", "-o", "wide"},
		{TeamSpace, "get", "events", "--sort-by=.lastTimestamp"}, {Namespace, "get", "pods", "-o", "wide"},
		{Namespace, "logs", "deployment-manager-0", "--tail", "40"},
		{TeamSpace, "logs", "-l", "app.kubernetes.io/managed-by=pnda-deployment-manager", "--tail", "40", "--prefix"},
		{Namespace, "logs", "-l", "app.kubernetes.io/name=spark-operator", "--tail", "30", "--prefix"},
	} {
		out, err := node.Run(ctx, "kubectl", append([]string{"-n"}, what...)...)
		if err != nil {
			out = err.Error()
		}
		fmt.Fprintf(to, "kubectl %v:\n%s\n", what, out)
	}
}
