package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ServerTag is the tag of the server's image on a node.
const ServerTag = "node"

// ServerImage builds the server's image, as make image does, and returns its archive,
// which is the suite's own: another suite may be reading its own at the same time. Values
// for Helm lie beside it.
func (w World) ServerImage(ctx context.Context) (archive string, err error) {
	folder, err := cache()
	if err != nil {
		return "", err
	}
	archive = filepath.Join(folder, w.Suite, "image.tar")
	command := exec.CommandContext(ctx, "go", "run", ".", "-checkout", w.Checkout, "-out", archive, "-tag", ServerTag)
	command.Dir = filepath.Join(w.Checkout, "deploy", "image")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("building the server's image: %w", err)
	}
	return archive, nil
}

// ServerValues is the file of values for Helm beside an archive.
func ServerValues(archive string) string { return strings.TrimSuffix(archive, ".tar") + ".values.yaml" }

// Volume makes a volume of a folder of the node, for a claim: the node has no driver
// that would.
func Volume(ctx context.Context, namespace, claim string) error {
	folder := filepath.Join(Folder, "volumes", claim)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return Apply(ctx, namespace, fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: %[2]s, name: %[1]s}
  local: {path: %[3]s}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%[4]s]}]}]}}
`, claim, namespace, folder, Name))
}
