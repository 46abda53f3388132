// Package hooks is what happens around a ref: before it moves and after.
//
//   - [Admission] judges every change, from REST and from push alike: policy
//     first, then content, all findings at once. It implements dm.Admission.
//   - [Dispatcher] carries out what is desired and not yet observed. It is
//     level-triggered: a wake-up only shortens the wait, the state is what the
//     refs say, so a lost wake-up costs delay and never a change.
//   - [Callbacks] tells PNDA's receivers about transitions, in order for each
//     id, and never holds up a change. It implements dm.EventSink.
//
// # Promises of the dispatcher
//
// One worker at a time works on an application. A change is carried out at
// least once: a crash between a plugin's work and its observation repeats the
// work, which is why Apply and Destroy are idempotent. The outcome is written
// once, at the end, and only while the change is still the newest one (kind
// Stale sends the worker round again). A failed create leaves nothing behind; a
// failed change, start or stop puts back what was in effect before.
//
// # Imports
//
// Package dm, the standard library and Prometheus' client. The record, the
// plugins and the user directory come through dm's ports.
package hooks
