package apihandlers

import (
	"fmt"
	"net/http"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Section is one API on the API page.
type Section struct {
	Title  string
	Text   string
	Routes []Route
}

// Page writes the API page from the route tables and from the policy's, which
// whoMay explains.
func Page(intro, whoMay string, sections []Section) string {
	var b strings.Builder
	b.WriteString("# API\n\n<!-- Generated from the route tables: go test ./apihandlers -run TestAPIPage -update -->\n\n")
	b.WriteString(intro + "\n\n## Who may do what\n\n" + whoMay + "\n\n")
	writePolicy(&b, sections)
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.Title, s.Text)
		b.WriteString("| method and path | success | asks the policy for |\n| --- | --- | --- |\n")
		for _, r := range shown(s.Routes) {
			fmt.Fprintf(&b, "| %s `%s` | %s | %s |\n", r.Method, r.Path, success(r), actions(r))
		}
		for _, r := range shown(s.Routes) {
			fmt.Fprintf(&b, "\n### %s `%s`\n\n%s\n", r.Method, r.Path, r.Summary)
			example(&b, "Request", r.Request)
			example(&b, "Answer", r.Response)
		}
	}
	return b.String()
}

// writePolicy writes to whom each action is granted in each mode, in the order in
// which the routes name the actions.
func writePolicy(b *strings.Builder, sections []Section) {
	modes := []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA}
	b.WriteString("| action |")
	for _, mode := range modes {
		fmt.Fprintf(b, " `%s` |", mode)
	}
	b.WriteString("\n| --- | --- | --- | --- |\n")
	told := map[dm.Action]bool{}
	for _, s := range sections {
		for _, r := range s.Routes {
			for _, action := range r.Actions {
				if told[action] {
					continue
				}
				told[action] = true
				fmt.Fprintf(b, "| `%s` |", action)
				for _, mode := range modes {
					fmt.Fprintf(b, " %s |", dm.NewPolicy(mode, dm.PublishByMode).Words(action))
				}
				b.WriteString("\n")
			}
		}
	}
}

func shown(routes []Route) []Route {
	var list []Route
	for _, r := range routes {
		if !r.Fallback {
			list = append(list, r)
		}
	}
	return list
}

func success(r Route) string {
	if r.Success == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.Success, http.StatusText(r.Success)))
}

func actions(r Route) string {
	names := make([]string, len(r.Actions))
	for i, a := range r.Actions {
		names[i] = "`" + string(a) + "`"
	}
	return strings.Join(names, ", ")
}

func example(b *strings.Builder, title, text string) {
	if text != "" {
		fmt.Fprintf(b, "\n%s:\n\n```\n%s\n```\n", title, text)
	}
}
