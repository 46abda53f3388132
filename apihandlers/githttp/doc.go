// Package githttp serves clones, fetches and pushes over git's smart HTTP
// protocol, versions 0, 1 and 2.
//
// It owns the rows of the route table that git asks for, the way from the raw
// segment of a path to a dm.Repository, the time of a request, and the shape of
// git's answer. Refusals, bodies and metrics are those of every port. Who may read and who may push is Config.Authorize's business, what a
// push changes the transport's; git is started only through dm.GitTransport.
// A workspace is brought up before its refs are told; whether there is anything new in
// it, a GET of its head tells without a git.
// Beside repositories it serves the script that brings a workspace into a pod; that
// and the repository of the programs for pods are open to everybody.
//
// It promises that no path reaches a repository but the forms of API.Routes, whose
// one encoded segment is decoded once; that git is not asked before the
// head of the request is there; that an idle, slow or
// vanished client holds neither a process nor memory for longer than the
// limits say; and that an answer that broke off never looks complete.
//
// A push is ended as long as its body arrives, and only then. git is started
// when the end of the request was seen; from that moment it has
// Limits.Finish, and neither the client's leaving nor its not reading ends it,
// because git must not be killed while it changes a repository.
//
// # Why not gitkit
//
// gitkit v0.4.0 offers the same service and is not on this path. Measured: it
// copies the whole request to git before it reads git's answer, so that one
// request with some 3,000 haves hangs for ever, also after the client left; it
// has no time-out and no limit of body or processes (20 half-open requests are
// 20 processes, 1.4 MB of gzip expand to 500 MB); it joins the decoded path to
// its root, so that behind a ServeMux /%2e%2e/ leads out of it; it accepts
// cross-site requests for want of a look at Content-Type; it ignores
// Git-Protocol, so that every fetch gets every ref; and it answers 200 before
// git ran. The tests of this package replay each of these.
//
// It may import dm and apihandlers.
package githttp
