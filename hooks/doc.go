// Package hooks is what happens around a ref: before it moves and after.
//
//   - [Admission] judges every change, from REST and from push alike: policy
//     first, then content, all findings at once. It implements dm.Admission.
//   - [Engines] asks the plugins that can tell whether their engines would take a
//     change, before it is accepted, for five seconds at most. What can't be asked now
//     is no fault. It implements dm.Engines.
//   - [PushServer] leads a git push through the record: it answers the hook of
//     git receive-pack over a unix socket, refuses refs by name, has the record
//     judge and accept the others, and tells progress. It implements dm.Pushes.
//     Folder hook is the other end, which git starts.
//   - Folder dispatch carries out what is desired and not yet observed.
//   - [Callbacks] follows dm.Events and tells PNDA's receivers, in order for each
//     id, until they take it, and never holds up a change.
//
// # Promises of the push server
//
// A push is known by a session of 128 random bits that only its own git has in
// its environment. Each session is good for one proc-receive, which has three
// parts. All refs and options are judged before any is accepted, and everything
// that is wrong is told at once: what stands for one ref in git's report on it,
// too. Then the refs are accepted one by one; a change that was begun is brought
// to its end whether the client listens or not. Last, progress is told, when git
// has its report. A dry run ends well at the client and leaves its tracking refs
// alone. What comes from outside is shown as graphic characters on bounded lines,
// so that no name moves a cursor. Every wait has an end: a client that stands still
// loses its push and nothing else.
//
// # Promises of the callbacks
//
// An address is told every transition that the record has, from when it was first
// configured, at least once: how far it has come is a cursor that outlives the
// process, and follows what it has taken. An answer below 500 other than 408 and
// 429 says that it will never take this one: it is logged and passed over.
// Everything else is tried again, ever less often, up to once a minute. The
// working state of an application is the event of its change; that of a deploy or
// an undeploy moves no ref, so it is told just before the outcome that ended it
// (dm.Event.Before). A failed deploy that is not recorded, because it says nothing
// new or its id can't name a package, is told while this process lives.
//
// # Imports
//
// Package dm, the folders below, the standard library and the Prometheus client. The
// record, the plugins and the user directory come through dm's ports.
package hooks
