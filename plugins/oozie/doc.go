// Package oozie owns the component type oozie. It checks components; running
// them needs an engine that this server does not have yet, and Apply says so.
//
// Imports: dm, plugins.
package oozie
