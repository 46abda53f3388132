package apihandlers

import (
	"fmt"
	"net/http"
	"strings"
)

// Section is one API on the API page.
type Section struct {
	Title  string
	Text   string
	Routes []Route
}

// Page writes the API page from the route tables.
func Page(intro string, sections []Section) string {
	var b strings.Builder
	b.WriteString("# API\n\n<!-- Generated from the route tables: go test ./apihandlers -run TestAPIPage -update -->\n\n")
	b.WriteString(intro + "\n")
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
