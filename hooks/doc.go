// Package hooks is what happens around a ref: before it moves and after.
//
//   - [Admission] judges every change, from REST and from push alike: policy
//     first, then content, all findings at once. It implements dm.Admission.
//   - [PushServer] leads a git push through the record: it answers the hook of
//     git receive-pack over a unix socket, refuses refs by name, has the record
//     judge and accept the others, and tells progress. It implements dm.Pushes.
//     Folder hook is the other end, which git starts.
//   - [Dispatcher] carries out what is desired and not yet observed. It is
//     level-triggered: a wake-up only shortens the wait, the state is what the
//     refs say, so a lost wake-up costs delay and never a change.
//   - [Callbacks] tells PNDA's receivers about transitions, in order for each
//     id, and never holds up a change. It implements dm.EventSink.
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
// # Promises of the dispatcher
//
// One worker at a time works on an application. A change is carried out at
// least once: a crash between a plugin's work and its observation repeats the
// work, which is why Apply and Destroy are idempotent. The outcome is written
// once, at the end, and only while the change is still the newest one (kind
// Stale sends the worker round again). A failed create leaves nothing behind; a
// failed change, start or stop puts back what was in effect before; what can't be
// taken back at once is at the next start. What a plugin's error says decides
// what comes next (dm.NextOf): what passes by itself, a shortage of this machine
// too, settles nothing and is tried again for as long as it takes; what nobody
// foresaw is for about half an hour; anything else has failed. While a change is
// tried again it says why, and takes a destroy, a stop or a change in its place. A
// plugin that does not return keeps its application waiting, nobody else's.
//
// How what stands does in its engine is asked by the same workers when they have
// nothing else to do: every Scan, and when a plugin notices something. It is shown at
// once and recorded when a state changes, rarely when it keeps changing.
//
// # Imports
//
// Package dm, the standard library and Prometheus' client. The record, the
// plugins and the user directory come through dm's ports.
package hooks
