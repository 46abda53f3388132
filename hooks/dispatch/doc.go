// Package dispatch carries out what is desired and not yet observed. It is
// level-triggered: a wake-up only shortens the wait, the state is what the refs
// say, so a lost wake-up costs delay and never a change.
//
// # Promises
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
// once and recorded when a state changes, rarely when it keeps changing. What somebody
// else changed of what a plugin made (drift) is told likewise when it begins and ends,
// and healed by the next Apply, never by itself.
//
// What components wrote last is taken before they go, in seconds, and when they have
// ended; the record keeps it beside the outcome. A plugin that can't tell is passed
// over.
//
// # Imports
//
// Package dm, the standard library and Prometheus' client. The record, the
// plugins and the user directory come through dm's ports.
package dispatch
