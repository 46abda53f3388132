// Package jupyter owns the component type jupyter: notebooks and the files beside
// them, which users get in their workspaces.
//
// It writes nothing. Its record says in which folder each component lies, and who
// asks for a workspace gets that, or nothing any more, once the outcome is recorded.
// Who has fetched it dm.Deliveries tells; the plugin keeps no state.
//
// Imports: dm, plugins.
package jupyter
