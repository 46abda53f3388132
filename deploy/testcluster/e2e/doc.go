// Package e2e installs the chart on a node that really runs containers, and
// holds what a person is promised: the image runs as the chart asks, PNDA's
// commands reach it through kubectl, and a notebook arrives in another pod.
//
// Real are the image and the node of package node, kubectl and curl, and a JupyterHub
// whose KubeSpawner makes a pod. Missing are, beside what that node lacks:
//
//   - Jupyter in the user's pod: the image is a small Debian with git, in which
//     the start hook runs and a web server stands for Jupyter's. Package
//     jupyterhub has Jupyter, without containers;
//   - a name server: pods find Services by their cluster addresses, which the
//     test writes into the pods' /etc/hosts;
//   - volumes of images, which Debian's containerd 1.6 does not know. Package
//     jupyterhub has the API server take such pods, and a program in the tree
//     of an image.
//
// It imports package chart for Helm, package debian for a user's image, and runs the
// Hub that package jupyterhub configures. It needs what package node needs. Without it
// it is skipped, with the reason; with CI=true that is a failure.
package e2e
