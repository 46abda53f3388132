// Package plugintest tells the life of a plugin and checks it. A plugin's test calls
// [Run] with a [Harness] that makes the plugin and says what its components look
// like; each step below is a test of that number. [FakeEngine] is a plugin whose
// work lives long, for the tests of those who call plugins.
//
// # The life of a plugin
//
//  1. Registered: it has a type, and other spellings of it (dm.Aliaser), each its own.
//  2. A package is deployed: Validate finds all that a component lacks, in one go,
//     and nothing in a good one. Remarks may follow on what is odd.
//  3. Files are planned: FileRules say which are filled and whether users' workspaces
//     get them; they are the same each time.
//  4. A create is judged: Check refuses properties, with overrides applied, that could
//     not be carried out.
//  5. A create is carried out: Apply brings the components into being and returns in
//     seconds. It waits for no job. The record names each component and its job.
//     Applied again, also by a server that knows of nothing, all is as it was.
//  6. The record is kept: as JSON, and is all that the plugin is told later. It is
//     small, and of a workspace's files it says where they are.
//  7. Started and stopped: Apply with another state keeps names, and again waits for
//     nothing.
//  8. Changed: Apply makes the components what they shall be now; what is no longer
//     wanted is gone, and going back leads to what was.
//  9. Lived: Observe tells for each component how it does and changes nothing; Watch
//     works until its context ends; StreamLogs and Summarize tell what stands.
//  10. Destroyed: nothing stands after Destroy, neither by the record, nor a second
//     time, nor by the names alone, which is how a server that ended before it kept the
//     record clears up.
//  11. Interrupted: a call whose context has ended returns at once, with kind
//     Unavailable, so that it is tried again.
//  12. Nothing to do: no components and an empty record are no error.
//
// A plugin without an engine refuses step 5 with a sentence that names its type, and
// lives no further. What an error means for what comes next is told at dm.NextOf.
//
// Imports: dm and the standard library.
package plugintest
