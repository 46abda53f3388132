package plugins

import (
	"context"
	"io"

	dm "github.com/pndaproject/deployment-manager"
)

var _ dm.Logs = (*Registry)(nil)

// HasLogs implements dm.Logs.
func (r *Registry) HasLogs(t dm.ComponentType) bool {
	_, ok := r.streamer(t)
	return ok
}

// StreamLogs implements dm.Logs.
func (r *Registry) StreamLogs(ctx context.Context, w io.Writer, record dm.PluginRecord, component dm.ComponentName, lines int, follow bool) error {
	able, ok := r.streamer(record.Type)
	if !ok {
		return dm.Errorf(dm.NotFound, "plugins.StreamLogs", "%s components write no logs that this server can show", record.Type)
	}
	return able.StreamLogs(ctx, w, record, component, lines, follow)
}

func (r *Registry) streamer(t dm.ComponentType) (dm.LogStreamer, bool) {
	plugin, _ := r.Get(t)
	able, ok := plugin.(dm.LogStreamer)
	return able, ok
}
