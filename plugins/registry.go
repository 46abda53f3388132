package plugins

import (
	"maps"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// Registry knows the plugin of every component type. It does not change after
// New.
type Registry struct {
	byType map[dm.ComponentType]dm.Plugin
}

// New registers the plugins. Two of the same type are an error, since it would
// depend on their order which of them works.
func New(plugins ...dm.Plugin) (*Registry, error) {
	const op = "plugins.New"
	r := &Registry{byType: make(map[dm.ComponentType]dm.Plugin, len(plugins))}
	for _, p := range plugins {
		t := p.Type()
		if t == "" || t != t.Canonical() {
			return nil, dm.Errorf(dm.Internal, op, "the plugin type %q is not in its canonical spelling", t)
		}
		if _, taken := r.byType[t]; taken {
			return nil, dm.Errorf(dm.Internal, op, "the plugin type %q is registered twice", t)
		}
		r.byType[t] = p
	}
	return r, nil
}

// Get returns the plugin of t in any of its spellings.
func (r *Registry) Get(t dm.ComponentType) (dm.Plugin, bool) {
	p, ok := r.byType[t.Canonical()]
	return p, ok
}

// Types returns the registered types in byte order.
func (r *Registry) Types() []dm.ComponentType {
	return slices.Sorted(maps.Keys(r.byType))
}
