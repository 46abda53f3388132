// Package debian fetches Debian packages with everything they need, without
// root and without touching the system it runs on, and lays them out in a
// folder or an image's layer.
package debian
