// Package jupyter owns the component type jupyter: it delivers notebooks and
// the files beside them into users' workspaces, and takes them back.
//
// It writes through dm.Workspaces only, which is idempotent and durable, so
// Apply and Destroy are too. What one application has is described by its
// record alone; the plugin keeps no state.
//
// Imports: dm, plugins.
package jupyter
