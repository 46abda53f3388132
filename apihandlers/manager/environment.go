package manager

import (
	"strconv"

	dm "github.com/pndaproject/deployment-manager"
)

// Endpoints is the part of an environment that may be served: without secrets,
// every value a text or an object of texts, because PNDA's console calls text
// functions on each. Numbers and booleans become their text.
func Endpoints(environment map[string]any) (map[string]any, error) {
	served := map[string]any{}
	for key, value := range environment {
		if dm.IsSecret(key) {
			continue
		}
		object, ok := environmentObject(value)
		if !ok {
			text, err := environmentText(key, value)
			if err != nil {
				return nil, err
			}
			if !dm.HoldsSecret(text) {
				served[key] = text
			}
			continue
		}
		texts := map[string]string{}
		for k, v := range object {
			if dm.IsSecret(k) {
				continue
			}
			text, err := environmentText(key+"."+k, v)
			if err != nil {
				return nil, err
			}
			if !dm.HoldsSecret(text) {
				texts[k] = text
			}
		}
		served[key] = texts
	}
	return served, nil
}

// environmentObject takes objects as a program makes them and as a decoder does.
func environmentObject(value any) (map[string]any, bool) {
	texts, ok := value.(map[string]string)
	if !ok {
		object, ok := value.(map[string]any)
		return object, ok
	}
	object := make(map[string]any, len(texts))
	for k, text := range texts {
		object[k] = text
	}
	return object, true
}

func environmentText(key string, value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", dm.Errorf(dm.Invalid, "read environment", "environment: %s must be a string or an object of strings", key)
}
