package manager

import (
	"bytes"
	"encoding/json"

	dm "github.com/pndaproject/deployment-manager"
)

// withoutNulls is what defaults and overrides hold, by type, with "" in place of
// every null at any depth and an empty object where there is none. What holds no
// null keeps the spelling it came with.
func withoutNulls(all map[dm.ComponentType]map[dm.ComponentName]dm.Properties) map[string]any {
	shown := make(map[string]any, len(all))
	for t, components := range all {
		of := make(map[dm.ComponentName]map[string]any, len(components))
		for name, properties := range components {
			of[name] = make(map[string]any, len(properties))
			for key, value := range properties {
				of[name][key] = withoutNull(value)
			}
		}
		shown[string(t)] = of
	}
	return shown
}

func withoutNull(raw json.RawMessage) any {
	if len(raw) == 0 {
		return ""
	}
	if !bytes.Contains(raw, []byte("null")) {
		return raw
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // a float64 would change long numbers
	if decoder.Decode(&value) != nil {
		return ""
	}
	return replaceNulls(value)
}

func replaceNulls(value any) any {
	switch v := value.(type) {
	case nil:
		return ""
	case []any:
		for i := range v {
			v[i] = replaceNulls(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = replaceNulls(v[key])
		}
	}
	return value
}
