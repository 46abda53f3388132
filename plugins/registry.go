package plugins

import (
	"maps"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// Registry knows the plugin of every component type in each of its spellings.
// It does not change after New.
type Registry struct {
	byType map[dm.ComponentType]dm.Plugin // by canonical type, which is the plugin's own word
	names  map[dm.ComponentType]dm.ComponentType
}

// New registers the plugins. Two of one spelling are an error, since it would
// depend on their order which of them works.
func New(plugins ...dm.Plugin) (*Registry, error) {
	const op = "plugins.New"
	r := &Registry{byType: map[dm.ComponentType]dm.Plugin{}, names: map[dm.ComponentType]dm.ComponentType{}}
	for _, p := range plugins {
		t := p.Type()
		spellings := []dm.ComponentType{t}
		if able, ok := p.(dm.Aliaser); ok {
			spellings = append(spellings, able.Aliases()...)
		}
		for _, s := range spellings {
			if _, taken := r.names[s]; taken || s == "" {
				return nil, dm.Errorf(dm.Internal, op, "duplicate component type %q, or an empty one", s)
			}
			r.names[s] = t
		}
		r.byType[t] = p
	}
	return r, nil
}

// Canonical is the one spelling of t that plans and records use; a type that no
// plugin knows stays as it is.
func (r *Registry) Canonical(t dm.ComponentType) dm.ComponentType {
	if canonical, known := r.names[t]; known {
		return canonical
	}
	return t
}

// Get returns the plugin of t in any of its spellings.
func (r *Registry) Get(t dm.ComponentType) (dm.Plugin, bool) {
	p, ok := r.byType[r.Canonical(t)]
	return p, ok
}

// Types returns the registered types in byte order.
func (r *Registry) Types() []dm.ComponentType {
	return slices.Sorted(maps.Keys(r.byType))
}
