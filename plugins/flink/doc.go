// Package flink owns the component type flink, which packages may also spell
// flinkStreaming. It checks components; running them needs an engine that this
// server does not have yet, and Apply says so.
//
// Imports: dm, plugins.
package flink
