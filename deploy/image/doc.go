// The command image writes the server's image as an OCI archive, without Docker.
//
// The image has two layers: a small Debian system with git, which the package
// debian brings, and the server with the programs that lie beside it. facts.go declares what is in it and how it is
// run; deploy/Dockerfile gets the same files from this command (-root) and
// repeats how it is run, which a test compares. Two runs over the same commit
// and the same lists of Debian's packages write the same bytes. Beside the archive
// it writes what the Helm chart is to be told of it.
//
// It imports debian and go-containerregistry, and nothing of the server.
package main
