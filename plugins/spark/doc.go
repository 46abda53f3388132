// Package spark owns the component type sparkStreaming: what becomes of PNDA's
// properties on Kubernetes, how a job does, and what it says of itself.
//
// # Promises
//
//   - Every property of PNDA, and every option of spark-submit, is mapped or refused by
//     its name. Nothing that a package says is run, or becomes a setting of a pod other
//     than its image, its sizes, its arguments and its environment.
//   - A job is run by the Kubeflow Spark operator, or in client mode by a pod of ours
//     where there is none. Which one is decided when the component is made and stays.
//   - A run goes on as long as nothing of it is other: an Apply that is tried again, or
//     comes from a server that has just started, runs nothing twice.
//   - Without a cluster components are checked, and Apply says what is not configured.
//
// Imports: dm, plugins, plugins/kube, and the types of Kubernetes' API.
package spark
