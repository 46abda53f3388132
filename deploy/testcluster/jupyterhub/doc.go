// Package jupyterhub tests deploy/jupyterhub with a real JupyterHub, real users'
// servers and the real server of this project, and the pods that KubeSpawner
// makes of our values on a real API server. It has tests only; make
// test-jupyterhub runs them.
//
// The notebooks of the example package that PNDA's users know run here too, with
// a real Spark, after they came all the way from the archive to a user's home.
//
// The folder environment holds what is fetched once, from Python's and node's
// package registries, into the user's cache: see build.sh and spark.sh there.
//
// A second process waits for the end of the tests, however they end, and then
// ends what they started, such as users' servers, and removes their files.
//
// A local spawner runs no life-cycle hook. The file under test puts the very
// command of the hook in front of the server's own, so it runs as the same
// user, with the same token and environment, only a moment earlier than in a
// pod, where the kubelet starts it beside the server.
package jupyterhub
