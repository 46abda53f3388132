// Package kube is the plugins' narrow way into a Kubernetes cluster. It owns what
// stands there for an application, and how that is named, made, compared, watched
// and removed; what the objects say is for the plugins that make them.
//
// # Promises
//
//   - All that one plugin makes for one application belongs to one ConfigMap, the
//     root, in the namespace of the application's team. The root tells what is
//     wanted, and is written before what it tells of is made: whoever looks next
//     finds all pieces, also those of a server that ended in the middle.
//   - Names are made of hashes, so that no two applications meet; the names that
//     people gave stand in annotations. What is not ours by its root is never taken
//     over and never deleted, whatever its name.
//   - Apply is idempotent: what is as wanted is not written again. What others have
//     changed is put back.
//   - Check changes nothing and returns all findings: of the objects, and of a bare
//     pod of each template, of which Pod Security and quotas would tell only later.
//   - What the API server says becomes one sentence in plain words, and who must act:
//     a finding is the fault of the change, kind Unavailable is nobody's who asked.
//
// # Imports
//
// Package dm, client-go, api and apimachinery of Kubernetes, klog to catch its log.
package kube
